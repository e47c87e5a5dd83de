"""Entries of an archive of whatever kind, as its headers describe them; and how much of that is believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from builder.errors import LambdasmithError, OutOfSpace, SourceError, UnsafeSource
from builder.paths import MAX_ENTRIES

# Of one entry: its name, extra fields, comment or long-name record; then of all entries of a zip together.
MAX_HEADER_BYTES = 128 << 10
MAX_DIRECTORY_BYTES = 64 << 20
# Linux's limit for a path.
MAX_LINK_BYTES = 4096
CHUNK = 256 << 10
# Text and zeros compress 30 to 1, a bomb 1,000 to 1. A small archive may be odd without harm.
_SMALL_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of unpacking: bytes of all files together and of each, entries, and unpacked bytes per byte of archive.

    All are compared with what is really unpacked; headers are only a reason to stop earlier.
    """

    max_bytes: int = 1 << 30
    max_file_bytes: int = 512 << 20
    max_entries: int = MAX_ENTRIES
    max_ratio: int = 100

    def is_bomb(self, unpacked_bytes: int, archive_bytes: int) -> bool:
        """Tell whether so much out of so little is more than real content compresses to."""
        return unpacked_bytes > max(_SMALL_BYTES, self.max_ratio * archive_bytes)


@dataclass(frozen=True, kw_only=True)
class Archived:
    """One entry. `name` is as in the archive; `content` is read once, before the next entry is asked for.

    `size` is from the header, in bytes; `content` yields exactly that much or raises. `problem` is what makes the entry
    unusable whatever its name, such as a device; it then has no content.
    """

    name: bytes
    kind: Literal["file", "directory", "link"] = "file"
    executable: bool = False
    size: int = 0
    target: bytes = b""
    content: Callable[[], Iterator[bytes]] = lambda: iter(())
    problem: str = ""


def shown(name: bytes) -> str:
    """Return an entry's name for a message."""
    return repr(name.decode("utf-8", "backslashreplace")[:200])


class Unreadable(Exception):
    """The archive as a whole cannot be read further: damaged, cut off, or of an unknown kind."""

    error: ClassVar[type[LambdasmithError]] = SourceError

    def __init__(self, message: str, *, hint: str = "make the archive again, or send it again") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Bomb(Unreadable):
    """It unpacks to an implausible amount."""

    error = UnsafeSource

    def __init__(self, limits: Limits) -> None:
        super().__init__(
            f"it unpacks to more than {limits.max_ratio} times its size: a bomb, or mostly zeros",
            hint="leave out large empty files",
        )


class TooMany(Unreadable):
    """It has more entries than may be unpacked."""

    error = OutOfSpace

    def __init__(self, limits: Limits) -> None:
        super().__init__(
            f"it has more than {limits.max_entries:,} files and directories",
            hint="leave out files that the build does not need",
        )
