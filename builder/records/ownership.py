"""A JSON object in the store that one of several writers owns, through conditional writes."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from builder.store.s3 import S3Store, Version


class Ownership:
    """Our claim to the object `name`: ours from a successful `seize` until someone else has written or removed it.

    Every write carries a new `nonce` of ours. So if the answer to a write is lost, we do not mistake our own write for
    someone else's, and an object that was renewed at the last moment is never mistaken for the one before.
    """

    def __init__(self, store: S3Store, name: str) -> None:
        self._store = store
        self._name = name
        # Random per claim: a restarted builder with the same build id must not take its predecessor's write for its
        # own.
        self._token = secrets.token_hex(8)
        self._writes = 0
        self._etag: str | None = None
        self._asked_at = 0.0

    @property
    def is_ours(self) -> bool:
        """Whether it was ours at our last write."""
        return self._etag is not None

    def age_s(self) -> float:
        """Return the time since we asked for our last write: the written object is at most this old."""
        return time.monotonic() - self._asked_at

    def read(self) -> Version | None:
        """Return what is there, whoever wrote it."""
        return self._store.read_version(self._name)

    def wrote(self, version: Version) -> bool:
        """Tell whether we wrote it."""
        return version.value is not None and str(version.value.get("nonce", "")).startswith(self._token)

    def seize(self, value: Mapping[str, object], over: Version | None) -> bool:
        """Write `value` over what was read, or where nothing is; False if that has changed meanwhile."""
        return self._write(value, over.etag if over else None)

    def rewrite(self, value: Mapping[str, object]) -> bool:
        """Write `value` over our own last write; False, and no longer ours, if that is gone."""
        if self._etag is None:
            return False
        if self._write(value, self._etag):
            return True
        # An earlier write may have succeeded although its answer was lost; then the ETag that we know is out of date.
        present = self.read()
        if present is not None and self.wrote(present) and self._write(value, present.etag):
            return True
        self._etag = None
        return False

    def remove(self) -> None:
        """Remove the object if it is ours."""
        # Conditional on the ETag: by now it may be another build's.
        if not self._writes or (self._etag is not None and self._store.delete_if(self._name, etag=self._etag)):
            return
        present = self.read()
        if present is not None and self.wrote(present):
            self._store.delete_if(self._name, etag=present.etag)

    def _write(self, value: Mapping[str, object], etag: str | None) -> bool:
        # Taken before the request, so that the time it takes counts as age.
        asked_at = time.monotonic()
        self._writes += 1
        nonce = f"{self._token}-{self._writes}"
        written = self._store.write_if(self._name, {**value, "nonce": nonce}, etag=etag)
        if written is None:
            return False
        self._etag, self._asked_at = written, asked_at
        return True
