"""A wheel becomes a part: placed, pruned, checked."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from builder.errors import ArtifactConflict, UnsafeSource
from builder.python.parts import part_key, read_pruned, store_part
from builder.python.prune import PruneOptions, prune
from tests.wheelhouse import make_wheel


def part(wheel: Path, options: PruneOptions | None = None) -> zipfile.ZipFile:
    out = wheel.with_suffix(".part")
    store_part(wheel, out, options or PruneOptions())
    archive = zipfile.ZipFile(io.BytesIO(out.read_bytes()))
    assert archive.testzip() is None
    return archive


def test_files_go_where_lambda_looks_for_them(tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path,
        "odd",
        files={
            "odd/__init__.py": "x = 1\n",
            "odd-1.0.data/purelib/pure.py": "",
            "odd-1.0.data/platlib/plat.so": b"\x7fELF",
            "odd-1.0.data/data/share/odd.txt": "d",
            "odd-1.0.data/headers/odd.h": "",
            "odd-1.0.data/scripts/odd-tool": "#!python\nprint(1)\n",
            "odd-1.0.data/scripts/native": b"\x7fELFbinary",
        },
    )
    archive = part(wheel)
    assert {name for name in archive.namelist() if "dist-info" not in name} == {
        "python/odd/__init__.py",
        "python/pure.py",
        "python/plat.so",
        "python/share/odd.txt",
        "bin/odd-tool",
        "bin/native",
    }
    assert archive.read("bin/odd-tool") == b"#!/usr/bin/env python3\nprint(1)\n"
    assert archive.getinfo("bin/native").external_attr >> 16 == 0o100755
    assert archive.getinfo("python/odd/__init__.py").external_attr >> 16 == 0o100644


def test_what_is_pruned_is_reported_and_metadata_stays(tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path,
        "fat",
        files={
            "fat/__init__.py": "",
            "fat/fast.pyx": "x" * 1000,
            "fat/__pycache__/__init__.cpython-39.pyc": b"123",
            "fat/__init__.pyi": "kept: lazy loading reads it",
            "fat/mod.py": "",
            "fat/mod.pyi": "y" * 10,
            "fat-1.0.dist-info/entry_points.txt": "[a]\n",
            "fat-1.0.dist-info/licenses/LICENSE": "free",
        },
    )
    archive = part(wheel)
    names = set(archive.namelist())
    assert {name.removeprefix("python/fat-1.0.dist-info/") for name in names if "dist-info" in name} == {
        "METADATA",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
    }
    assert {name for name in names if "dist-info" not in name} == {
        "python/fat/__init__.py",
        "python/fat/__init__.pyi",
        "python/fat/mod.py",
    }
    report = {row["rule"]: (row["files"], row["bytes"]) for row in read_pruned(wheel.with_suffix(".part"))}
    assert report["build-inputs"] == (1, 1000)
    assert report["bytecode-cache"] == (1, 3)
    assert report["type-stubs"] == (1, 10)


def test_rules_can_be_switched_off_and_files_kept(tmp_path: Path) -> None:
    paths = ["a/x.c", "a/y.c", "a/__pycache__/z.pyc"]
    assert set(prune(paths, PruneOptions())) == set(paths)
    assert set(prune(paths, PruneOptions(disable=("build-inputs",)))) == {"a/__pycache__/z.pyc"}
    assert set(prune(paths, PruneOptions(keep=("a/x.*",)))) == {"a/y.c", "a/__pycache__/z.pyc"}
    assert len({part_key("0" * 64, options) for options in (
        PruneOptions(), PruneOptions(disable=("build-inputs",)), PruneOptions(keep=("a",)))}) == 3  # fmt: skip


def test_a_part_is_the_same_whenever_it_is_made(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "same", files={"same.py": "x = 1\n" * 100})
    store_part(wheel, tmp_path / "one", PruneOptions())
    store_part(wheel, tmp_path / "two", PruneOptions())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_file_that_does_not_match_record_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "bad", files={"bad.py": "x"}, broken_record=("bad.py",))
    with pytest.raises(ArtifactConflict, match=r"bad\.py does not match the wheel's own RECORD"):
        part(wheel)
    assert not wheel.with_suffix(".part").exists()


@pytest.mark.parametrize("name", ["../evil.py", "/evil.py", "a\\b.py"])
def test_an_entry_that_climbs_is_refused(tmp_path: Path, name: str) -> None:
    wheel = make_wheel(tmp_path, "evil", files={name: "x"})
    with pytest.raises(UnsafeSource):
        part(wheel)


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "link", files={"link.py": ""})
    with zipfile.ZipFile(wheel, "a") as archive:
        info = zipfile.ZipInfo("etc")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UnsafeSource, match="symbolic link"):
        part(wheel)


def test_a_file_that_is_no_zip_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "no-1.0-py3-none-any.whl").write_bytes(b"not a zip")
    with pytest.raises(ArtifactConflict, match=r"no-1\.0-py3-none-any\.whl is not a readable wheel"):
        part(tmp_path / "no-1.0-py3-none-any.whl")
