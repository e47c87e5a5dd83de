"""Archives become files by our rules: what is unpacked, and what is refused in which words."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from builder.archives.archived import Archived, Limits
from builder.errors import LambdasmithError, OutOfSpace, SourceError
from builder.sources.archive import FIXED_TIME, Extracted, extract, snapshot_of
from builder.sources.treeid import tree_id
from builder.sources.unpacking import Unpacker
from tests.archives import making
from tests.archives.conftest import Bench
from tests.archives.making import (
    FILE,
    LINK,
    ZipEntry,
    gzipped,
    make_tar,
    make_zip,
    pax,
    record,
    with_tarfile,
    with_zipfile,
    zstandard,
)

TREE = {
    "app.py": (b"def handler(event, context): ...\n", FILE),
    "bin/run": (b"#!/bin/sh\n", 0o104755),
    "bin/private": (b"x", 0o100600),
    "data/ünï/" + "long" * 40 + ".txt": (b"\0" * 3_000_000, 0o100666),
    "empty": (b"", FILE),
    "data/link": (b"../bin/run", LINK),
}


def on_disk(root: Path) -> dict[str, tuple[bytes, int]]:
    found = {}
    for path in root.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            found[path.relative_to(root).as_posix()] = (os.fsencode(path.readlink()), LINK)
        elif stat.S_ISREG(mode):
            found[path.relative_to(root).as_posix()] = (path.read_bytes(), mode)
    return found


# --- what is unpacked -----------------------------------------------------------------------------------------------

SKIPPED = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
FORMS: Mapping[str, Callable[[], bytes]] = {
    "zip": lambda: with_zipfile(TREE),
    "tar": lambda: with_tarfile(TREE),
    "gnu tar": lambda: with_tarfile(TREE, tarfile.GNU_FORMAT),
    "tar.gz": lambda: gzipped(with_tarfile(TREE)),
    "tar.gz in members": lambda: gzipped(with_tarfile(TREE)[:5_000]) + gzipped(with_tarfile(TREE)[5_000:]),
    "tar.gz, padded": lambda: gzipped(with_tarfile(TREE)) + bytes(100_000),
    "tar.zst": lambda: zstandard(with_tarfile(TREE)),
    "tar.zst in frames": lambda: (
        SKIPPED + zstandard(with_tarfile(TREE)[:5_000]) + zstandard(with_tarfile(TREE)[5_000:])
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_gives_the_same_files_whatever_it_is_called(bench: Bench, form: str) -> None:
    before = os.umask(0o077)
    try:
        done = bench.unpack(FORMS[form]())
    finally:
        os.umask(before)
    modes = {0o100644: 0o100644, 0o104755: 0o100755, 0o100600: 0o100644, 0o100666: 0o100644, LINK: LINK}
    assert on_disk(bench.into) == {name: (content, modes[mode]) for name, (content, mode) in TREE.items()}
    assert (bench.into / "app.py").stat().st_mtime == FIXED_TIME
    size = sum(len(content) for content, _ in TREE.values())
    assert done == Extracted(files=len(TREE), size_bytes=size, lfs_pointers=())


def test_what_tools_write_besides_is_understood(bench: Bench) -> None:
    """A leading "./", directories named twice, zip64, sizes behind the data, an old tar, numbers in binary."""
    small = making.header("./bin/big")
    big = making.checked(small[:124] + b"\x80" + (5).to_bytes(11, "big") + small[136:])
    bench.unpack(
        make_tar(
            making.header("./", b"5"),
            making.header("bin/", b"5"),
            making.header("./bin/", b"\0", magic=b""),
            big + making.padded(b"12345"),
            pax(b"g", comment="c0ffee"),
            pax(path="./bin/ü", SCHILY_xattr="x" * 5_000),
            record("ignored", "ü".encode(), b"7", mode=0o755),
        )
    )
    assert on_disk(bench.into) == {"bin/big": (b"12345", 0o100644), "bin/ü": ("ü".encode(), 0o100755)}
    shutil.rmtree(bench.into)
    plain = {"flags": 8, "crc": 0, "packed": 0, "size": 0}
    described = ZipEntry(
        name="d/streamed", content=b"12345", method=0, local=plain, central={"flags": 8}, after=_descriptor(b"12345")
    )
    bench.unpack(make_zip(ZipEntry(name="d/", mode=0), described, comment=b"made by hand"))
    assert on_disk(bench.into) == {"d/streamed": (b"12345", 0o100644)}
    shutil.rmtree(bench.into)
    bench.unpack(making.make_zip64(ZipEntry(name="x", content=b"y")))
    assert on_disk(bench.into) == {"x": (b"y", 0o100644)}


def _descriptor(content: bytes) -> bytes:
    return b"PK\x07\x08" + zlib.crc32(content).to_bytes(4, "little") + len(content).to_bytes(4, "little") * 2


def test_an_archive_without_entries_is_an_empty_directory(bench: Bench) -> None:
    assert bench.unpack(make_zip()).files == 0
    assert bench.unpack(make_tar()).files == 0
    assert list(bench.into.iterdir()) == []


@pytest.mark.skipif(not shutil.which("git"), reason="needs git: install git")
@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
def test_the_same_content_has_the_id_that_git_gives_it(tmp_path: Path, form: str) -> None:
    work = tmp_path / "work"
    for name, (content, mode) in {**TREE, "bin-x": (b"", FILE), "bin.x/y": (b"", FILE), "café": (b"c", FILE)}.items():
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if mode == LINK:
            path.symlink_to(os.fsdecode(content))
        else:
            path.write_bytes(content)
            path.chmod(mode & 0o777)

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        return subprocess.run(
            ["git", *who, *arguments], cwd=work, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "all")
    git("archive", f"--output={tmp_path / 'a.bin'}", f"--format={form}", "HEAD")
    made = snapshot_of(tmp_path / "a.bin", tmp_path / "into", path="data", label="source")
    assert (made.tree, made.subtree) == (git("rev-parse", "HEAD^{tree}"), git("rev-parse", "HEAD:data"))
    assert (made.commit, made.commit_time, made.ref, made.url) == (made.tree, FIXED_TIME, "", "source")
    assert made.root == tmp_path / "into"
    (made.root / "nothing" / "here").mkdir(parents=True)
    (made.root / "there").symlink_to("data")
    assert tree_id(made.root / "nothing") == git("hash-object", "-t", "tree", os.devnull)
    assert [tree_id(made.root, path) for path in ("nothing", "no/such", "app.py", "data/link")] == [""] * 4
    assert tree_id(made.root, "there/ünï") == ""


def test_lfs_pointers_are_reported(bench: Bench) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    done = bench.unpack(with_zipfile({"m.bin": (pointer, FILE), "a.bin": (pointer, FILE)}))
    assert done.lfs_pointers == ("a.bin", "m.bin")


def test_only_an_empty_directory_is_unpacked_into(tmp_path: Path) -> None:
    outside, into = tmp_path / "outside", tmp_path / "into"
    outside.mkdir()
    into.mkdir()
    (into / "sub").symlink_to(outside)
    archive = tmp_path / "a.zip"
    archive.write_bytes(with_zipfile({"sub/x": (b"owned", FILE)}))
    with pytest.raises(FileExistsError):
        extract(archive, into)
    (tmp_path / "nowhere").symlink_to("no/such")
    for link in (into / "sub", tmp_path / "nowhere"):
        with pytest.raises(FileExistsError):
            extract(archive, link)
    assert list(outside.iterdir()) == []
    archive.write_bytes(b"no archive")
    shutil.rmtree(into)
    into.mkdir()
    with pytest.raises(SourceError):
        extract(archive, into)
    assert list(into.iterdir()) == []


# --- names and links, in any kind -----------------------------------------------------------------------------------

NAMES = [
    ("../evil", "../evil leaves the archive with .."),
    ("a/../../evil", "a/../../evil leaves the archive with .."),
    ("/etc/evil", "/etc/evil is an absolute path"),
    ("C:/evil", "C:/evil is an absolute path"),
    ("C:\\evil", "C:\\evil is an absolute path"),
    ("a\\..\\evil", "a\\..\\evil has a backslash in its name"),
    ("", " is an entry without a name"),
    ("a//b", "a//b has a name that no file or directory may have (at )"),
    (".//etc/evil", ".//etc/evil has a name that no file or directory may have (at )"),
    ("a/./b", "a/./b has a name that no file or directory may have (at .)"),
    (".git/hooks/x", ".git/hooks/x has a name that no file or directory may have (at .git)"),
    ("a/.GIT", "a/.GIT has a name that no file or directory may have"),
    ("n" * 256, f"{'n' * 100}...{'n' * 97} has a name that no file or directory may have"),
    ("d/" * 200 + "x", f"{'d/' * 50}...{'d/' * 48}x is more than 128 directories deep"),
    ("l" * 2049, f"{'l' * 100}...{'l' * 97} has a path longer than 2048 bytes"),
]


HIDING = [
    "\x1b[2J",
    "\n",
    "\r",
    "\x7f",
    "\x9b2J",
    "\u202etxt.exe",
    "\u2066x",
    "\u200b",
    "\ufeff",
    "\u00ad",
    "\U000e0041",
    "\u3164",
]


@pytest.mark.parametrize("form", ["zip", "tar"])
@pytest.mark.parametrize("hiding", HIDING, ids=ascii)
@pytest.mark.parametrize("place", ["{}", "a{}b/c", "a/{}b"])
def test_names_that_hide_something_are_refused_and_shown_as_they_are(
    bench: Bench, form: str, hiding: str, place: str
) -> None:
    said = bench.refusal(joined(form, entry(form, "good", b"x"), entry(form, place.format(hiding), b"x")))
    assert "has a control or invisible character in its name" in said
    assert said.isprintable()


@pytest.mark.parametrize("form", ["zip", "tar"])
@pytest.mark.parametrize(("name", "said"), NAMES, ids=[name[:20] or "none" for name, _ in NAMES])
def test_names_that_lead_elsewhere_are_refused(bench: Bench, form: str, name: str, said: str) -> None:
    if form == "zip":
        data = make_zip(ZipEntry(name="good", content=b"x"), ZipEntry(name=name, content=b"x"))
    else:
        long = making.record("@", name.encode() + b"\0", b"L") if len(name) > 100 else b""
        data = make_tar(record("good", b"x"), long, record(name[:100], b"x"))
    assert bench.refusal(data) == said


def entry(form: str, name: str, content: bytes = b"", mode: int = FILE) -> bytes | ZipEntry:
    if form == "zip":
        return ZipEntry(name=name, content=content, mode=mode)
    if mode == LINK:
        return making.header(name, b"2", target=content)
    return record(name, content, b"5" if name.endswith("/") else b"0")


def joined(form: str, *entries: bytes | ZipEntry) -> bytes:
    if form == "zip":
        return make_zip(*(one for one in entries if isinstance(one, ZipEntry)))
    return make_tar(*(one for one in entries if isinstance(one, bytes)))


PAIRS = [
    ([("a", FILE), ("a", FILE)], "a is there twice"),
    ([("a", FILE), ("a/", 0o040755)], "a is there twice"),
    ([("x/a", FILE), ("x", FILE)], "x is there twice"),
    ([("a", FILE), ("a/b", FILE)], "a/b lies below a, which is a file"),
    ([("a/B", FILE), ("a/b", FILE)], "a/b and a/B differ only in case or Unicode form"),
    ([("A/x", FILE), ("a/y", FILE)], "a and A differ only in case or Unicode form"),
    ([("\u00e9", FILE), ("e\u0301", FILE)], "e\u0301 and \u00e9 differ only in case or Unicode form"),
    ([("stra\u00dfe", FILE), ("STRASSE", FILE)], "STRASSE and stra\u00dfe differ only in case or Unicode form"),
]


@pytest.mark.parametrize("form", ["zip", "tar"])
@pytest.mark.parametrize(("entries", "said"), PAIRS, ids=[said[:12] for _, said in PAIRS])
def test_names_that_collide_are_refused(bench: Bench, form: str, entries: list[tuple[str, int]], said: str) -> None:
    made = [entry(form, name, mode=mode) for name, mode in entries]
    assert bench.refusal(joined(form, *made)) == said


LINKS = [
    ("l", b"/etc/passwd", "l is a symbolic link that leaves the archive (it points to /etc/passwd)"),
    ("l", b"..", "l is a symbolic link that leaves the archive (it points to ..)"),
    ("d/l", b"../../x", "d/l is a symbolic link that leaves the archive (it points to ../../x)"),
    ("l", b"", "l is a symbolic link with no usable target"),
]


@pytest.mark.parametrize("form", ["zip", "tar"])
@pytest.mark.parametrize(("name", "target", "said"), LINKS, ids=["absolute", "up", "far up", "nowhere"])
def test_links_that_leave_are_refused(bench: Bench, form: str, name: str, target: bytes, said: str) -> None:
    assert bench.refusal(joined(form, entry(form, name, target, LINK))) == said


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_nothing_is_written_through_a_link(bench: Bench, form: str) -> None:
    outside = bench.into.parent.parent / "outside"
    outside.mkdir()
    link, owned = entry(form, "x", b"../../outside", LINK), entry(form, "x/owned", b"owned")
    said = bench.refusal(joined(form, link, owned))
    leaves = "x is a symbolic link that leaves the archive (it points to ../../outside)"
    assert said == f"{leaves}; x/owned lies below x, which is a link"
    assert "twice" in bench.refusal(joined(form, entry(form, "x", b"y", LINK), entry(form, "x", b"owned")))
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_links_through_links_are_followed_to_their_real_end(bench: Bench, form: str) -> None:
    """`up` looks as if it stayed inside; but `deep` leads to where one step up is the top, and two are outside."""
    links = [entry(form, "d/deep", b"../e", LINK), entry(form, "up", b"d/deep/../..", LINK), entry(form, "e/f", b"")]
    assert bench.refusal(joined(form, *links)) == (
        "up is a symbolic link that leaves the archive (it points to d/deep/../..)"
    )
    chain = [entry(form, f"l{number}", b"l%d" % (number + 1), LINK) for number in range(100)]
    assert "and 40 more" in bench.refusal(joined(form, *chain))
    inside = [entry(form, "a", b"b", LINK), entry(form, "b", b"a", LINK), entry(form, "c", b"nowhere", LINK)]
    assert bench.unpack(joined(form, *inside)).files == 3


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_all_that_is_wrong_is_said_at_once_but_no_more_than_twenty_times(bench: Bench, form: str) -> None:
    entries = [entry(form, "good", b"x"), *(entry(form, name) for name in ("/a", "good", "../b", "/a"))]
    assert bench.refusal(joined(form, *entries)) == (
        "/a is an absolute path; good is there twice; ../b leaves the archive with .."
    )
    many = bench.refusal(joined(form, *(entry(form, f"../{number}") for number in range(1_500))))
    assert many.count("leaves") == 20
    assert many.endswith("; and 1,480 more")


# --- limits ---------------------------------------------------------------------------------------------------------

ZEROS = {"a": (b"\0" * 600_000, FILE), "b": (b"\0" * 600_000, FILE)}
LIMITS = [
    (Limits(max_bytes=1_000_000), OutOfSpace, "its files need more than the 1.0 MB there are, seen at b"),
    (Limits(max_file_bytes=500_000), OutOfSpace, "a is larger than the 0.5 MB that one file may have"),
    (Limits(max_entries=1), OutOfSpace, "it has more than 1 files and directories"),
]


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz", "tar.zst"])
@pytest.mark.parametrize(("limits", "kind", "said"), LIMITS, ids=["all", "one file", "entries"])
def test_limits_hold(tmp_path: Path, form: str, limits: Limits, kind: type[LambdasmithError], said: str) -> None:
    pack = {"zip": lambda: with_zipfile(ZEROS), "tar": lambda: with_tarfile(ZEROS)}
    pack |= {"tar.gz": lambda: gzipped(with_tarfile(ZEROS)), "tar.zst": lambda: zstandard(with_tarfile(ZEROS))}
    (tmp_path / "a").write_bytes(pack[form]())
    with pytest.raises(kind) as caught:
        extract(tmp_path / "a", tmp_path / "into", limits=limits, label="source s3://b/k")
    assert caught.value.message == f"source s3://b/k: {said}"
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize("limits", [Limits(max_bytes=1_000), Limits(max_file_bytes=1_000)], ids=["all", "one file"])
def test_what_is_written_counts_and_not_what_was_said(tmp_path: Path, limits: Limits) -> None:
    """Even if a reader gave more than it said."""
    with Unpacker(tmp_path, limits, "a", FIXED_TIME) as unpacker, pytest.raises(OutOfSpace):
        unpacker.take(Archived(name=b"x", size=1, content=lambda: iter([b"x" * 600] * 2)))
    assert (tmp_path / "x").stat().st_size == 600


def test_directories_that_nobody_names_count_as_entries(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(make_zip(ZipEntry(name="a/b/c/d")))
    assert extract(tmp_path / "a", tmp_path / "into", limits=Limits(max_entries=4)).files == 1
    with pytest.raises(OutOfSpace, match="more than 3 files"):
        extract(tmp_path / "a", tmp_path / "other", limits=Limits(max_entries=3))


@pytest.mark.parametrize("form", ["zip", "tar.gz", "tar.zst"])
def test_bombs_are_refused(bench: Bench, form: str) -> None:
    zeros = bytes(70_000_000)
    if form == "zip":
        data = make_zip(ZipEntry(name="zeros", content=zeros))
    else:
        data = {"tar.gz": gzipped, "tar.zst": zstandard}[form](make_tar(record("zeros", zeros)))
    assert bench.refusal(data) == "it unpacks to more than 100 times its size: a bomb, or mostly zeros"


def test_a_bomb_that_lies_about_its_size_is_not_unpacked_further(bench: Bench) -> None:
    liar = ZipEntry(name="x", content=bytes(1_000), packed=making.deflated(bytes(50_000_000)))
    said = bench.refusal(make_zip(liar), SourceError, limits=Limits(max_bytes=2_000))
    assert said == "the zip is damaged or made to deceive: the content of entry 'x' is not what the directory says"


# --- what is no archive, or none that is read -----------------------------------------------------------------------

SEND = "send a zip, tar, tar.gz or tar.zst"
OTHERS = {
    "empty": (b"", "it is empty"),
    "text": (b"hello" * 200, "it is not an archive of a supported format"),
    "xz": (b"\xfd7zXZ\0" + bytes(100), "it is xz, which is not supported"),
    "bzip2": (b"BZh9" + bytes(100), "it is bzip2, which is not supported"),
    "gzip of text": (gzipped(b"hello" * 200), "it is compressed, but does not contain a tar"),
    "zstd of nothing": (zstandard(b""), "it is compressed, but does not contain a tar"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_files_are_called_what_they_are(bench: Bench, what: str) -> None:
    data, said = OTHERS[what]
    assert bench.refusal(data, SourceError) == said
    with pytest.raises(SourceError) as caught:
        bench.unpack(data)
    assert caught.value.hint == SEND


def test_a_zip_of_pythons_own_zipapp_is_refused_for_what_is_before_it(bench: Bench) -> None:
    out = io.BytesIO(b"#!/usr/bin/env python3\n")
    out.seek(0, io.SEEK_END)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("x", "y")
    said = bench.refusal(out.getvalue(), SourceError)
    assert "23 bytes of other data before its first entry" in said
