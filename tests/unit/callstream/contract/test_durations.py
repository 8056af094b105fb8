from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callstream.contract.durations import duration, duration_text


@pytest.mark.parametrize(
    ("text", "seconds"), [("5", 5), ("5s", 5), (" 500ms ", 0.5), ("1.5m", 90), ("2h", 7_200), ("1d", 86_400), ("0", 0)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1", "1w", "1h30m", "inf", "nan", "1e3", "5 s", "٣s", "9" * 400])
def test_whatever_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration(text)


@given(st.timedeltas(timedelta(0), timedelta(days=1_000)))
def test_what_is_written_reads_back(value: timedelta) -> None:
    assert abs(duration(duration_text(value)) - value) <= timedelta(microseconds=1)


@pytest.mark.parametrize("text", ["0s", "0.5s", "5s", "30s", "1.5m", "5m", "2h", "10h", "48h", "100804.9m"])
def test_it_is_written_as_a_person_would(text: str) -> None:
    assert duration_text(duration(text)) == text
