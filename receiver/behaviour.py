"""How `/test-me` can be told to misbehave."""

from typing import Annotated, Self

from pydantic import BaseModel, Field, PositiveInt, StringConstraints, model_validator

_FRAMING = {"content-length", "transfer-encoding"}

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", max_length=100, to_lower=True)]
Value = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]*$", max_length=4_096)]


class Behaviour(BaseModel, frozen=True, extra="forbid"):
    status: int = Field(200, ge=200, le=599)
    headers: dict[Name, Value] = Field({}, description="Of the answer, such as Retry-After or Location")
    wait: float = Field(0, ge=0, le=86_400, description="Seconds before the answer, or before the drop")
    hang: bool = Field(default=False, description="Never answer")
    drop: bool = Field(default=False, description="Close the connection without an answer")
    times: PositiveInt | None = Field(None, description="For so many calls, then back to normal; else until told")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        answers = bool(self.model_fields_set & {"status", "headers"})
        if self.hang + self.drop + answers > 1:
            raise ValueError("a call can be answered, hang or be dropped, one of them")
        if _FRAMING & self.headers.keys():
            raise ValueError("the headers that frame an answer are the server's")
        return self


NORMAL = Behaviour.model_validate({})


class Orders:
    """The behaviour that is in force, until it was used up."""

    def __init__(self) -> None:
        self._behaviour = NORMAL
        self._left: int | None = None

    def give(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._left = behaviour.times

    def next(self) -> Behaviour:
        behaviour = self._behaviour
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self.give(NORMAL)
        return behaviour
