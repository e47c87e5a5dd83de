"""Secrets in an event, which every process of the function that gets it can ask the Runtime API for: closed by a key
that travels another way, and that no child can read.
"""

from __future__ import annotations

import base64
import hashlib
import secrets

_KEY_BYTES = 32


def new_key() -> bytes:
    """A key for one envelope. For a second one it would give away both."""
    return secrets.token_bytes(_KEY_BYTES)


def closed(text: str, key: bytes) -> str:
    """`text` as nobody can read it without the key; that nobody changes it is for others to see to."""
    return base64.b64encode(_mixed(text.encode(), key)).decode()


def opened(text: str, key: bytes) -> str:
    """What was closed.

    Raises:
        ValueError: what comes out is no text. A changed letter may go unseen: the order's hash is for that.
    """
    return _mixed(base64.b64decode(text), key).decode()


def _mixed(data: bytes, key: bytes) -> bytes:
    """`data` with the key's stream: SHAKE256 gives as much as is wanted, which nobody tells from random bytes.

    The standard library has no cipher, and one from elsewhere would cost every cold start.
    """
    stream = hashlib.shake_256(key).digest(len(data))
    return (int.from_bytes(data) ^ int.from_bytes(stream)).to_bytes(len(data))
