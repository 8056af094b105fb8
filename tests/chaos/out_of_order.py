"""`callstream` with a window that commits behind whatever finished last: the mistake that the window is there for."""

from cli.main import main
from stream_app import partition
from stream_app.window import Slot, Window


class CarelessWindow(Window):
    _finished: int | None = None

    @property
    def position(self) -> int | None:
        return self._finished

    def finish(self, slot: Slot) -> None:
        super().finish(slot)
        self._finished = max(self._finished or 0, slot.offset + 1)


if __name__ == "__main__":
    setattr(partition, "Window", CarelessWindow)  # noqa: B010 - mypy rightly refuses the assignment
    main()
