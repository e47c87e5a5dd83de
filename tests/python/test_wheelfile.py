"""Wheels that are made to deceive: refused, or told what is odd about them."""

from __future__ import annotations

import re
import struct
import tempfile
import unicodedata
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import ArtifactConflict, LambdasmithError, UnsafeSource
from builder.python.parts import read_report, store_parts
from builder.python.prune import PruneOptions
from builder.python.wheelfile import WheelFile
from tests.archives.making import ZipEntry, make_zip
from tests.wheelhouse import make_wheel


def notes_of(wheel: Path) -> tuple[str, ...]:
    """What there is to say of a wheel, once a part has been made of it."""
    out = wheel.with_suffix(".part")
    store_parts([(wheel, out)], PruneOptions(), bytecode=None)
    return read_report(out).notes


# --- zips that are not the same to every reader ---------------------------------------------------------------------


def rewritten(wheel: Path, **changes: Any) -> Path:
    """The wheel written anew, its first entry changed."""
    with zipfile.ZipFile(wheel) as archive:
        entries = [ZipEntry(name=info.filename, content=archive.read(info)) for info in archive.infolist()]
    wheel.write_bytes(make_zip(replace(entries[0], **changes), *entries[1:]))
    return wheel


def test_a_stored_entry_with_two_sizes_is_refused(tmp_path: Path) -> None:
    """zipfile reads 4 bytes of it, unzip writes 144."""
    wheel = make_wheel(tmp_path, "two", files={"two.py": "evil"})
    assert notes_of(rewritten(wheel)) == ()
    lie = {"method": 0, "packed": b"evil" * 36}
    with pytest.raises(UnsafeSource, match="not compressed, and has two sizes"):
        notes_of(rewritten(wheel, **lie, local={"size": 4}, central={"size": 4}))


LIES: dict[str, dict[str, Any]] = {
    "name": {"local_name": b"y.py"},
    "name in an extra field": {"local_extra": struct.pack("<2HBI", 0x7075, 9, 1, zlib.crc32(b"x.py")) + b"y.py"},
    "method": {"local": {"method": 0}},
    "flags": {"local": {"flags": 8}},
    "size": {"local": {"size": 1}},
    "packed size": {"local": {"packed": 1}},
    "checksum": {"local": {"crc": 1}},
    "before": {"before": b"hidden"},
    "after": {"after": b"hidden"},
    "a directory for some": {"mode": 0o040755},
}


@pytest.mark.parametrize("what", LIES)
def test_a_wheel_that_readers_see_differently_is_refused(tmp_path: Path, what: str) -> None:
    wheel = make_wheel(tmp_path, "two", files={"x.py": "print()"})
    with pytest.raises(UnsafeSource, match=r"two-1\.0-py3-none-any\.whl"):
        notes_of(rewritten(wheel, **LIES[what]))


def test_data_around_the_entries_is_refused(tmp_path: Path) -> None:
    good = make_wheel(tmp_path, "two", files={"x.py": "print()"}).read_bytes()
    for number, data in enumerate((b"before" + good, good[:-22] + b"between" + good[-22:])):
        wheel = tmp_path / f"w{number}-1.0-py3-none-any.whl"
        wheel.write_bytes(data)
        with pytest.raises(LambdasmithError, match=r"is not the same wheel to every reader|is not a readable wheel"):
            notes_of(wheel)


def as_streamed(data: bytes) -> list[tuple[bytes, int, int, int, int]]:
    """What a reader sees that goes by the local headers alone: (name, method, crc, size, packed size)."""
    found, at = [], 0
    while data[at : at + 4] == b"PK\x03\x04":
        method, crc, packed, size, name, extra = struct.unpack("<8xH4x3I2H", data[at : at + 30])
        found.append((data[at + 30 : at + 30 + name], method, crc, size, packed))
        at += 30 + name + extra + packed
    return found


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_whatever_is_changed_in_a_wheel_all_readers_see_the_same_or_it_is_refused(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wheel = make_wheel(Path(folder), "w", files={"a.py": "A = 1\n" * 20, "b/c.txt": b"\0" * 50, "d": ""})
        content = bytearray(wheel.read_bytes())
        headers = [match.start() for match in re.finditer(rb"PK\x03\x04|PK\x01\x02|PK\x05\x06", content)]
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.sampled_from(headers)) + data.draw(st.integers(0, 60))
            if at < len(content):
                content[at] = data.draw(st.integers(0, 255))
        wheel.write_bytes(content)
        try:
            with WheelFile(wheel):
                pass
        except LambdasmithError:
            return
        with zipfile.ZipFile(wheel) as archive:
            seen = sorted(archive.infolist(), key=lambda info: info.header_offset)
        told = [(one.orig_filename, one.compress_type, one.CRC, one.file_size, one.compress_size) for one in seen]
        assert told == [(name.decode(), *rest) for name, *rest in as_streamed(bytes(content))]


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8))
def test_no_name_in_a_wheel_hides_anything(name: str) -> None:
    turning = ("RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI", "FSI", "PDI")
    with tempfile.TemporaryDirectory() as folder:
        wheel = make_wheel(Path(folder), "w", files={f"a{name}b.py": ""})
        try:
            notes_of(wheel)
        except LambdasmithError as error:
            said = error.message
        else:
            said = name
    assert not {unicodedata.category(one) for one in said} & {"Cc", "Zl", "Zp"}
    assert not {unicodedata.bidirectional(one) for one in said}.intersection(turning)


