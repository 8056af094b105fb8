"""Which hosts a callback's URL may name, and what is dialled for them."""

import httpx
import pytest
from pydantic import TypeAdapter, ValidationError
from yarl import URL

from callstream.contract.hosts import _dialled_host, dialled_host
from callstream.contract.messages import CallbackUrl
from callstream.contract.receivers import _canonical_host, canonical_host

callback_url = TypeAdapter[str](CallbackUrl)


@pytest.mark.parametrize(
    ("host", "dialled"),
    [
        ("victim.example", "victim.example"),
        ("VICTIM.example", "victim.example"),
        ("victim。example", "victim.example"),
        ("victim.example.", "victim.example."),
        ("a_b.example", "a_b.example"),
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("8.8.8.8", "8.8.8.8"),
        ("[2001:db8::1]", "2001:db8::1"),
    ],
)
def test_what_is_dialled_is_what_was_validated(host: str, dialled: str) -> None:
    url = callback_url.validate_python(f"http://{host}:8080/path")
    bare = host.strip("[]")
    assert dialled_host(bare) == dialled
    assert canonical_host(dialled) == canonical_host(bare), "one receiver"
    request = httpx.Request("POST", url)
    assert URL(str(request.url)).raw_host == dialled, "for aiohttp, which dials"


@pytest.mark.parametrize(
    "host",
    [
        "vic\u00adtim.example",  # soft hyphen
        "\uff56ictim.example",  # full width
        "vic\u200btim.example",  # zero-width space
        "vic\u200dtim.example",  # joiner
        "\u202evictim.example",  # direction
        "\uff11\uff12\uff17.0.0.1",  # digits of full width
        "\u2460.example",
        "a\u2024b.example",
        "\u2615.example",
        "a%62.example",
        "*.example",
        "a!b.example",
        "a..example",
        "xn--zzzzzz.example",
        "256.256.256.256",
        f"{'a' * 64}.example",
        ".".join(["a" * 60] * 5),
    ],
)
def test_a_host_that_can_never_be_dialled_is_refused(host: str) -> None:
    with pytest.raises(ValidationError):
        callback_url.validate_python(f"http://{host}/")


def test_the_longest_name_is_dialled_with_and_without_the_dot_that_ends_it() -> None:
    longest = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert dialled_host(longest) == longest
    assert dialled_host(f"{longest}.") == f"{longest}."
    assert canonical_host(f"{longest}.") == longest


@pytest.mark.parametrize("host", ["::1%" + "a" * 8_000, "a." * 200 + "example", "\u00ad" * 300 + "a.example"])
def test_nothing_is_remembered_of_a_host_that_is_longer_than_any(host: str) -> None:
    before = _dialled_host.cache_info().currsize, _canonical_host.cache_info().currsize
    with pytest.raises(ValueError, match="must name a host that can exist"):
        dialled_host(host)
    canonical_host(host)
    assert (_dialled_host.cache_info().currsize, _canonical_host.cache_info().currsize) == before
