"""Writes the golden renders anew, to be read before they are committed: `python -m tests.chart.renew`."""

from tests.chart.tools import GOLDEN, VALUES, render


def main() -> None:
    for values in VALUES:
        (GOLDEN / values.name).write_text(render(values))


if __name__ == "__main__":
    main()
