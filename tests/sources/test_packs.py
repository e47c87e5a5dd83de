"""Packs that git has made, read piece by piece, and packs that nobody should have made."""

from __future__ import annotations

import contextlib
import hashlib
import random
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.sources.gitlib.wire import open_objects
from builder.sources.objects import Damaged, Objects
from tests.sources.forge import GIT_ENVIRONMENT, git


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many versions of files of all sizes, so that git makes long chains of differences."""
    place = tmp_path_factory.mktemp("packed")
    git(place, "init", "-q")
    noise = random.Random(7)
    lines = [f"{noise.random()}\n" for _ in range(3000)]
    for version in range(60):
        lines[noise.randrange(3000)] = f"changed in {version}\n"
        (place / "long.txt").write_text("".join(lines))
        (place / f"file{version}").write_bytes(noise.randbytes(version * 40))
        git(place, "add", "-A")
        git(place, "commit", "-q", "-m", f"version {version}")
    (place / "large.bin").write_bytes(noise.randbytes(3_000_000))
    git(place, "add", "-A")
    git(place, "commit", "-q", "-m", "large")
    git(place, "tag", "-a", "v1", "-m", "a tag")
    return place


def pack(repository: Path, *options: str, revisions: str = "HEAD\nv1") -> bytes:
    return subprocess.run(
        ["git", "pack-objects", "--revs", "--stdout", "-q", *options],
        cwd=repository,
        env=GIT_ENVIRONMENT,
        input=f"{revisions}\n".encode(),
        check=True,
        capture_output=True,
    ).stdout


@contextlib.contextmanager
def objects_in(directory: Path, *packs: bytes) -> Iterator[Objects]:
    directory.mkdir(exist_ok=True)
    with contextlib.closing(open_objects(directory)) as objects:
        for each in packs:
            with objects.incoming() as file:
                file.write(each)
        yield objects


@pytest.mark.parametrize("options", [(), ("--delta-base-offset",), ("--depth=4000", "--window=50")], ids=str)
def test_every_object_is_what_git_says(repository: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    listed = git(repository, "cat-file", "--batch-all-objects", "--batch-check")  # id, kind, size
    with objects_in(tmp_path / "packs", pack(repository, *options)) as objects:
        for line in listed.splitlines():
            name, kind, size = line.split()
            found = objects.read(name)
            content = b"".join(found.chunks)
            assert (found.kind, found.size, len(content)) == (kind, int(size), int(size))
            assert hashlib.sha1(f"{kind} {size}\0".encode() + content).hexdigest() == name
        assert "1" * 40 not in objects
        with pytest.raises(KeyError):
            objects.read("1" * 40)
    with objects_in(tmp_path / "packs") as again:
        assert all(line.split()[0] in again for line in listed.splitlines()), "the indexes are kept"


def test_a_thin_pack_needs_what_it_is_a_difference_to(repository: Path, tmp_path: Path) -> None:
    old = pack(repository, revisions="HEAD~10")
    thin = pack(repository, "--thin", revisions="HEAD~1\n^HEAD~10")
    tip = git(repository, "rev-parse", "HEAD~1:long.txt")
    with objects_in(tmp_path / "both", old, thin) as objects:
        content = b"".join(objects.read(tip).chunks)
        assert hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == tip
    with pytest.raises(Damaged, match="which was not sent"), objects_in(tmp_path / "alone", thin):
        pass
    assert not list((tmp_path / "alone").iterdir()), "nothing is left of it"


def finished(count: int, body: bytes) -> bytes:
    raw = b"PACK" + struct.pack(">LL", 2, count) + body
    return raw + hashlib.sha1(raw).digest()


BLOB = b"\x35" + zlib.compress(b"hello")  # kind 3, 5 bytes


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"not a pack, but longer than one that is empty", "no pack"),
        (finished(1, BLOB)[:-1] + b"\0", "damaged"),
        (finished(2, BLOB), "cut off|impossible|incorrect|invalid"),
        (finished(1, BLOB + BLOB), "contains more"),
        (finished(1, b"\x34" + zlib.compress(b"hello")), "longer"),
        (finished(1, b"\x36" + zlib.compress(b"hello")), "shorter"),
        (finished(1, b"\x34" + zlib.compress(bytes(50_000_000))), "longer"),
        (finished(1, b"\x05" + zlib.compress(b"")), "impossible"),
        (finished(1, b"\x60\x05" + zlib.compress(b"")), "impossible|nothing"),
        (finished(1, b"\x70" + b"\x11" * 20 + zlib.compress(b"")), "not sent"),
        (finished(2, BLOB + b"\x63" + bytes([len(BLOB)]) + zlib.compress(b"\x09\x05x")), "difference cannot|a pack"),
    ],
)
def test_packs_that_cannot_be(tmp_path: Path, raw: bytes, words: str) -> None:
    with pytest.raises(Damaged, match=words), objects_in(tmp_path / "packs", raw):
        pass
    assert not list((tmp_path / "packs").iterdir())


def test_two_objects_that_are_differences_to_each_other(tmp_path: Path) -> None:
    """A loop by ids cannot be made, since an id is a hash of the content; by places it must not be followed."""
    raw = finished(2, b"\x62\x02" + zlib.compress(b"\5\5") + b"\x62\x0c" + zlib.compress(b"\5\5"))
    with pytest.raises(Damaged), objects_in(tmp_path / "packs", raw):
        pass


@settings(max_examples=150)
@given(data=st.data())
def test_damage_is_found_wherever_it_is(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With a checksum that fits, so that the reader itself is tried. What it lets pass is an object of another id."""
    rest = bytearray(BLOB * 3 + b"\x63" + bytes([len(BLOB)]) + zlib.compress(b"\5\5\x90\5"))
    for _ in range(data.draw(st.integers(1, 3))):
        rest[data.draw(st.integers(0, len(rest) - 1))] = data.draw(st.integers(0, 255))
    place = tmp_path_factory.mktemp("fuzz")
    with contextlib.suppress(Damaged), objects_in(place / "packs", finished(data.draw(st.integers(0, 5)), bytes(rest))):
        pass
