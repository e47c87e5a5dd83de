"""Encrypts secrets in an event, which every process of the receiving function can ask the Runtime API for: the key
travels another way, and no child can read it.
"""

from __future__ import annotations

import base64
import hashlib
import secrets

# As many as SHAKE256 can make use of.
_KEY_BYTES = 32


def new_key() -> bytes:
    """Return a key for one envelope. Used for a second one, it would give away both."""
    return secrets.token_bytes(_KEY_BYTES)


def closed(text: str, key: bytes) -> str:
    """Encrypt `text`: no one can read it without the key; that no one changes it is checked elsewhere."""
    return base64.b64encode(_mixed(text.encode(), key)).decode()


def opened(text: str, key: bytes) -> str:
    """Decrypt what `closed` returned.

    Raises:
        ValueError: the result is not text. A changed letter may go unnoticed: the order's hash is for that.
    """
    return _mixed(base64.b64decode(text), key).decode()


def _mixed(data: bytes, key: bytes) -> bytes:
    """Combine `data` with the key's stream: SHAKE256 yields any number of bytes that look random without the key.

    The standard library has no cipher, and a library would cost every cold start.
    """
    stream = hashlib.shake_256(key).digest(len(data))
    return (int.from_bytes(data) ^ int.from_bytes(stream)).to_bytes(len(data))
