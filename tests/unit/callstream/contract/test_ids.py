from itertools import pairwise
from uuid import UUID

from callstream.contract.ids import new_task_id


def test_new_ids_are_of_version_7_and_each_is_greater_than_the_one_before() -> None:
    ids = [new_task_id() for _ in range(2_000)]
    assert {UUID(task_id).version for task_id in ids} == {7}
    assert all(earlier < later for earlier, later in pairwise(ids))
