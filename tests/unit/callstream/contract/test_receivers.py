"""A receiver has one name."""

import pytest

from callstream.contract.receivers import receiver_of


@pytest.mark.parametrize(
    ("url", "receiver"),
    [
        ("http://a.example/x?y#z", "http://a.example:80"),
        ("HTTPS://A.example:8443", "https://a.example:8443"),
        ("http://[::1]/", "http://[::1]:80"),
    ],
)
def test_it_is_a_url_that_reads_back_as_itself(url: str, receiver: str) -> None:
    assert receiver_of(url) == receiver == receiver_of(receiver)


@pytest.mark.parametrize(
    "url", ["", "a.example", "ftp://a.example", "http://", "http://[::1", "http://a.example:99999"]
)
def test_what_no_callback_can_be_sent_to_has_none(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        receiver_of(url)
