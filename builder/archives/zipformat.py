"""The records of a zip: how each is laid out, what its numbers mean, and how the zips made here write them.

Nothing is judged here. `builder.archives.zips` writes, `splice` joins what it wrote, `zipped` reads what others wrote.

Format: PKWARE APPNOTE 6.3.10.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

LOCAL, CENTRAL, DESCRIPTOR = b"PK\x03\x04", b"PK\x01\x02", b"PK\x07\x08"
END, END64, LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"

# Compiled once: a splice reads and writes thousands of records.
LOCAL_RECORD = Struct("<4s5H3I2H")
CENTRAL_RECORD = Struct("<4s6H3I5H2I")
END_RECORD = Struct("<4s4H2IH")
END64_RECORD = Struct("<4sQ2H2I4Q")
LOCATOR64_RECORD = Struct("<4sIQI")
# What stands after the data instead of before it: checksum and sizes.
DESCRIPTION, DESCRIPTION64 = Struct("<3I"), Struct("<I2Q")
EXTRA_FIELD = Struct("<2H")
_ZIP64_SIZES, _ZIP64_OFFSET, _ZIP64_BOTH = Struct("<2H2Q"), Struct("<2HQ"), Struct("<2H3Q")
_LENGTHS_OF_LOCAL = Struct("<26x2H")

END_MAX = END_RECORD.size + 0xFFFF
"""Bytes of the end record with the longest comment."""

MAX_16, MAX_32 = 0xFFFF, 0xFFFFFFFF
"""What a field says whose value is in the record of zip64."""
STORED, DEFLATED, AES = 0, 8, 99
ENCRYPTED, DESCRIBED, PATCH, STRONGLY_ENCRYPTED, UTF8_NAME, MASKED = 0x1, 0x8, 0x20, 0x40, 0x800, 0x2000
"""Bits of the flags. DESCRIBED: sizes follow the data; MASKED: the directory is encrypted."""
ZIP64, UNICODE_PATH = 0x0001, 0x7075
"""Numbers of extra fields."""

# Where a record of the directory says where the file's local record is.
_CENTRAL_OFFSET = 42
# One date for all entries, the earliest that a zip can have: equal content gives equal bytes.
_DATE_1980 = (1 << 5) | 1
# Readers take modes from the upper half of the attributes only for entries made by Unix.
_UNIX = 3 << 8
_NEEDED, _NEEDED64 = 20, 45
# The signature of the end record of zip64 and the size itself, which its size leaves out.
_END64_UNCOUNTED = 12


class Local(NamedTuple):
    """The record before a file's data, without name and extra fields."""

    signature: bytes
    needed: int
    flags: int
    method: int
    time: int
    date: int
    crc: int
    compressed: int
    unzipped: int
    name_length: int
    extra_length: int

    @classmethod
    def at(cls, data: bytes, at: int) -> Local:
        """Read the record that begins at `at`."""
        return cls._make(LOCAL_RECORD.unpack_from(data, at))


class Central(NamedTuple):
    """A file's record in the directory, without name, extra fields and comment."""

    signature: bytes
    made_by: int
    needed: int
    flags: int
    method: int
    time: int
    date: int
    crc: int
    compressed: int
    unzipped: int
    name_length: int
    extra_length: int
    comment_length: int
    disk: int
    internal: int
    external: int
    offset: int

    @classmethod
    def at(cls, directory: bytes, at: int) -> Central:
        """Read the record that begins at `at`."""
        return cls._make(CENTRAL_RECORD.unpack_from(directory, at))


class End(NamedTuple):
    """Where the directory is: what the record at the end says, and the one of zip64."""

    disk: int
    first_disk: int
    here: int
    entries: int
    length: int
    start: int

    @classmethod
    def at(cls, data: bytes, at: int) -> End:
        """Read the record that begins at `at`."""
        return cls._make(END_RECORD.unpack_from(data, at)[1:-1])

    @classmethod
    def at64(cls, data: bytes, at: int) -> End:
        """Read the record of zip64 that begins at `at`."""
        return cls._make(END64_RECORD.unpack_from(data, at)[4:])


