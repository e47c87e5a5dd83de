"""What an archive says it holds, entry by entry, whatever its kind; and how much of it is believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from builder.errors import LambdasmithError, OutOfSpace, SourceError, UnsafeSource
from builder.paths import MAX_ENTRIES

# One entry's name, extra fields, comment or long-name record; and those of all entries of a zip together.
MAX_HEADER_BYTES = 128 << 10
MAX_DIRECTORY_BYTES = 64 << 20
MAX_LINK_BYTES = 4096
CHUNK = 256 << 10
# Text and zeros reach 30 to 1; a bomb lives at 1,000 to 1. A small archive may be odd without harm.
_SMALL_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much an archive may become: bytes of all files together and of each, entries, and bytes per byte of it.

    All are held against what is really unpacked; what headers say is only a reason to stop earlier.
    """

    max_bytes: int = 1 << 30
    max_file_bytes: int = 512 << 20
    max_entries: int = MAX_ENTRIES
    max_ratio: int = 100

    def is_bomb(self, unpacked_bytes: int, archive_bytes: int) -> bool:
        """Whether so much out of so little is more than content compresses to."""
        return unpacked_bytes > max(_SMALL_BYTES, self.max_ratio * archive_bytes)


@dataclass(frozen=True, kw_only=True)
class Archived:
    """One entry. `name` is as in the archive; `content` is to be read once, before the next entry is asked for.

    `size` is what the header says, in bytes; `content` gives exactly that much or raises. `problem` is what makes the
    entry unusable whatever its name, such as a device; it has no content then.
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
    """The archive as a whole cannot be read on: damaged, cut off, or of a kind that is not read here."""

    error: ClassVar[type[LambdasmithError]] = SourceError

    def __init__(self, message: str, *, hint: str = "make the archive again, or send it again") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Bomb(Unreadable):
    """It unpacks to implausibly much."""

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
