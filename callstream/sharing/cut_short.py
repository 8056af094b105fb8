"""What ends because others need the room that it holds."""

import httpx


class CutShortError(httpx.ReadError):
    """An answer that had begun was ended by us, since its connection is for others: the request may be sent again."""
