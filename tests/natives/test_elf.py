"""What is read out of native files, and what is made of it, with real files."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.errors import NativeMismatch
from builder.natives.elf import Native, read_natives
from builder.natives.judging import Baseline, Finding, Placed, judge, refuse
from builder.runtimes import RUNTIMES, Target
from builder.store.values import Fields
from tests.natives.native import module, shared

AL2023 = Target(runtime=RUNTIMES["python3.13"], architecture="x86_64")
AL2 = Target(runtime=RUNTIMES["python3.11"], architecture="x86_64")
ARM = Target(runtime=RUNTIMES["python3.13"], architecture="arm64")


def pack(path: Path, files: Mapping[str, Path | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content if isinstance(content, bytes) else content.read_bytes())
    return path


def native(path: str, **values: Any) -> Native:
    defaults = {"machine": "x86_64", "versions": {}, "is_module": path.endswith(".cpython.so")}
    return Native(**{**defaults, **values}, path=path)


def placed(*files: Native, root: str = "/opt", owner: str = "thing 1.0") -> list[Placed]:
    return [Placed(native=file, root=root, owner=owner) for file in files]


def found(files: Sequence[Placed], target: Target = AL2023, **values: Any) -> list[tuple[str, bool]]:
    return [(finding.message, finding.fatal) for finding in judge(files, target, **{"complete": True, **values})]


def test_a_compiled_file_is_described(tmp_path: Path) -> None:
    inner = shared(tmp_path / "libinner.so.2", "int inner(void) { return 1; }", soname="libinner.so.2")
    plain = module(tmp_path / "fast.so", libraries=[inner], runpath="$ORIGIN/../thing.libs:/usr/odd", flags=["-lc"])
    archive = pack(
        tmp_path / "a.zip",
        {
            "python/thing/fast.so": plain,
            "python/thing.libs/libinner.so.2": inner,
            "python/thing/data.bin": b"\x7fELF and then nothing of the kind",
            "python/thing/text": b"plain",
            "python/thing/empty": b"",
            "python/thing/__init__.py": b"\x7fELF",
        },
    )
    library, extension = read_natives(archive)
    assert library.path == "python/thing.libs/libinner.so.2"
    assert (library.soname, library.is_module) == ("libinner.so.2", False)
    assert extension.path == "python/thing/fast.so"
    assert extension.is_module
    assert not extension.is_program
    assert extension.needed[0] == "libinner.so.2"
    assert any(name.startswith("libc.") for name in extension.needed)
    assert extension.search == ("python/thing.libs", "/usr/odd")
    assert extension.machine in ("x86_64", "aarch64")
    assert [Native.parse(Fields(json.loads(json.dumps(item.as_json())))) for item in (library, extension)] == [
        library,
        extension,
    ]


def test_versions_of_the_c_library_are_read(tmp_path: Path) -> None:
    source = '#include <stdio.h>\nint said(void) { return puts("x"); }'
    path = shared(tmp_path / "libsaid.so", source, flags=["-lc"])
    (described,) = read_natives(pack(tmp_path / "a.zip", {"lib/libsaid.so": path}))
    assert any(version.startswith("GLIBC_2.") for version in described.versions["libc.so.6"])


def test_what_the_runtime_and_the_artifacts_have_is_no_problem() -> None:
    files = placed(
        native(
            "python/thing/a.cpython.so",
            needed=("libb-1234.so.1", "libc.so.6", "libstdc++.so.6", "libpython3.13.so.1.0"),
            search=("python/thing.libs",),
            versions={"libc.so.6": ("GLIBC_2.34",), "libstdc++.so.6": ("GLIBCXX_3.4.29", "CXXABI_1.3.13")},
        ),
        native("python/thing.libs/libb-1234.so.1", needed=("libc.so.6",)),
    )
    assert found(files) == []


@pytest.mark.parametrize(
    ("root", "path"),
    [("/opt", "lib/libx.so.1"), ("/var/task", "lib/libx.so.1"), ("/var/task", "libx.so.1")],
    ids=lambda value: str(value),
)
def test_library_path_of_lambda_is_honoured(root: str, path: str) -> None:
    files = [
        *placed(native("python/a.cpython.so", needed=("libx.so.1",))),
        *placed(native(path), root=root, owner="layer libs"),
    ]
    assert found(files) == []


def test_a_missing_library_names_file_package_library_and_fix() -> None:
    files = placed(native("python/cv2/cv2.cpython.so", needed=("libGL.so.1",)), owner="opencv-python 5.0.0")
    findings = judge(files, AL2023, complete=True)
    with pytest.raises(NativeMismatch) as caught:
        refuse(findings)
    for word in ("/opt/python/cv2/cv2.cpython.so", "opencv-python 5.0.0", "libGL.so.1", "python3.13 on x86_64"):
        assert word in caught.value.message
    assert "opencv-python-headless" in caught.value.hint
    assert "optional_libraries: [libGL.so.1]" in caught.value.hint
    assert found(files, optional=("libGL.so.1",)) == []


def test_what_a_module_needs_through_another_library_is_fatal_too() -> None:
    files = placed(
        native("python/t/a.cpython.so", needed=("libb.so",), search=("python/t.libs",)),
        native("python/t.libs/libb.so", needed=("libgone.so.3",)),
        native("python/t.libs/libunused.so", needed=("libgone.so.4",)),
    )
    messages = found(files)
    assert [(message.split(" needs ")[1].split(",")[0], fatal) for message, fatal in messages] == [
        ("libgone.so.3", True),
        ("libgone.so.4", False),
    ]


@pytest.mark.parametrize(
    "path",
    ["python/numba/np/ufunc/tbbpool.cpython-313-x86_64-linux-gnu.so", "python/thing/tests/probe.cpython.so"],
)
def test_modules_that_their_package_can_do_without_are_warnings(path: str) -> None:
    ((_, fatal),) = found(placed(native(path, needed=("libtbb.so.12",), is_module=True)))
    assert not fatal


def test_where_layers_are_not_known_a_missing_library_is_a_warning() -> None:
    ((_, fatal),) = found(placed(native("python/a.cpython.so", needed=("libx.so.1",))), complete=False)
    assert not fatal


@pytest.mark.parametrize(
    ("library", "version", "fatal_on_al2", "fatal_on_al2023"),
    [
        ("libc.so.6", "GLIBC_2.26", False, False),
        ("libc.so.6", "GLIBC_2.28", True, False),
        ("libc.so.6", "GLIBC_2.38", True, True),
        ("libm.so.6", "GLIBC_2.4", False, False),
        ("libc.so.6", "GLIBC_ABI_DT_RELR", True, True),
        ("libc.so.6", "GLIBC_PRIVATE", False, False),
        ("libstdc++.so.6", "GLIBCXX_3.4.26", True, False),
        ("libstdc++.so.6", "GLIBCXX_3.4.30", True, True),
        ("libgcc_s.so.1", "GCC_7.0.0", False, False),
        ("libm.so.6", "SOMETHING_1.0", False, False),
    ],
)
def test_versions_against_the_ceilings(library: str, version: str, fatal_on_al2: bool, fatal_on_al2023: bool) -> None:
    files = placed(native("python/a.cpython.so", needed=(library,), versions={library: (version,)}))
    for target, expected in ((AL2, fatal_on_al2), (AL2023, fatal_on_al2023)):
        messages = found(files, target)
        assert [fatal for _, fatal in messages] == ([True] if expected else [])
        assert all(version in message and library in message for message, _ in messages)


def test_the_wrong_machine() -> None:
    ((message, fatal),) = found(placed(native("python/a.cpython.so", needed=("libnothing.so",))), ARM)
    assert fatal
    assert "is for x86_64, the function runs on aarch64" in message


def test_musl_says_musl() -> None:
    (finding,) = judge(placed(native("a.cpython.so", needed=("libc.musl-x86_64.so.1",))), AL2023, complete=True)
    assert "musl" in finding.fix


@pytest.mark.parametrize(
    ("interpreter", "fatal"),
    [
        ("/lib64/ld-linux-x86-64.so.2", None),
        ("", None),
        ("/nix/store/abc-glibc-2.40/lib/ld-linux-x86-64.so.2", True),
        ("/lib/ld-musl-x86_64.so.1", True),
        ("/opt/lib/ld.so", None),
    ],
)
def test_a_program_is_started_by_what_the_runtime_has(interpreter: str, fatal: bool | None) -> None:
    program = native("bootstrap", is_program=True, interpreter=interpreter)
    findings = found([*placed(program, root="/var/task"), *placed(native("lib/ld.so"))])
    assert [each for _, each in findings] == ([] if fatal is None else [fatal])
    assert all(f"is started by {interpreter}, which" in message for message, _ in findings)


def test_a_library_of_another_package_off_the_search_path_is_a_warning() -> None:
    files = [
        *placed(native("python/a.cpython.so", needed=("libb.so",))),
        *placed(native("python/b/libb.so"), owner="b 1"),
    ]
    ((message, fatal),) = found(files)
    assert not fatal
    assert "only if b 1 has loaded it" in message


def test_many_problems_are_shortened_and_all_listed() -> None:
    findings = [Finding(owner="x", message=f"m{number}", fix="f", fatal=True) for number in range(40)]
    with pytest.raises(NativeMismatch) as caught:
        refuse(findings)
    assert len(caught.value.problems) == 40
    assert caught.value.message.endswith("… and 28 more")


@pytest.mark.parametrize("runtime", ["python3.11", "python3.13", "provided.al2", "provided.al2023", "nodejs22.x"])
@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_every_runtime_has_a_baseline(runtime: str, architecture: Any) -> None:
    baseline = Baseline.of(Target(runtime=RUNTIMES[runtime], architecture=architecture))
    assert baseline.libraries["libc.so.6"]
    assert baseline.versions["GLIBC"] == RUNTIMES[runtime].glibc
    assert not baseline.libraries.get("libGL.so.1")
    assert ("libpython3.13.so.1.0" in baseline.libraries) is (runtime == "python3.13")
