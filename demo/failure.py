"""What the demo says when something does not go as it should."""

from pathlib import Path


class StepError(Exception):
    """`step` failed because of `why`; `log` is of the process whose fault it seems."""

    def __init__(self, step: str, why: str, log: Path) -> None:
        super().__init__(f"{step}: {why}")
        self.step = step
        self.why = why
        self.log = log
