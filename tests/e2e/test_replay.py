"""From a refusal to a replay, through all processes."""

from pathlib import Path

import pytest

from tests.support.pipeline import Pipeline
from tests.support.processes import run_to_end
from tests.support.receiver import Receiver
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_what_a_receiver_refused_is_delivered_by_a_replay_and_not_by_the_next(
    pipeline: Pipeline, receiver: Receiver, tmp_path: Path
) -> None:
    async def dead_letters(command: str, *options: str) -> str:
        arguments = ("dead-letters", command, "--receiver", receiver.url, *options)
        exit_code, output = await run_to_end(*arguments, env=pipeline.env, directory=tmp_path)
        assert exit_code == 0, output
        return output

    async def all_are_dead() -> bool:
        return len((await dead_letters("list", "--reason", "refused")).splitlines()) == 3

    async def all_are_known_as_delivered() -> bool:
        return "delivered meanwhile 3" in await dead_letters("replay", "--dry-run")

    receiver.statuses = lambda: 410
    task_ids = {await pipeline.submit(number, receiver.url) for number in range(3)}
    await eventually(all_are_dead, 30)
    receiver.statuses = lambda: 200
    assert (await dead_letters("replay")).startswith("replayed 3,")
    await eventually(lambda: receiver.taken == task_ids, 30, what=lambda: str(receiver.calls))
    await eventually(all_are_known_as_delivered)
    assert (await dead_letters("replay")).startswith("replayed 0,")
    assert receiver.calls == dict.fromkeys(task_ids, 2)
    assert receiver.conflicts == []  # another webhook-id, or another body
