"""What a batch holds uncompressed, within a bound: a few bytes can be made to inflate to gigabytes."""

import struct
import zlib
from collections.abc import Callable

import cramjam

Plain = bytes | bytearray | memoryview

_XERIAL = b"\x82SNAPPY\x00"  # how Java's snappy begins; behind it stand two versions, then blocks with their lengths
_XERIAL_HEAD = 16
_GROWTH = 8
_FIRST_GUESS = 2**16  # bytes
_GZIP = 31  # zlib's word for: with gzip's head, and the largest window
_OUTPUT_FULL = "failed to write whole buffer"  # what cramjam calls it


class InflateError(Exception):
    """The bytes are not what the codec writes, there is no such codec, or they inflate to more than is allowed."""


def inflate(codec: int, data: memoryview, limit: int) -> memoryview:
    """Return `data` uncompressed; `codec` is what a batch's attributes call it.

    Raises:
        InflateError: it cannot be done, or would take more than `limit` bytes.
    """
    if (decode := _CODECS.get(codec)) is None:
        raise InflateError(f"there is no codec {codec}")
    try:
        return memoryview(decode(bytes(data), limit))
    except (cramjam.DecompressionError, zlib.error, struct.error, ValueError) as error:
        raise InflateError(f"damaged: {error}") from error


def _too_large(limit: int) -> InflateError:
    return InflateError(f"it inflates to more than {limit} bytes")


def _gzip(data: bytes, limit: int) -> bytearray:
    out = bytearray()
    while data:  # several may stand one behind the other
        decoder = zlib.decompressobj(_GZIP)
        out += decoder.decompress(data, limit + 1 - len(out))
        if len(out) > limit:
            raise _too_large(limit)
        if not decoder.eof:
            raise InflateError("damaged: it is cut off")
        data = decoder.unused_data
    return out


def _snappy(data: bytes, limit: int) -> Plain:
    if not data.startswith(_XERIAL):
        return _snappy_block(data, limit)
    out, at = bytearray(), _XERIAL_HEAD
    while at < len(data):
        (length,) = struct.unpack_from(">i", data, at)
        at += 4
        if not 0 < length <= len(data) - at:
            raise InflateError("damaged: a block has no end")
        out += _snappy_block(data[at : at + length], limit - len(out))
        at += length
    return out


def _snappy_block(data: bytes, limit: int) -> bytes:
    if cramjam.snappy.decompress_raw_len(data) > limit:
        raise _too_large(limit)
    return bytes(cramjam.snappy.decompress_raw(data))


def _into(decode: Callable[[bytes, bytearray], int]) -> Callable[[bytes, int], Plain]:
    """Return a decoder that takes more room only as it is needed."""

    def bounded(data: bytes, limit: int) -> Plain:
        room = min(limit, max(_FIRST_GUESS, _GROWTH * len(data)))
        while True:
            out = bytearray(room)
            try:
                return memoryview(out)[: decode(data, out)]
            except cramjam.DecompressionError as error:
                if _OUTPUT_FULL not in str(error):
                    raise
                if room == limit:
                    raise _too_large(limit) from error
            room = min(limit, room * _GROWTH)

    return bounded


_CODECS: dict[int, Callable[[bytes, int], Plain]] = {
    1: _gzip,
    2: _snappy,
    3: _into(cramjam.lz4.decompress_into),
    4: _into(cramjam.zstd.decompress_into),
}
