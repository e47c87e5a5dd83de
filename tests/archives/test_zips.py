"""Deterministic zips and the splice, against zipfile and unzip."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.archives.splice import Part, splice
from builder.archives.zips import Entry, safe_name, unpack, write_zip
from builder.errors import ArtifactConflict, UnsafeSource

names = st.from_regex(r"[a-z0-9_é]{1,8}(/[a-z0-9_.]{1,6}[a-z]){0,3}", fullmatch=True)
trees = st.dictionaries(names, st.tuples(st.binary(max_size=300), st.booleans()), max_size=8)


def entries(tree: dict[str, tuple[bytes, bool]]) -> list[Entry]:
    return [Entry(name=name, source=content, executable=x) for name, (content, x) in tree.items()]


def read(data: bytes) -> dict[str, tuple[bytes, bool]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {
            info.filename: (archive.read(info), bool(info.external_attr >> 16 & 0o100)) for info in archive.infolist()
        }


def written(tree: dict[str, tuple[bytes, bool]]) -> bytes:
    out = io.BytesIO()
    summary = write_zip(out, entries(tree))
    assert summary.size == len(out.getvalue())
    assert summary.files == len(tree)
    return out.getvalue()


@given(trees)
def test_zipfile_reads_back_what_was_written(tree: dict[str, tuple[bytes, bool]]) -> None:
    assert read(written(tree)) == tree


@given(trees)
def test_order_of_the_input_does_not_matter(tree: dict[str, tuple[bytes, bool]]) -> None:
    assert written(tree) == written(dict(reversed(tree.items())))


@settings(max_examples=40)
@given(one=trees, two=trees)
def test_a_splice_is_the_union_of_its_parts(
    one: dict[str, tuple[bytes, bool]], two: dict[str, tuple[bytes, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("splice")
    two = {name: one.get(name, content) for name, content in two.items()}
    for name, tree in (("a.zip", one), ("b.zip", two)):
        (folder / name).write_bytes(written(tree))
    out = io.BytesIO()
    splice(out, [Part(path=folder / "a.zip", label="a"), Part(path=folder / "b.zip", label="b")])
    assert read(out.getvalue()) == one | two
    # The same bytes as compressing the union anew, since both sides were compressed here.
    assert out.getvalue() == written(one | two)


def test_entries_have_fixed_dates_and_modes() -> None:
    data = written({"a": (b"x" * 100, False), "b": (b"y", True)})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = {info.filename: info for info in archive.infolist()}
    assert {info.date_time for info in infos.values()} == {(1980, 1, 1, 0, 0, 0)}
    assert oct(infos["a"].external_attr >> 16) == "0o100644"
    assert oct(infos["b"].external_attr >> 16) == "0o100755"


def test_time_stamps_and_umask_of_the_files_do_not_matter(tmp_path: Path) -> None:
    """zipfile's own writer is the naive way, and differs."""
    results, naive = set(), set()
    for number, (when, mask) in enumerate([(1_000_000_000, 0o022), (1_600_000_000, 0o077)]):
        folder = tmp_path / str(number)
        old = os.umask(mask)
        try:
            folder.mkdir()
            (folder / "f.py").write_text("x = 1\n" * 50)
        finally:
            os.umask(old)
        os.utime(folder / "f.py", (when, when))
        out, plain = io.BytesIO(), io.BytesIO()
        write_zip(out, [Entry(name="f.py", source=folder / "f.py")])
        with zipfile.ZipFile(plain, "w") as archive:
            archive.write(folder / "f.py", "f.py")
        results.add(out.getvalue())
        naive.add(plain.getvalue())
    assert len(results) == 1
    assert len(naive) == 2


def test_unzip_agrees(tmp_path: Path) -> None:
    if shutil.which("unzip") is None:
        pytest.skip("unzip is not here; install unzip")
    (tmp_path / "z.zip").write_bytes(written({f"d{n}/f{n}.txt": (os.urandom(n * 37), n % 2 == 0) for n in range(50)}))
    subprocess.run(["unzip", "-tq", "z.zip"], cwd=tmp_path, check=True, capture_output=True)


