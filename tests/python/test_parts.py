"""A wheel becomes a part: placed, pruned, checked."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

import pytest

from builder.archives.zips import Entry, write_zip
from builder.errors import ArtifactConflict, UnsafeSource
from builder.python.parts import part_key, read_report, store_parts
from builder.python.prune import PruneOptions
from tests.wheelhouse import make_wheel


def part(wheel: Path, options: PruneOptions | None = None) -> zipfile.ZipFile:
    out = wheel.with_suffix(".part")
    store_parts([(wheel, out)], options or PruneOptions(), bytecode=None)
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
            "fat/lazy/__init__.py": "from lazy import attach_stub\n__getattr__, d, a = attach_stub(__name__, __file__)",
            "fat/lazy/__init__.pyi": "from . import a",
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
        "python/fat/lazy/__init__.py",
        "python/fat/lazy/__init__.pyi",
        "python/fat/mod.py",
    }
    report = {row["rule"]: (row["files"], row["bytes"]) for row in read_report(wheel.with_suffix(".part")).pruned}
    assert report["build-inputs"] == (1, 1000)
    assert report["bytecode-cache"] == (1, 3)
    assert report["type-stubs"] == (1, 10)


def test_everything_that_changes_a_part_is_in_its_key() -> None:
    options = [PruneOptions(), PruneOptions(disable=("build-inputs",)), PruneOptions(keep=("a",))]
    keys = {part_key("0" * 64, each, tag) for each in options for tag in ("", "cpython-313-a70d0d0a")}
    assert len(keys | {part_key("1" * 64, options[0])}) == 7


def test_a_part_is_the_same_whenever_it_is_made(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "same", files={"same.py": "x = 1\n" * 100})
    for name in ("one", "two"):
        store_parts([(wheel, tmp_path / name)], PruneOptions(), bytecode=None)
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


def test_an_unknown_scheme_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "odd", files={"odd-1.0.data/include/odd.txt": ""})
    with pytest.raises(ArtifactConflict, match="wheels have no 'include' files"):
        part(wheel)


def test_commands_are_generated_only_if_asked_for(tmp_path: Path) -> None:
    points = "[console_scripts]\ntool = odd.cli:main\nsub = odd.cli:App.run [extra]\nbroken = nothing\n"
    wheel = make_wheel(tmp_path, "odd", files={"odd/cli.py": "", "odd-1.0.dist-info/entry_points.txt": points})
    assert not [name for name in part(wheel).namelist() if name.startswith("bin/")]
    assert {row["rule"]: row["files"] for row in read_report(wheel.with_suffix(".part")).pruned}["console-scripts"] == 2
    archive = part(wheel, PruneOptions(disable=("console-scripts",)))
    assert {name for name in archive.namelist() if name.startswith("bin/")} == {"bin/tool", "bin/sub"}
    assert b"from odd.cli import App\n" in archive.read("bin/sub")
    assert b"sys.exit(App.run())" in archive.read("bin/sub")
    assert archive.getinfo("bin/tool").external_attr >> 16 == 0o100755


def test_a_pth_file_is_named_since_lambda_does_not_read_it(tmp_path: Path) -> None:
    files = {"hook.pth": "import hook", "old-nspkg.pth": "import sys", "hook.py": ""}
    wheel = make_wheel(tmp_path, "hook", files=files)
    part(wheel)
    (note,) = read_report(wheel.with_suffix(".part")).notes
    assert note.startswith("hook 1.0: Python does not read hook.pth in a Lambda layer")


def test_of_thousands_of_notes_a_part_keeps_what_fits(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {f"m{number}.pth": "import x\n" for number in range(1_500)}
    wheel = make_wheel(tmp_path, "pkg", files={**files, **{f"{'x' * 200}{number}.py": "" for number in range(400)}})
    store_parts([(wheel, tmp_path / "part.zip")], PruneOptions(), bytecode=None)
    report = read_report(tmp_path / "part.zip")
    assert 50 < len(report.notes) < 1_500
    assert len(report.modules) > 50


def test_stored_entries_and_odd_methods_are_compressed_for_lambda(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "big", files={"big.py": ""})
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("big.bin", bytes(range(256)) * 20_000, compress_type=zipfile.ZIP_STORED)
        archive.writestr("lzma.bin", bytes(1000), compress_type=zipfile.ZIP_LZMA)
    infos = {info.filename: info for info in part(wheel).infolist()}
    assert infos["python/big.bin"].compress_size < 100_000
    assert infos["python/lzma.bin"].compress_type == zipfile.ZIP_DEFLATED


def bomb(tmp_path: Path, *, content: int) -> Path:
    wheel = tmp_path / "bomb-1.0-py3-none-any.whl"
    record = Entry(name="bomb-1.0.dist-info/RECORD", source=b"")
    with wheel.open("wb") as file:
        write_zip(file, [Entry(name="bomb.bin", source=bytes(content)), record])
    return wheel


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with pytest.raises(UnsafeSource, match="MiB unzipped from"):
        part(bomb(tmp_path, content=80 << 20))


def test_a_little_air_is_no_bomb(tmp_path: Path) -> None:
    assert part(bomb(tmp_path, content=2 << 20)).getinfo("python/bomb.bin").file_size == 2 << 20


def test_entries_that_claim_the_same_bytes_are_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "lap", files={f"f{n}.bin": b"x" for n in range(3)})
    data = bytearray(wheel.read_bytes())
    at = 0
    while (at := data.find(b"PK\x01\x02", at)) >= 0:
        data[at + 20 : at + 24] = (len(data) // 2).to_bytes(4, "little")
        at += 4
    wheel.write_bytes(data)
    with pytest.raises(UnsafeSource, match="which no wheel needs"):
        part(wheel)


def test_an_encrypted_entry_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "secret", files={"secret.py": "x"})
    data = bytearray(wheel.read_bytes())
    data[data.find(b"PK\x01\x02") + 8] |= 1
    wheel.write_bytes(data)
    with pytest.raises(UnsafeSource, match="is encrypted"):
        part(wheel)


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "many-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for number in range(100_001):
            archive.writestr(f"{number}", b"")
    with pytest.raises(UnsafeSource, match="more than 100,000 files"):
        part(wheel)


def test_a_path_twice_in_one_wheel_is_refused(tmp_path: Path) -> None:
    files = {"twice.py": "1", "twice-1.0.data/purelib/twice.py": "2"}
    with pytest.raises(ArtifactConflict, match="collide"):
        part(make_wheel(tmp_path, "twice", files=files))


def test_a_file_that_goes_on_after_its_end_is_refused(tmp_path: Path) -> None:
    """Its compressed bytes would be copied whole, and unpack to more than was looked at."""
    wheel = make_wheel(tmp_path, "liar", files={"liar.bin": b"a" * 1000 + b"b" * 1_000_000})
    data = bytearray(wheel.read_bytes())
    with zipfile.ZipFile(wheel) as archive:
        info = archive.getinfo("liar.bin")
    record = data.find(b"PK\x01\x02")
    for header, crc, size in ((record, 16, 24), (info.header_offset, 14, 22)):
        data[header + size : header + size + 4] = (1000).to_bytes(4, "little")
        data[header + crc : header + crc + 4] = zlib.crc32(b"a" * 1000).to_bytes(4, "little")
    assert data[record + 46 : record + 46 + len(info.filename)] == b"liar.bin"
    wheel.write_bytes(data)
    with pytest.raises(ArtifactConflict, match="is not as long as it says"):
        part(wheel)
