"""Records of zips as they are written, read by the standard library; above all those beyond 4 GB and 65,535 files."""

from __future__ import annotations

import io
import zipfile

import pytest

from builder.archives import zipformat

LARGE = 5 << 30


class _Sparse(io.BytesIO):
    """A file that has only its last part, at `start`."""

    def __init__(self, content: bytes, start: int) -> None:
        super().__init__(content)
        self._start = start

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        place = offset - self._start if whence == io.SEEK_SET else offset
        return super().seek(place, whence) + self._start

    def tell(self) -> int:
        return super().tell() + self._start


def header(size: int) -> zipformat.Header:
    return zipformat.Header(name="ä/b", method=0, crc=7, compressed=size, unzipped=size, executable=True)


@pytest.mark.parametrize("size", [3, zipformat.MAX_32 - 1, zipformat.MAX_32, LARGE])
@pytest.mark.parametrize("offset", [0, zipformat.MAX_32 - 1, zipformat.MAX_32, LARGE])
def test_zipfile_reads_the_directory(size: int, offset: int) -> None:
    start, record = 2 * LARGE, header(size).central(offset)
    end = zipformat.end_records(count=1, start=start, length=len(record)) + b"\0\0"
    (info,) = zipfile.ZipFile(_Sparse(record + end, start)).infolist()
    assert (info.filename, info.file_size, info.compress_size, info.header_offset) == ("ä/b", size, size, offset)
    assert info.external_attr >> 16 == 0o100755


@pytest.mark.parametrize("size", [3, zipformat.MAX_32])
def test_the_local_record_is_as_long_as_it_says(size: int) -> None:
    record = header(size).local()
    assert zipformat.after_local(record[: zipformat.LOCAL_RECORD.size]) == len(record) - zipformat.LOCAL_RECORD.size


@pytest.mark.parametrize(("count", "start"), [(1, 0), (65_535, 9), (65_536, 9), (1, LARGE)])
def test_the_end_says_where_the_directory_is(count: int, start: int) -> None:
    end = zipformat.end_records(count=count, start=start, length=80) + b"\0\0"
    place = end.rindex(zipformat.END)
    found = zipformat.End.at64(end, 0) if place else zipformat.End.at(end, place)
    assert found == (0, 0, count, count, 80, start)


def test_a_record_is_moved() -> None:
    assert zipformat.moved(header(3).central(5), 99) == header(3).central(99)
