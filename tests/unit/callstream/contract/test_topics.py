from callstream.contract.topics import Topics


def test_the_topics_are_those_of_the_tasks_the_results_and_both_kinds_of_dead_letters() -> None:
    assert Topics().all(["calculation", "data"]) == [
        "calculation.requests",
        "data.requests",
        "task.results",
        "task.dead-letters",
        "callback.dead-letters",
    ]


def test_a_prefix_stands_before_every_topic() -> None:
    tasks = ["calculation", "data"]
    assert Topics("blue.").all(tasks) == [f"blue.{name}" for name in Topics().all(tasks)]
