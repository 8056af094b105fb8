"""Listening sockets."""

import socket

from cli.errors import CommandError

_BACKLOG = 2_048  # connections that wait to be accepted


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, so that whoever connects from now on is not refused.

    Raises:
        CommandError: the address is taken or is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise CommandError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --host or --port"
        ) from None
