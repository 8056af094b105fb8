"""How much of a URL may have to be quoted."""

_QUOTED_LIMIT = 1_000  # bytes
# Before the last @ stand a user and a host, which have fewer.
_IN_USER = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$%&'()*+,/:?#"
_AS_THEY_ARE = _IN_USER + b";=@[]"


def check_quoted(url: str) -> str:
    """Return `url` if no more of it than 1,000 bytes in UTF-8 are what a URL has only quoted, as `%C3%BC` for `ü`.

    The client that sends it quotes one after another, in the loop: of 8,000 it takes 30 ms, each time.

    Raises:
        ValueError: there are more.
    """
    user, _, rest = url.encode(errors="replace").rpartition(b"@")
    found = len(user.translate(None, _IN_USER)) + len(rest.translate(None, _AS_THEY_ARE))
    if found > _QUOTED_LIMIT:
        raise ValueError(f"must have at most {_QUOTED_LIMIT} bytes that are to be quoted, and not {found}")
    return url
