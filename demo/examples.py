"""What the demo sends, and what must come back."""

from dataclasses import dataclass

from pydantic import JsonValue


@dataclass(frozen=True)
class Example:
    """A request to the task type `task`; `results` is what its callback must say."""

    title: str
    task: str
    path: str
    message: list[JsonValue]
    results: list[JsonValue]


def calculation() -> Example:
    """Return the example of the seed's README."""
    return Example(
        "A calculation",
        "calculation",
        "/v1/calculation/basic",
        [
            {"name": "calc_0", "num_1": 123, "num_2": 0.75647, "operation": "+", "result_rounding": 2},
            {"name": "calc_1", "num_1": 785687256, "num_2": 0.75647, "operation": "-", "result_rounding": 4},
        ],
        [{"calc_0": 123.76}, {"calc_1": 785687255.2435}],
    )


def data(url: str, content: JsonValue) -> Example:
    """Return a fetch of `url`, where `content` is to be found."""
    return Example(
        "JSON from an API",
        "data",
        "/v1/data/from-api",
        [{"name": "api_0", "url": url, "method": "GET"}],
        [{"api_0": content}],
    )
