"""Zips and tars that lie, break off or hide something: each refused in its own words."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import pytest

from builder.archives.archived import Limits
from builder.errors import OutOfSpace, SourceError, UnsafeSource
from tests.archives import making
from tests.archives.conftest import Bench
from tests.archives.making import END, LINK, ZipEntry, gzipped, header, make_tar, make_zip, pax, record, zstandard

X = ZipEntry(name="x", content=b"content of x")
Y = ZipEntry(name="y", content=b"content of y")
DECEIT = "the zip is damaged or made to deceive: "


def another(extra_name: bytes) -> bytes:
    """The extra field with a Unicode name beside "x"."""
    content = b"\x01" + struct.pack("<I", zlib.crc32(b"x")) + extra_name
    return struct.pack("<2H", 0x7075, len(content)) + content


def by_method(method: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("x", b"content" * 100)
    return out.getvalue()


def one(**changes: object) -> bytes:
    return make_zip(ZipEntry(**{"name": "x", "content": b"content of x", **changes}), Y)  # type: ignore[arg-type]


ENTRIES = {
    "encrypted": (one(local={"flags": 1}, central={"flags": 1}), "x is encrypted"),
    "encrypted with AES": (one(local={"method": 99}, central={"method": 99}), "x is encrypted"),
    "bzip2": (by_method(zipfile.ZIP_BZIP2), "x is compressed with bzip2, which is not supported"),
    "LZMA": (by_method(zipfile.ZIP_LZMA), "x is compressed with LZMA, which is not supported"),
    "unknown": (
        one(local={"method": 77}, central={"method": 77}),
        "x is compressed with method 77, which is not supported",
    ),
    "pipe": (one(mode=0o010644), "x is a device, a pipe or a socket"),
    "device": (one(mode=0o060644), "x is a device, a pipe or a socket"),
    "directory": (one(mode=0o040755), "x is a directory with content"),
    "slash": (one(name="x/"), "x/ is a directory with content"),
    "link": (one(mode=LINK, content=b"a" * 5_000), "x is a symbolic link with no usable target"),
    "not UTF-8": (one(name=b"caf\xe9"), "caf\\xe9 has a name that is not UTF-8"),
    "second name": (one(extra=another(b"../x")), "x has another name for other readers"),
}


@pytest.mark.parametrize("what", ENTRIES)
def test_entries_of_a_zip_that_are_no_plain_files(bench: Bench, what: str) -> None:
    data, said = ENTRIES[what]
    assert bench.refusal(data) == said


def test_a_header_of_an_absurd_size_is_refused(bench: Bench) -> None:
    extra = struct.pack("<2H", 0x9999, 0xFFF0) + bytes(0xFFF0)
    assert bench.refusal(one(name="n" * 100, extra=extra, comment=bytes(0xFFFF))).endswith(
        "has a header of 131,159 bytes"
    )


def test_a_second_name_that_agrees_is_no_harm(bench: Bench) -> None:
    bench.unpack(one(extra=another(b"x")))
    assert (bench.into / "x").read_bytes() == b"content of x"


GOOD = make_zip(X, Y)
FIRST = len(make_zip(X)) - 22 - 47  # bytes of the first entry
LONG = make_zip(X, Y, comment=b"PK\x05\x06" + bytes(16) + b"\0\0")
ZIPS = {
    "cut": (GOOD[:-30], "the zip is cut off: its directory, which comes last, is not there"),
    "cut in its end": (GOOD[:-3], "the zip is cut off, or there is other data after it"),
    "followed": (GOOD + b"more", "the zip is cut off, or there is other data after it"),
    "preceded": (
        b"before" + make_zip(X, Y),
        f"{DECEIT}there are 6 bytes of other data before or in it",
    ),
    "between": (
        make_zip(X, ZipEntry(name="y", before=b"between")),
        f"{DECEIT}there are 7 bytes of other data after entry 'x'",
    ),
    "before its directory": (
        make_zip(X, Y, before_directory=b"hidden"),
        f"{DECEIT}there are 6 bytes of other data after entry 'y'",
    ),
    "two ends": (LONG, f"{DECEIT}it ends in two ways"),
    "volumes": (make_zip(X, Y, end={"disk": 1}), "the zip is one of several volumes"),
    "volumes of an entry": (one(central={"disk": 1}), "the zip is one of several volumes"),
    "fewer": (make_zip(X, Y, end={"count": 1}), f"{DECEIT}its directory has other entries than its end says"),
    "more": (make_zip(X, Y, end={"count": 3}), f"{DECEIT}its directory is too small for 3 entries"),
    "elsewhere": (make_zip(X, Y, end={"start": 9999}), f"{DECEIT}its directory is not where its end says"),
    "earlier": (
        make_zip(X, Y, end={"start": 1}),
        f"{DECEIT}there are {2 * FIRST - 1} bytes of other data before or in it",
    ),
    "other name": (one(local_name=b"z"), f"{DECEIT}the directory and the header of entry 'x' do not agree"),
    "other size": (one(local={"size": 1}), f"{DECEIT}the directory and the header of entry 'x' do not agree"),
    "other method": (one(local={"method": 0}), f"{DECEIT}the directory and the header of entry 'x' do not agree"),
    "two sizes": (
        make_zip(X, ZipEntry(name="y", content=b"evil" * 36, method=0, central={"size": 4}, local={"size": 4})),
        f"{DECEIT}entry 'y' is not compressed, and has two sizes",
    ),
    "other spelling": (
        make_zip(ZipEntry(name="\u00e9", content=b"x", local={"flags": 0})),
        f"{DECEIT}the directory and the header of entry '\u00e9' do not agree",
    ),
    "other name in an extra field": (
        one(local_extra=struct.pack("<2HBI", 0x7075, 6, 1, zlib.crc32(b"x")) + b"z"),
        f"{DECEIT}the directory and the header of entry 'x' do not agree",
    ),
    "other flags": (one(local={"flags": 1}), f"{DECEIT}the directory and the header of entry 'x' do not agree"),
    "no header": (one(central={"start": 7}), f"{DECEIT}there are 7 bytes of other data before its first entry"),
    "no entry": (one(central={"start": 10**6}), f"{DECEIT}entry 'x' is not where the directory says"),
    "same place": (
        make_zip(X, ZipEntry(name="x", content=b"content of x", central={"start": 0})),
        f"{DECEIT}entry 'x' overlaps with what comes after it",
    ),
    "overlap": (
        one(central={"packed": 99}, local={"packed": 99}),
        f"{DECEIT}entry 'x' overlaps with what comes after it",
    ),
    "checksum": (
        one(central={"crc": 1}, local={"crc": 1}),
        f"{DECEIT}the content of entry 'x' is not what the directory says",
    ),
    "shorter": (
        one(central={"size": 5}, local={"size": 5}),
        f"{DECEIT}the content of entry 'x' is not what the directory says",
    ),
    "longer": (
        one(central={"size": 50}, local={"size": 50}),
        f"{DECEIT}the content of entry 'x' is not what the directory says",
    ),
    "goes on": (
        one(packed=making.deflated(b"content of x") + b"hidden"),
        f"{DECEIT}the content of entry 'x' does not end where it should",
    ),
    "breaks off": (
        one(packed=making.deflated(b"content of x")[:-2]),
        f"{DECEIT}the content of entry 'x' does not end where it should",
    ),
    "not deflated": (one(packed=b"\xff" * 20), f"{DECEIT}the content of entry 'x' cannot be unpacked"),
    "extra": (one(extra=b"\x01\x00\xff\x00"), f"{DECEIT}an entry has extra fields that do not fit together"),
    "zip64 twice": (one(extra=b"\x01\0\0\0" * 2), f"{DECEIT}an entry has extra fields that do not fit together"),
    "zip64 short": (
        one(extra=b"\x01\0\0\0", central={"size": 0xFFFFFFFF}),
        f"{DECEIT}a zip64 field is too short",
    ),
    "zip64 end": (making.make_zip64(X, says=2), f"{DECEIT}its directory is too small for 2 entries"),
}


@pytest.mark.parametrize("what", ZIPS)
def test_zips_that_lie_or_break_off(bench: Bench, what: str) -> None:
    data, said = ZIPS[what]
    assert bench.refusal(data, SourceError).startswith(said)


def test_the_two_ends_of_a_zip64_must_agree(bench: Bench) -> None:
    good = making.make_zip64(X)
    end = good.rindex(b"PK\x05\x06")
    assert "two end records do not agree" in bench.refusal(
        good[: end + 8] + b"\x07\0\x07\0" + good[end + 12 :], SourceError
    )
    locator = good.rindex(b"PK\x06\x07")
    for moved in (
        good[: locator + 8] + b"\xff" * 8 + good[locator + 16 :],
        good[:locator] + b"12345678" + good[locator:],
    ):
        assert "zip64 record is not where its end says" in bench.refusal(moved, SourceError)


def test_what_a_zip_claims_is_refused_before_it_is_unpacked(bench: Bench) -> None:
    claims = {"size": 0xFFFFFFFE}
    assert bench.refusal(one(central=claims, local=claims)).startswith("it unpacks to more than 100 times its size")
    zeros = make_zip(*(ZipEntry(name=f"{number}") for number in range(20)))
    assert (
        bench.refusal(zeros, OutOfSpace, limits=Limits(max_entries=19)) == "it has more than 19 files and directories"
    )


# --- tar ------------------------------------------------------------------------------------------------------------

TARRED = "the tar is damaged or made to deceive: "
TAR_ENTRIES = {
    "hard link": (header("x", b"1", target=b"app.py"), "x is a hard link"),
    "device": (header("x", b"3"), "x is a device"),
    "block device": (header("x", b"4"), "x is a device"),
    "pipe": (header("x", b"6"), "x is a pipe"),
    "sparse": (record("x", b"1234", b"S"), "x is a sparse file"),
    "sparse in pax": (pax(GNU_sparse_major="1") + record("x", b"1234"), "x is a sparse file"),
    "volume": (record("x", b"1234", b"M"), "x is a part of a file in another volume"),
    "unknown": (record("x", b"1234", b"Z"), "x is of a kind that is not read here (b'Z')"),
    "not UTF-8": (record(b"caf\xe9"), "caf\\xe9 has a name that is not UTF-8"),
    "long target": (record("@", b"t" * 5_000, b"K") + header("x", b"2"), "x is a symbolic link with no usable target"),
    "path in pax": (pax(path="../x") + record("x"), "../x leaves the archive with .."),
    "target in pax": (
        pax(linkpath="/etc") + header("x", b"2", target=b"y"),
        "x is a symbolic link that leaves the archive (it points to /etc)",
    ),
    "null in pax": (
        pax(path="a\0b") + record("x"),
        "'a\\x00b' has a control or invisible character in its name",
    ),
}


@pytest.mark.parametrize("what", TAR_ENTRIES)
def test_entries_of_a_tar_that_are_no_plain_files(bench: Bench, what: str) -> None:
    data, said = TAR_ENTRIES[what]
    assert bench.refusal(make_tar(record("good", b"x"), data)) == said


def damaged(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


TAR = make_tar(record("x", b"content of x"), record("y", b"y" * 700))
TARS = {
    "no end": (TAR[: -len(END)], "the tar is cut off: it has no end mark"),
    "cut in a header": (TAR[:1_200], "the tar is cut off: it has no end mark"),
    "cut in content": (TAR[:1_600], "the tar is cut off in 'y'"),
    "cut in padding": (TAR[:2_400], "the tar is cut off after 'y'"),
    "cut in a record": (pax(path="x" * 600)[:-400], "the tar is cut off in a header"),
    "followed": (TAR + b"more", "there is other data after the tar"),
    "checksum": (damaged(TAR, 1_030), f"{TARRED}a header has a wrong checksum"),
    "number": (
        making.checked(header("x").replace(b"0000644", b"00x0644")) + END,
        f"{TARRED}a header has b'00x0644\\x00' where a number belongs",
    ),
    "directory with content": (record("x", b"1", b"5") + END, f"{TARRED}'x' is a directory with content"),
    "record without entry": (TAR[:1_024] + pax(path="z") + END, f"{TARRED}a header for an entry that is missing"),
    "name for all": (pax(b"g", path="z") + TAR, f"{TARRED}a name or size for all entries"),
    "no pax": (record("@", b"12 path=x", b"x") + TAR, f"{TARRED}a pax header is not one"),
    "pax without a key": (record("@", b"5 =x\n", b"x") + TAR, f"{TARRED}a pax header is not one"),
    "pax with a rest": (record("@", b"9 path=x\nrest", b"x") + TAR, f"{TARRED}a pax header is not one"),
    "pax length": (record("@", b"99999 path=x\n", b"x") + TAR, f"{TARRED}a pax header is not one"),
    "pax size": (pax(size="-1") + TAR, f"{TARRED}a header has b'-1' where a number belongs"),
    "two names": (
        pax(path="a") + record("@", b"b\0", b"L") + TAR,
        f"{TARRED}two headers for one entry do not agree",
    ),
    "huge record": (header("@", b"x", 200_000) + TAR, "a header of 200,000 bytes; at most 128 KiB are read"),
    "endless record": (
        header("@", b"L", 0o77777777777) + TAR,
        "a header of 8,589,934,591 bytes; at most 128 KiB are read",
    ),
}


@pytest.mark.parametrize("what", TARS)
def test_tars_that_lie_or_break_off(bench: Bench, what: str) -> None:
    data, said = TARS[what]
    assert bench.refusal(data, SourceError) == said
    assert bench.refusal(gzipped(data), SourceError) == said


COMPRESSED = {
    "gzip cut": (gzipped(TAR)[:-9], "the gzip data is cut off"),
    "gzip checksum": (damaged(gzipped(TAR), -5), "the gzip data is damaged (Error -3"),
    "gzip damaged": (damaged(gzipped(TAR), 12), "the gzip data is damaged (Error -3"),
    "gzip followed": (gzipped(TAR) + b"more", "there is other data after the gzip data"),
    "gzip in pieces": (gzipped(TAR) + gzipped(b"") * 100_001, "the gzip data is in more than 100,000 pieces"),
    "zstd cut": (zstandard(TAR)[:-5], "the Zstandard data is cut off"),
    "zstd damaged": (damaged(zstandard(TAR), 5), "the Zstandard data is damaged ("),
    "zstd followed": (zstandard(TAR) + b"more", "there is other data after the Zstandard data"),
    "zstd window": (
        zstandard(TAR, window_log=27),
        "the Zstandard data needs more than the 32 MiB of memory that it may use",
    ),
}


@pytest.mark.parametrize("what", COMPRESSED)
def test_compressed_data_that_breaks_off_or_hides_something(bench: Bench, what: str) -> None:
    data, said = COMPRESSED[what]
    assert bench.refusal(data, SourceError).startswith(said)


def test_an_entry_that_is_refused_is_named_before_what_it_breaks(bench: Bench) -> None:
    """Nobody can say how long a sparse file's record is; what follows cannot be read then."""
    sparse = record("x", b"1234", b"S") + bytes(range(256)) * 2
    assert bench.refusal(make_tar(sparse, record("y")), UnsafeSource) == "x is a sparse file"
