"""What a command says when it cannot go on."""


class CommandError(Exception):
    """The user can mend it; the text is all that is shown."""

    def __init__(self, text: str, exit_code: int = 2) -> None:
        super().__init__(text)
        self.exit_code = exit_code
