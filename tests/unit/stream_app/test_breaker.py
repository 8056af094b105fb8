"""A breaker opens after failures in a row, and says when it is worth looking again."""

from datetime import timedelta

from stream_app.breaker import Breaker, Change, Look

FIRST, LAST = timedelta(seconds=5), timedelta(seconds=30)


def opened(times: int = 1) -> Breaker:
    """Return one that opened at 100 s, `times` in a row."""
    breaker = Breaker(2, [FIRST, LAST])
    assert breaker.learn(100.0, failed=True, probe=False) is None
    assert breaker.learn(100.0, failed=True, probe=False) is Change.OPENED
    for _ in range(times - 1):
        assert breaker.learn(100.0, failed=True, probe=True) is Change.OPENED
    return breaker


def test_it_is_closed_until_failures_come_in_a_row() -> None:
    breaker = Breaker(2, [FIRST])
    for failed in (True, False, True, False):
        breaker.learn(1.0, failed=failed, probe=False)
    assert (breaker.look(1.0, fresh=False), breaker.rest(1.0)) == (Look.CLOSED, timedelta(0))


def test_it_lets_one_probe_through_when_its_pause_is_over() -> None:
    breaker = opened()
    assert breaker.look(104.9, fresh=False) is Look.OPEN
    assert [breaker.look(105.0, fresh=False) for _ in range(2)] == [Look.PROBE, Look.PROBED]
    assert not breaker.may_probe(105.0)
    breaker.end_probe()
    assert breaker.may_probe(105.0)


def test_what_is_fresh_may_probe_after_the_first_pause_however_often_it_opened() -> None:
    breaker = opened(times=3)
    assert breaker.look(129.9, fresh=False) is Look.OPEN
    assert (breaker.look(104.9, fresh=True), breaker.look(105.0, fresh=True)) == (Look.OPEN, Look.PROBE)


def test_others_that_fail_while_it_is_open_change_nothing() -> None:
    breaker = opened()
    assert breaker.learn(103.0, failed=True, probe=False) is None
    assert breaker.rest(103.0) == timedelta(seconds=2)


def test_any_answer_closes_it() -> None:
    breaker = opened(times=3)
    assert breaker.learn(101.0, failed=False, probe=False) is Change.CLOSED
    assert breaker.learn(102.0, failed=False, probe=False) is None
    assert (breaker.failed, breaker.look(102.0, fresh=False)) == (0, Look.CLOSED)


def test_it_is_worth_looking_again_when_it_may_be_probed_and_soon_after_if_nobody_has() -> None:
    breaker = opened(times=2)
    assert [breaker.rest(now) for now in (110.0, 131.0, 150.0)] == [timedelta(seconds=20), FIRST, LAST]
    assert breaker.rest(102.0, fresh=True) == timedelta(seconds=3)