END_ABSENT = End(MAX_16, MAX_16, MAX_16, MAX_16, MAX_32, MAX_32)
"""What the record at the end says where only the one of zip64 has the value."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a zip says of one file, in the only form that is written here."""

    name: str
    method: int
    crc: int
    compressed: int
    unzipped: int
    executable: bool

    def _fields(self) -> tuple[bytes, int]:
        encoded = self.name.encode()
        return encoded, 0 if encoded.isascii() else UTF8_NAME

    def local(self) -> bytes:
        """Return the record before the file's data."""
        name, flags = self._fields()
        large = self.compressed >= MAX_32 or self.unzipped >= MAX_32
        extra = _ZIP64_SIZES.pack(ZIP64, 16, self.unzipped, self.compressed) if large else b""
        head = LOCAL_RECORD.pack(
            LOCAL,
            _NEEDED64 if large else _NEEDED,
            flags,
            self.method,
            0,
            _DATE_1980,
            self.crc,
            MAX_32 if large else self.compressed,
            MAX_32 if large else self.unzipped,
            len(name),
            len(extra),
        )
        return head + name + extra

    def central(self, offset: int) -> bytes:
        """Return the record in the directory at the end; `offset` is where the local one is."""
        name, flags = self._fields()
        large = self.compressed >= MAX_32 or self.unzipped >= MAX_32
        far = offset >= MAX_32
        extra = self._zip64(offset, large=large, far=far) if large or far else b""
        # The lowest version that can read the entry, so that old readers take all small zips.
        needed = _NEEDED64 if extra else _NEEDED
        mode = 0o100755 if self.executable else 0o100644
        head = CENTRAL_RECORD.pack(
            CENTRAL,
            _UNIX | needed,
            needed,
            flags,
            self.method,
            0,
            _DATE_1980,
            self.crc,
            MAX_32 if large else self.compressed,
            MAX_32 if large else self.unzipped,
            len(name),
            len(extra),
            0,
            0,
            0,
            mode << 16,
            MAX_32 if far else offset,
        )
        return head + name + extra

    def _zip64(self, offset: int, *, large: bool, far: bool) -> bytes:
        if large and far:
            return _ZIP64_BOTH.pack(ZIP64, 24, self.unzipped, self.compressed, offset)
        if large:
            return _ZIP64_SIZES.pack(ZIP64, 16, self.unzipped, self.compressed)
        return _ZIP64_OFFSET.pack(ZIP64, 8, offset)


def moved(record: bytes, offset: int) -> bytes:
    """Return a record of the directory for a local record that is at `offset` now, which a field of 32 bits holds."""
    return b"%b%b%b" % (record[:_CENTRAL_OFFSET], offset.to_bytes(4, "little"), record[_CENTRAL_OFFSET + 4 :])


def end_records(*, count: int, start: int, length: int) -> bytes:
    """Return what follows the directory, up to the comment's length, with the records of zip64 where it needs them."""
    large = b""
    if count > MAX_16 or start >= MAX_32 or length >= MAX_32:
        size = END64_RECORD.size - _END64_UNCOUNTED
        large = END64_RECORD.pack(END64, size, _NEEDED64, _NEEDED64, 0, 0, count, count, length, start)
        large += LOCATOR64_RECORD.pack(LOCATOR64, 0, start + length, 1)
    counts = min(count, MAX_16), min(count, MAX_16), min(length, MAX_32), min(start, MAX_32)
    return large + END_RECORD.pack(END, 0, 0, *counts, 0)[:-2]


def size_of_end64(record: bytes) -> int:
    """Return how many bytes the end record of zip64 has, by its own account."""
    return int.from_bytes(record[4:_END64_UNCOUNTED], "little") + _END64_UNCOUNTED


def after_local(head: bytes) -> int:
    """Return how many bytes of name and extra fields stand between a local record, which is `head`, and the data.

    Raises:
        struct.error: `head` is shorter than such a record.
    """
    name_length, extra_length = _LENGTHS_OF_LOCAL.unpack(head)
    return int(name_length + extra_length)