def test_a_name_with_a_null_byte_is_refused(tmp_path: Path) -> None:
    """Python's zipfile ends it there, others may not."""
    wheel = make_wheel(tmp_path, "w", files={"aXb.py": ""})
    wheel.write_bytes(wheel.read_bytes().replace(b"aXb.py", b"a\0b.py"))
    with pytest.raises(UnsafeSource, match="control or invisible character"):
        notes_of(wheel)


@pytest.mark.parametrize("hiding", ["\x1b[2J", "\x9b", "\u202e", "\u2066", "\u200b", "\ufeff", "\x7f", "\n"], ids=ascii)
def test_a_name_that_hides_something_is_refused(tmp_path: Path, hiding: str) -> None:
    with pytest.raises(UnsafeSource, match="control or invisible character") as caught:
        notes_of(make_wheel(tmp_path, "w", files={f"a{hiding}b.py": ""}))
    assert caught.value.message.isprintable()


# --- what a wheel says of itself, and does not ----------------------------------------------------------------------


def test_files_that_record_does_not_list_are_named(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "added", files={"added.py": ""})
    assert notes_of(wheel) == ()
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("added_later.py", "import os")
    (note,) = notes_of(wheel)
    assert note.startswith("added 1.0 has files that its RECORD does not list with a hash: added_later.py;")


@pytest.mark.parametrize("algorithm", ["sha384", "sha512", "md5", "other"])
def test_all_hashes_that_the_format_allows_are_held(tmp_path: Path, algorithm: str) -> None:
    wheel = make_wheel(tmp_path, "hashed", files={"hashed.py": "x"})
    with zipfile.ZipFile(wheel) as archive:
        contents = {info.filename: archive.read(info).decode() for info in archive.infolist()}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in contents.items():
            if name.endswith("RECORD"):
                lines = [line for line in content.splitlines(keepends=True) if not line.startswith("hashed.py,")]
                content = f"hashed.py,{algorithm}=AAAA,1\n" + "".join(lines)
            archive.writestr(name, content)
    if algorithm in ("sha384", "sha512"):
        with pytest.raises(ArtifactConflict, match=r"hashed\.py does not match the wheel's own RECORD"):
            notes_of(wheel)
    else:
        assert "RECORD does not list with a hash: hashed.py" in notes_of(wheel)[0]


STRANGE = {
    "sitecustomize.py": "which Python runs at every start",
    "usercustomize/__init__.py": "which Python runs at every start",
    "json/__init__.py": "replaces the standard library's",
    "enum.py": "replaces the standard library's",
    "yaml/__init__.py": "which is the module of PyYAML",
    "yaml/evil.py": "which is the module of PyYAML",
    "requests.py": "which is the module of requests",
    "requests.cpython-313-x86_64-linux-gnu.so": "which is the module of requests",
    "helper-1.0.data/purelib/boto3/session.py": "which is the module of boto3",
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_wheel_with_modules_of_others_is_named(tmp_path: Path, name: str) -> None:
    (note,) = notes_of(make_wheel(tmp_path, "helper", files={"helper.py": "", name: "X = 1"}))
    assert note.startswith("helper 1.0 has a module ")
    assert STRANGE[name] in note


@pytest.mark.parametrize(
    ("name", "module"),
    [("PyYAML", "yaml"), ("requests", "requests"), ("opencv_python", "cv2"), ("attrs", "attr"), ("Pillow", "PIL")],
)
def test_a_wheel_with_its_own_modules_is_not(tmp_path: Path, name: str, module: str) -> None:
    assert notes_of(make_wheel(tmp_path, name, files={f"{module}/__init__.py": "X = 1", "google/x/y.py": ""})) == ()


def test_code_in_a_pth_file_is_named_as_such(tmp_path: Path) -> None:
    (note,) = notes_of(make_wheel(tmp_path, "p", files={"p.pth": "# x\nimport p; p.start()\n", "p.py": ""}))
    assert "what its code would do at every start" in note
