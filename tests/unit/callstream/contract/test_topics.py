from datetime import timedelta

from callstream.contract.topics import Topics

TASKS = ["calculation", "data"]
TIERS = [timedelta(seconds=5), timedelta(minutes=1.5), timedelta(hours=10)]


def test_the_topics_are_those_of_the_tasks_the_results_the_tiers_and_what_tells_of_them() -> None:
    assert Topics().all(TASKS, TIERS) == [
        "calculation.requests",
        "data.requests",
        "task.results",
        "callback.retry.5s",
        "callback.retry.1.5m",
        "callback.retry.10h",
        "callback.attempts",
        "task.dead-letters",
        "callback.dead-letters",
    ]


def test_a_prefix_stands_before_every_topic() -> None:
    assert Topics("blue.").all(TASKS, TIERS) == [f"blue.{name}" for name in Topics().all(TASKS, TIERS)]
