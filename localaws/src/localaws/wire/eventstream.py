"""AWS's event stream encoding, as far as answering needs it: string headers and a payload in checksummed frames."""

from __future__ import annotations

import struct
import zlib

_STRING_HEADER = 7


def message(event_type: str, content_type: str, payload: bytes) -> bytes:
    """One frame: two lengths and their CRC, headers, payload, CRC of it all."""
    headers = b"".join(
        _header(name, value)
        for name, value in (
            (":message-type", "event"),
            (":event-type", event_type),
            (":content-type", content_type),
        )
    )
    total = 12 + len(headers) + len(payload) + 4
    prelude = struct.pack(">II", total, len(headers))
    head = prelude + struct.pack(">I", zlib.crc32(prelude))
    frame = head + headers + payload
    return frame + struct.pack(">I", zlib.crc32(frame))


def _header(name: str, value: str) -> bytes:
    return (
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", _STRING_HEADER, len(value)) + value.encode()
    )
