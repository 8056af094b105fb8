"""How far a delivery has come is read from headers that anybody may have written."""

from datetime import UTC, datetime

import pytest

from callstream.contract.headers import HeaderError
from callstream.contract.retries import progress_of
from tests.unit.records import record

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_of_a_header_that_is_no_text_little_is_told() -> None:
    headers = (("callback_attempts", b"1"), ("callback_last_error", b"\xff" * 2**20))
    with pytest.raises(HeaderError, match="cannot be read: UnicodeDecodeError") as error:
        progress_of(record({}, headers=headers), NOW)
    assert len(str(error.value)) < 500
    assert error.value.__cause__ is None
