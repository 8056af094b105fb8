"""A receiver has one name, however its URL is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callstream.contract.receivers import canonical_host, receiver_of


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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://victim。example/", "http://victim.example"),  # U+3002
        ("http://victim．example/", "http://victim.example"),  # noqa: RUF001 - U+FF0E
        ("http://victim｡example/", "http://victim.example"),  # U+FF61
        ("http://ｖｉｃｔｉｍ.example/", "http://victim.example"),  # noqa: RUF001 - full width
        ("http://VICTIM.example./", "http://victim.example"),
        ("http://vic\u00adtim.example/", "http://victim.example"),
        ("http://bücher.example/", "http://xn--bcher-kva.example"),
        ("http://BÜCHER.example/", "http://xn--bcher-kva.example"),
        ("http://bu\u0308cher.example/", "http://xn--bcher-kva.example"),
        ("http://2130706433/", "http://127.0.0.1"),
        ("http://0x7f.1/", "http://127.0.0.1"),
        ("http://0177.0.0.1/", "http://127.0.0.1"),
        ("http://127.1./", "http://127.0.0.1"),
        ("http://[::ffff:127.0.0.1]/", "http://127.0.0.1"),
        ("http://[::FFFF:7f00:1]/", "http://127.0.0.1"),
        ("http://[2001:DB8:0:0::1]/", "http://[2001:db8::1]"),
        ("http://victim.example:080/", "http://victim.example:80"),
    ],
)
def test_spellings_of_one_host_are_one_receiver(one: str, other: str) -> None:
    assert receiver_of(one) == receiver_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://a.example", "https://a.example:80"),
        ("http://a.example", "http://a.example:81"),
        ("http://straße.example", "http://strasse.example"),  # IDNA 2008 has them apart
        ("http://%76ictim.example", "http://victim.example"),  # the client does not decode what it dials
        ("http://[::1]", "http://127.0.0.1"),
    ],
)
def test_hosts_that_are_dialled_apart_are_receivers_of_their_own(one: str, other: str) -> None:
    assert receiver_of(one) != receiver_of(other)


@given(st.text(max_size=300))
def test_a_canonical_host_is_its_own_spelling(host: str) -> None:
    assert canonical_host(canonical_host(host)) == canonical_host(host)