def test_more_entries_than_a_classic_zip_can_count(tmp_path: Path) -> None:
    tree = {f"{n:05d}": (b"", False) for n in range(66_000)}
    data = written(tree)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.namelist()) == 66_000


def test_different_content_for_one_path_is_refused_with_both_names(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(written({"pkg/x.py": (b"1", False)}))
    (tmp_path / "b.zip").write_bytes(written({"pkg/x.py": (b"2", False)}))
    parts = [Part(path=tmp_path / "a.zip", label="alpha 1.0"), Part(path=tmp_path / "b.zip", label="beta 2.0")]
    with pytest.raises(ArtifactConflict, match=r"pkg/x\.py is in alpha 1\.0 and in beta 2\.0"):
        splice(io.BytesIO(), parts)


@pytest.mark.parametrize(("one", "two"), [("README", "readme"), ("caf\u00e9", "cafe\u0301")])
def test_names_that_collide_on_other_systems_are_refused(one: str, two: str) -> None:
    with pytest.raises(ArtifactConflict, match="collide"):
        write_zip(io.BytesIO(), entries({one: (b"1", False), two: (b"2", False)}))


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "a//b", "a\\b", "C:/x", "", ".", "a/./b", "a\0b"])
def test_a_name_that_could_leave_its_directory_is_refused(name: str) -> None:
    with pytest.raises(UnsafeSource):
        safe_name(name)


@given(st.text(max_size=20))
def test_a_safe_name_stays_below_its_directory(name: str) -> None:
    try:
        safe = safe_name(name)
    except UnsafeSource:
        return
    assert os.path.normpath(os.path.join("/root", safe)).startswith("/root/")  # noqa: PTH118


def test_unpack_restores_files_and_modes(tmp_path: Path) -> None:
    (tmp_path / "z.zip").write_bytes(written({"bin/run": (b"#!", True), "x/y": (b"1", False)}))
    (tmp_path / "out").mkdir()
    unpack(tmp_path / "z.zip", tmp_path / "out")
    assert (tmp_path / "out/bin/run").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out/x/y").read_bytes() == b"1"


def test_a_splice_can_leave_files_out(tmp_path: Path) -> None:
    tree = {"a/x.py": (b"1", False), "a/__pycache__/x.pyc": (b"2" * 99, False), "b": (b"3", True)}
    (tmp_path / "a.zip").write_bytes(written(tree))
    out = io.BytesIO()
    splice(out, [Part(path=tmp_path / "a.zip", label="a")], wanted=lambda name: not name.endswith(".pyc"))
    assert out.getvalue() == written({name: value for name, value in tree.items() if not name.endswith(".pyc")})


def test_a_splice_takes_only_what_was_written_here(tmp_path: Path) -> None:
    """Its records are copied as they are, so another writer's dates would get into the artifact."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", "1")
    with pytest.raises(zipfile.BadZipFile, match="'a' was not written by this builder"):
        splice(io.BytesIO(), [Part(path=tmp_path / "a.zip", label="alpha")])
    (tmp_path / "b.zip").write_bytes(b"PK" * 50)
    with pytest.raises(zipfile.BadZipFile, match="the end of the zip is missing"):
        splice(io.BytesIO(), [Part(path=tmp_path / "b.zip", label="beta")])


def test_a_splice_of_more_files_than_a_classic_zip_can_count(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.zip").write_bytes(written({f"{number}/{n:05d}": (b"", False) for n in range(66_000)}))
    out = io.BytesIO()
    splice(out, [Part(path=tmp_path / f"{number}.zip", label=str(number)) for number in range(2)])
    with zipfile.ZipFile(out) as archive:
        assert len(archive.namelist()) == 132_000
