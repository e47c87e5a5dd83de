"""What is checked before publishing, and what a second time costs."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from builder.archives.zips import Entry
from builder.errors import ArtifactTooLarge, BootstrapMissing, ImportFailed, NativeMismatch
from builder.making.assembly import Assembly
from builder.making.checks import check, direct_upload_warnings
from builder.making.project import Project
from builder.plan import UNBUILT, Artifact
from builder.progress import Progress
from builder.python.parts import PartReport, write_part
from builder.runtimes import RUNTIMES, Target, architecture_of
from builder.store.directory import DirectoryStore
from builder.workshop.workshop import Workshop
from builder.workspace.directory import Deadline, Workspace
from tests.natives.native import module, shared
from tests.spec.reading import read_build_file

BUILD = (
    "function:\n  runtimes: [provided.al2023]\n  handler: bootstrap\n  files: [bootstrap]\n"
    "layers:\n  dependencies: [requirements.txt]\n  data:\n    files: [data.bin]\n"
)


def artifact(name: str, **values: object) -> Artifact:
    sha256 = name.encode().hex().ljust(64, "0")
    return replace(Artifact(sha256=sha256, size=1000, unzipped=2000, files=1), **values)  # type: ignore[arg-type]


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Workshop(
        workspace=Workspace(tmp_path / "work"),
        scratch=scratch,
        store=DirectoryStore(tmp_path / "store"),
        kept=DirectoryStore(tmp_path / "store"),
        caches=tmp_path / "caches",
        deadline=Deadline.after(60),
        progress=Progress(),
        environment={},
    )


def made(root: Path, artifacts: Mapping[str, Artifact], build: str = BUILD) -> Assembly:
    target = Target(runtime=RUNTIMES["provided.al2023"], architecture=architecture_of(os.uname().machine))
    project = Project(root=root, spec=read_build_file(build, file="build.yaml"), target=target, commit_time=0)
    return Assembly(project=project, plans=(), artifacts=artifacts)


def pack(path: Path, files: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o100755 << 16
            archive.writestr(info, content)
    return path


def pack_part(path: Path, files: Mapping[str, bytes]) -> None:
    write_part(path, [Entry(name=name, source=files[name], executable=True) for name in files], PartReport())


def standard(workshop: Workshop, extension: bytes = b"text") -> dict[str, Artifact]:
    """A function, a layer and dependencies of two parts; the second has `extension` as a file."""
    parts = workshop.workspace.cached("parts")
    pack_part(parts / "one.zip", {"python/one.py": b"1" * 3000})
    pack_part(parts / "two.zip", {"python/two/fast.so": extension, "python/two/more": b"2" * 9000})
    for name in ("function", "data"):
        pack(workshop.scratch / f"{name}.zip", {"bootstrap": b"#!/bin/sh"})
    dependencies = artifact("dependencies", contents=("one 1.0", "two 2.0"), parts=("one.zip", "two.zip"))
    return {"dependencies": dependencies, "data": artifact("data"), "function": artifact("function")}


def test_too_much_unzipped_names_the_largest_packages_first(workshop: Workshop, tmp_path: Path) -> None:
    artifacts = standard(workshop)
    artifacts["dependencies"] = replace(artifacts["dependencies"], unzipped=262_100_000)
    artifacts["data"] = replace(artifacts["data"], unzipped=50_000)
    with pytest.raises(ArtifactTooLarge) as caught:
        check(made(tmp_path, artifacts), workshop, function="shop")
    names = [line.split("MB")[1].strip() for line in caught.value.message.splitlines()[1:]]
    assert names == ["layer data", "two 2.0", "one 1.0", "the function's files"]
    assert caught.value.message.startswith("262.2 MB unzipped, over Lambda's limit of 262.1 MB")
    with pytest.raises(ArtifactTooLarge):
        check(made(tmp_path, artifacts), workshop, function="shop", dry=True)


def test_exactly_the_limit_fits(workshop: Workshop, tmp_path: Path) -> None:
    artifacts = standard(workshop)
    artifacts["dependencies"] = replace(artifacts["dependencies"], unzipped=262_144_000 - 4000)
    assert not check(made(tmp_path, artifacts), workshop, function="shop").tried


def test_a_custom_runtime_has_a_program_to_start(workshop: Workshop, tmp_path: Path) -> None:
    artifacts = standard(workshop)
    pack(workshop.scratch / "function.zip", {"Bootstrap": b"#!/bin/sh"})
    check(made(tmp_path, artifacts), workshop, function="shop")  # the layer has one
    artifacts["data"] = artifact("empty")
    pack(workshop.scratch / "data.zip", {"data.bin": b""})
    with pytest.raises(BootstrapMissing, match="neither among the function's files nor in its layers"):
        check(made(tmp_path, artifacts), workshop, function="shop")
    with zipfile.ZipFile(workshop.scratch / "function.zip", "w") as archive:
        archive.writestr("bootstrap", b"#!/bin/sh")
    with pytest.raises(BootstrapMissing, match="is not executable") as caught:
        check(made(tmp_path, artifacts), workshop, function="shop")
    assert "chmod" in caught.value.hint


def test_an_outcome_is_kept_under_the_artifacts(workshop: Workshop, tmp_path: Path) -> None:
    artifacts = standard(workshop)
    first = check(made(tmp_path, artifacts), workshop, function="shop")
    assert not first.reused
    assert first.why == "only Python and Node handlers are tried, not provided.al2023"
    for path in [*workshop.workspace.cached("parts").iterdir(), *workshop.scratch.iterdir()]:
        path.unlink()
    assert check(made(tmp_path, artifacts), workshop, function="shop").reused, "nothing is read again"
    changed = {**artifacts, "function": artifact("other")}
    pack(workshop.scratch / "function.zip", {"bootstrap": b"#!/bin/bash"})
    assert not check(made(tmp_path, changed), workshop, function="shop").reused
    assert check(made(tmp_path, artifacts), workshop, function="shop").reused
    pack(workshop.scratch / "function.zip", {"bootstrap": b"#!/bin/sh"})
    with_foreign = check(made(tmp_path, artifacts), workshop, function="shop", foreign=["arn:aws:lambda:x:1:layer:y:1"])
    assert not with_foreign.reused


def test_a_native_file_is_judged_by_its_package_and_a_failure_is_not_kept(workshop: Workshop, tmp_path: Path) -> None:
    gone = shared(tmp_path / "libgone.so.1", "int gone;", soname="libgone.so.1")
    built = module(tmp_path / "fast.so", libraries=[gone])
    artifacts = standard(workshop, built.read_bytes())
    for _ in range(2):
        with pytest.raises(NativeMismatch) as caught:
            check(made(tmp_path, artifacts), workshop, function="shop")
    assert "/opt/python/two/fast.so of two 2.0 needs libgone.so.1" in caught.value.message
    allowed = BUILD + "optional_libraries: [libgone.so.1]\n"
    assert check(made(tmp_path, artifacts, allowed), workshop, function="shop").native_files == 1
    assert check(made(tmp_path, {**artifacts, "data": UNBUILT}), workshop, function="shop").native_files == 1
    (warning,) = workshop.progress.warnings
    assert "libgone.so.1" in warning


def test_natives_of_a_part_are_read_once(workshop: Workshop, tmp_path: Path) -> None:
    artifacts = standard(workshop, module(tmp_path / "fast.so").read_bytes())
    assert check(made(tmp_path, artifacts), workshop, function="shop").native_files == 1
    (workshop.workspace.cached("parts") / "two.zip").unlink()
    again = {**artifacts, "dependencies": replace(artifacts["dependencies"], sha256="f" * 64)}
    checked = check(made(tmp_path, again), workshop, function="shop")
    assert (checked.reused, checked.native_files) == (False, 1)


def test_where_a_part_is_damaged_the_artifact_itself_is_read(workshop: Workshop, tmp_path: Path) -> None:
    native = module(tmp_path / "fast.so").read_bytes()
    artifacts = standard(workshop, native)
    pack(workshop.scratch / "dependencies.zip", {"python/two/fast.so": native})
    part = workshop.workspace.cached("parts") / "two.zip"
    content = bytearray(part.read_bytes())
    content[60] ^= 1
    part.write_bytes(content)
    assert check(made(tmp_path, artifacts), workshop, function="shop").native_files == 1
    assert not part.exists()
    artifacts["dependencies"] = replace(artifacts["dependencies"], unzipped=262_200_000)
    with pytest.raises(ArtifactTooLarge, match=r"262\.2 MB  layer dependencies"):
        check(made(tmp_path, artifacts), workshop, function="shop")


def test_zips_too_large_for_a_direct_upload_are_told(tmp_path: Path) -> None:
    sizes = {"function": artifact("f", size=52_428_800), "data": artifact("d", size=52_428_801)}
    (warning,) = direct_upload_warnings(made(tmp_path, sizes).project, sizes)
    assert warning.startswith("layer data: 52.4 MB zipped")


OWN = f"python{sys.version_info.major}.{sys.version_info.minor}"
IMPORTS = b"""
import os
TABLE = os.environ["TABLE"]
assert TABLE != "wrong-table-name", TABLE
def handler(event, context): pass
"""


def with_a_variable(workshop: Workshop, root: Path, code: bytes = IMPORTS, environment: str = "") -> Assembly:
    """A finished function whose module wants the variable TABLE."""
    pack(workshop.scratch / "function.zip", {"app.py": code})
    build = f"function: {{runtimes: [{OWN}], handler: app.handler, files: [app.py]{environment}}}\n"
    target = Target(runtime=RUNTIMES[OWN], architecture=architecture_of(os.uname().machine))
    project = Project(root=root, spec=read_build_file(build, file="build.yaml"), target=target, commit_time=0)
    return Assembly(project=project, plans=(), artifacts={"function": artifact(code.hex()[-20:])})


def test_a_new_function_must_have_the_variables_that_its_import_needs(workshop: Workshop, tmp_path: Path) -> None:
    assembly = with_a_variable(workshop, tmp_path)
    with pytest.raises(ImportFailed) as caught:
        check(assembly, workshop, function="f", variables=None)
    assert "it needs TABLE in the environment, which the build file does not set" in caught.value.message
    assert "`environment`" in caught.value.hint
    assert "try: none" in caught.value.hint
    assert caught.value.log_tail[-1] == "KeyError: 'TABLE'"

    # Where nobody says that it is new, as on a workstation, it may have more.
    checked = check(assembly, workshop, function="f")
    assert "it needs TABLE" in checked.warnings[0]
    # What was found for one that exists does not count for one that is new.
    with pytest.raises(ImportFailed):
        check(assembly, workshop, function="f", variables=None)

    named = with_a_variable(workshop, tmp_path, environment=", environment: {TABLE: orders}")
    assert check(named, workshop, function="f", variables=None).tried


def test_the_variables_of_a_function_are_there_when_its_handler_is_tried(workshop: Workshop, tmp_path: Path) -> None:
    assembly = with_a_variable(workshop, tmp_path)
    assert check(assembly, workshop, function="f", variables={"TABLE": "hidden-table-name", "MORE": "x"}).tried
    assert check(assembly, workshop, function="f", variables={"TABLE": "another", "MORE": "x"}).reused
    assert check(assembly, workshop, function="f", variables={"TABLE": "another"}).reused is False
    kept = "".join(path.read_text() for path in (tmp_path / "store/checks").iterdir())
    assert "hidden-table-name" not in kept

    # The build file's are all there are, if it names any.
    named = with_a_variable(workshop, tmp_path, environment=", environment: {OTHER: x}")
    with pytest.raises(ImportFailed, match=r"it needs TABLE.* and the build file names all variables"):
        check(named, workshop, function="f", variables={"TABLE": "x"})


def test_no_variable_of_a_function_is_told(workshop: Workshop, tmp_path: Path) -> None:
    assembly = with_a_variable(workshop, tmp_path)
    with pytest.raises(ImportFailed) as caught:
        check(assembly, workshop, function="f", variables={"TABLE": "wrong-table-name"})
    assert "AssertionError" in caught.value.message
    assert "wrong-table-name" not in "\n".join([caught.value.message, *caught.value.log_tail])
