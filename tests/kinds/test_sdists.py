"""Sdists, git and local directories become wheels: once, without credentials, the same bytes every time."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from builder.errors import CommandFailed, NoWheelForTarget, ResolutionFailed, UnsafeSource
from builder.kinds.sdists import wheels_of
from builder.python.pylock import LockedSource, Selection, select
from builder.python.uv import version_without_history
from localaws.testing import git_server
from tests.index import Index, serving
from tests.python.locking import (
    FOREIGN,
    PYTHON_313,
    Lab,
    compiled_source_files,
    make_lab,
    own_target,
    source_files,
    write_files,
)
from tests.wheelhouse import make_sdist, make_wheel

C_SOURCE = """
#include <Python.h>
#include <assert.h>
static PyObject *answer(PyObject *self, PyObject *none) { assert(self); return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "fast", "", -1, methods};
PyMODINIT_FUNC PyInit_fast(void) { return PyModule_Create(&module); }
"""
C_FILES = {
    "pyproject.toml": '[build-system]\nrequires=["setuptools"]\nbuild-backend="setuptools.build_meta"\n'
    '[project]\nname="fast"\nversion="1.0"\n',
    "setup.py": "from setuptools import Extension, setup\nsetup(ext_modules=[Extension('fast', ['fast.c'])])\n",
    "fast.c": C_SOURCE,
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    root = tmp_path_factory.mktemp("index")
    make_wheel(root, "seed", "1.5", files={"seed.py": ""})
    make_sdist(root, "plain", "3.0", files={**source_files("plain", "3.0", requires=("seed",)), "tell": ""})
    make_sdist(root, "broken", "1.0", files={**source_files("broken"), "backend.py": "raise SystemExit('no luck')\n"})
    with serving(root) as running:
        yield running


@pytest.fixture
def lab(tmp_path: Path, index: Index) -> Lab:
    return make_lab(tmp_path, index)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_sdist_becomes_a_wheel_once(lab: Lab, index: Index) -> None:
    lab.write({"requirements.txt": "plain\n"})
    selection, bench = lab.select(), lab.bench(PYTHON_313)
    first = wheels_of(selection, bench)
    assert [wheel.filename for wheel in first] == ["plain-3.0-py3-none-any.whl", "seed-1.5-py3-none-any.whl"]
    shutil.rmtree(lab.workspace.cache / "wheels")
    before = index.requests.total()
    assert wheels_of(selection, bench) == first
    assert sha256(lab.workspace.cache / "wheels" / first[0].sha256 / first[0].filename) == first[0].sha256
    assert index.requests.total() == before, "it came from the store"


def test_the_same_bytes_from_another_place_umask_and_day(tmp_path: Path, index: Index) -> None:
    hashes = []
    for number, umask in enumerate((0o022, 0o077)):
        lab = make_lab(tmp_path / str(number), index)
        lab.write({"requirements.txt": "plain\n-e ./pkg\n"})
        lab.write({f"pkg/{name}": text for name, text in source_files("pkg").items()})
        before = os.umask(umask)
        try:
            # without what a build may put in: the environment is part of `plain` here, and names the workspace
            hashes.append({name: sha256(path) for name, path in lab.wheels().items() if name != "plain"})
        finally:
            os.umask(before)
    assert hashes[0] == hashes[1]
    assert set(hashes[0]) == {"pkg", "seed"}


def test_whatever_tool_wrote_a_wheel_its_zip_is_ours(lab: Lab) -> None:
    """Order, dates, modes and owners of what a build backend wrote do not reach the layer."""
    files = source_files("pkg")
    tidy = "        for entry, data in files.items():\n            archive.writestr(entry, data)"
    odd = (
        "        import random\n"
        "        for entry in sorted(files, key=lambda entry: random.random()):\n"
        "            info = zipfile.ZipInfo(entry, (random.randrange(1990, 2030), 5, 6, 7, 8, 10))\n"
        "            mode = 0o100750 if entry.endswith('pkg.py') else random.choice((0o100600, 0o100664))\n"
        "            info.external_attr, info.comment = mode << 16, random.randbytes(9)\n"
        "            archive.writestr(info, files[entry])"
    )
    assert files["backend.py"].count(tidy) == 1
    lab.write({"requirements.txt": "-e ./pkg\n", "pkg/extra.py": ""})
    lab.write({f"pkg/{name}": text.replace(tidy, odd) for name, text in files.items()})
    with zipfile.ZipFile(lab.wheels()["pkg"]) as wheel:
        infos = wheel.infolist()
    names = [info.filename for info in infos]
    assert {"pkg.py", "extra.py"} < set(names)
    assert names == sorted(names)
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert [info.filename for info in infos if info.external_attr >> 16 == 0o100755] == ["pkg.py"]
    assert {info.external_attr >> 16 for info in infos} == {0o100644, 0o100755}
    assert {info.comment for info in infos} == {b""}


def test_a_build_sees_no_credentials_and_a_fixed_time(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    monkeypatch.setenv("LAMBDASMITH_GIT_SECRET", "arn:x")
    lab.write({"requirements.txt": "plain\n"})
    with zipfile.ZipFile(lab.wheels()["plain"]) as wheel:
        seen = dict(line.partition("=")[::2] for line in wheel.read("seen.txt").decode().splitlines())
        assert {info.date_time for info in wheel.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    # Whose certificates count is no credential.
    assert not [name for name in seen if name.startswith(("AWS_", "LAMBDASMITH_")) and name != "AWS_CA_BUNDLE"]
    assert seen["SOURCE_DATE_EPOCH"] == "315532800"
    assert seen["HOME"] == str(lab.workspace.root / "build" / "home")
    assert not (lab.workspace.root / "build").exists()


def test_pure_sources_are_built_for_a_foreign_target_too(lab: Lab) -> None:
    lab.write({"requirements.txt": "plain\n-e ./pkg\n"})
    lab.write({f"pkg/{name}": text for name, text in source_files("pkg").items()})
    assert set(lab.wheels(target=FOREIGN)) == {"pkg", "plain", "seed"}


def test_what_must_be_compiled_for_another_machine_says_so_and_the_way_out(tmp_path: Path, index: Index) -> None:
    lab = make_lab(tmp_path, index)
    lab.write({"requirements.txt": "./fast\n"})
    lab.write({f"fast/{name}": text for name, text in compiled_source_files("fast").items()})
    with pytest.raises(NoWheelForTarget, match="must be compiled") as caught:
        lab.wheels(target=FOREIGN)
    assert "python3.13-arm64" in caught.value.message
    assert "builder of runtime python3.13 and architecture arm64" in caught.value.hint


def test_a_build_that_fails_shows_its_words(lab: Lab) -> None:
    lab.write({"requirements.txt": "./pkg\n"})
    files = source_files("pkg")
    files["backend.py"] += "\ndef build_wheel(*given):\n    raise SystemExit('no luck today')\n"
    lab.write({f"pkg/{name}": text for name, text in files.items()})
    with pytest.raises(CommandFailed, match=r"pkg has no wheel for python3\.13-x86_64, and building one") as caught:
        lab.wheels()
    assert "no luck today" in " ".join(caught.value.log_tail)


def test_an_sdist_that_is_not_the_locked_one_is_refused(lab: Lab, index: Index) -> None:
    lab.write({"requirements.txt": "plain\n"})
    selection = lab.select()
    index.lies["plain-3.0.tar.gz"] = b"something else"
    try:
        with pytest.raises(ResolutionFailed, match="the lock says"):
            wheels_of(selection, lab.bench(PYTHON_313))
    finally:
        del index.lies["plain-3.0.tar.gz"]


def test_a_directory_that_changed_since_the_lock_is_refused(lab: Lab) -> None:
    lab.write({"requirements.txt": "-e .\n", **source_files("app")})
    lock = lab.lock()
    lab.write({"app.py": "changed = 1\n"})
    with pytest.raises(ResolutionFailed, match="not as it was"):
        wheels_of(select(lock, PYTHON_313), lab.bench(PYTHON_313))


def test_wheels_and_sdists_in_the_project(lab: Lab) -> None:
    vendor = lab.root / "vendor"
    vendor.mkdir()
    make_wheel(vendor, "mine", "1.0", files={"mine.py": ""}, requires=("seed",))
    make_sdist(vendor, "ours", "2.0", files=source_files("ours", "2.0"))
    lab.write({"requirements.txt": "./vendor/mine-1.0-py3-none-any.whl\nours @ ./vendor/ours-2.0.tar.gz\n"})
    assert {name: path.name for name, path in lab.wheels().items()} == {
        "mine": "mine-1.0-py3-none-any.whl",
        "ours": "ours-2.0-py3-none-any.whl",
        "seed": "seed-1.5-py3-none-any.whl",
    }


def test_archives_that_climb_are_refused(lab: Lab, tmp_path: Path) -> None:
    path = lab.root / "evil-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("evil-1.0/../../../outside")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    source = LockedSource(
        name="evil", version="1.0", kind="sdist", identity=sha256(path), path=path.name, filename=path.name
    )
    with pytest.raises(UnsafeSource):
        wheels_of(Selection(wheels=(), sources=(source,)), lab.bench(PYTHON_313))
    assert not list(tmp_path.rglob("outside"))


def sdist_in_the_project(lab: Lab, name: str, content: bytes) -> dict[str, Path]:
    """The wheels of a project that has an sdist beside its requirements."""
    (lab.root / name).write_bytes(content)
    lab.write({"requirements.txt": f"./{name}\n"})
    return lab.wheels(target=own_target())


def zipped(files: Mapping[str, str], *, directories: bool) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in {f"{name.rpartition('/')[0]}/" for name in files} if directories else ():
            archive.writestr(folder, "")
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize("directories", [True, False])
def test_a_zip_as_every_forge_makes_it_is_a_source(lab: Lab, directories: bool) -> None:
    files = {f"kiwi-1.0/{name}": content for name, content in source_files("kiwi").items()}
    files["kiwi-1.0/docs/index.md"] = "# kiwi"
    wheels = sdist_in_the_project(lab, "kiwi-1.0.zip", zipped(files, directories=directories))
    with zipfile.ZipFile(wheels["kiwi"]) as wheel:
        assert "kiwi.py" in wheel.namelist()


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_a_source_that_unpacks_to_much_more_than_it_is_worth_is_refused(lab: Lab, form: str) -> None:
    """400 MB came out of 0.4 MB."""
    files = {f"big-1.0/{name}": content for name, content in source_files("big").items()}
    content = zipped({**files, "big-1.0/zeros": "\0" * (400 << 20)}, directories=True)
    if form == "tar.gz":
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as archive:
            for name, text in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
            member = tarfile.TarInfo("big-1.0/zeros")
            member.size = 400 << 20
            archive.addfile(member, io.BytesIO(bytes(400 << 20)))
        content = out.getvalue()
    assert len(content) < 1_000_000
    path = lab.root / f"big-1.0.{form}"
    path.write_bytes(content)
    source = LockedSource(
        name="big", version="1.0", kind="sdist", identity=sha256(path), path=path.name, filename=path.name
    )
    with pytest.raises(UnsafeSource, match=rf"big-1\.0\.{form}: it unpacks to more than 100 times its size"):
        wheels_of(Selection(wheels=(), sources=(source,)), lab.bench(PYTHON_313))
    left = sum(found.stat().st_size for found in lab.workspace.root.rglob("*") if found.is_file())
    assert left < 70 << 20


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../outside", "x/../../../y"])
def test_a_source_with_a_link_that_leaves_is_refused(lab: Lab, target: str) -> None:
    path = lab.root / "evil-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("evil-1.0/link")
        member.type, member.linkname = tarfile.SYMTYPE, target
        archive.addfile(member)
    source = LockedSource(
        name="evil", version="1.0", kind="sdist", identity=sha256(path), path=path.name, filename=path.name
    )
    with pytest.raises(UnsafeSource, match="leaves the archive"):
        wheels_of(Selection(wheels=(), sources=(source,)), lab.bench(PYTHON_313))


def test_a_wheel_that_a_build_makes_to_deceive_is_refused(lab: Lab) -> None:
    files = source_files("liar")
    files["backend.py"] += """
_honest = build_wheel
def build_wheel(directory, *given):
    name = _honest(directory, *given)
    path = os.path.join(directory, name)
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(content.replace(b"liar.py", b"liar.PY", 1))
    return name
"""
    lab.write({f"liar/{name}": content for name, content in files.items()} | {"requirements.txt": "./liar\n"})
    with pytest.raises(UnsafeSource, match="is not the same wheel to every reader"):
        lab.wheels(target=own_target())


# --- git --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    if shutil.which("git") is None:
        pytest.skip("git is not here; install git")
    root = tmp_path_factory.mktemp("served")
    with git_server(root) as server:
        yield server.url, root


def commit(root: Path, work: Path, name: str, files: dict[str, str]) -> str:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}

    def git(*arguments: str, cwd: Path) -> str:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", *arguments]
        done = subprocess.run(command, cwd=cwd, env=environment, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    bare = root / f"{name}.git"
    if not bare.exists():
        git("init", "-q", "--bare", "-b", "main", str(bare), cwd=root)
        git("clone", "-q", str(bare), str(work), cwd=root)
    git("checkout", "-q", "-B", "main", cwd=work)
    write_files(work, files)
    git("add", "-A", cwd=work)
    git("commit", "-q", "-m", "change", cwd=work)
    git("push", "-q", "origin", "main", cwd=work)
    return git("rev-parse", "HEAD", cwd=work)


def test_a_git_dependency_is_locked_to_its_commit_and_built(
    lab: Lab, forge: tuple[str, Path], tmp_path: Path, index: Index
) -> None:
    url, root = forge
    files = {f"libs/tool/{name}": text for name, text in source_files("tool", requires=("seed",)).items()}
    files["libs/tool/tell"] = ""
    first = commit(root, tmp_path / "work", "tools", files)
    lab.write({"requirements.txt": f"tool @ git+{url}/tools.git@main#subdirectory=libs/tool\n"})
    lock = lab.lock()
    (source,) = select(lock, PYTHON_313).sources
    assert (source.kind, source.identity, source.subdirectory) == ("vcs", first, "libs/tool")
    assert [wheel.name for wheel in select(lock, PYTHON_313).wheels] == ["seed"]
    second = commit(root, tmp_path / "work", "tools", {"libs/tool/tool.py": "NEW = 1\n"})
    (wheel,) = [one for one in wheels_of(select(lock, PYTHON_313), lab.bench(PYTHON_313)) if one.name == "tool"]
    with zipfile.ZipFile(lab.workspace.cached("wheels") / wheel.sha256 / wheel.filename) as archive:
        assert b"NEW" not in archive.read("tool.py"), "the lock's commit, not the branch's newest"
        seen = archive.read("seen.txt").decode()
    assert f"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_TOOL=0+g{first[:12]}" in seen
    assert version_without_history("a-b", "v1.2.3", first) == {"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_A_B": "1.2.3"}
    assert second in lab.lock(), "resolving anew moves on"
    assert "requirements.txt" in lab.inputs().contents


# --- a compiler -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_c_extension_is_compiled_for_the_runtimes_c_library(tmp_path: Path) -> None:
    """With Zig from the usual index; two builds in two places give the same bytes."""
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file():
        pytest.skip("this Python has no headers; install python3-dev")
    from elftools.elf.elffile import ELFFile
    from elftools.elf.gnuversions import GNUVerNeedSection

    target = own_target()
    wheels = []
    for number in range(2):
        lab = make_lab(tmp_path / str(number))
        if number:  # the compiler itself need not come twice
            shutil.copytree(tmp_path / "0" / "workspace" / "cache" / "tools", lab.workspace.cache / "tools")
        (lab.root / "vendor").mkdir()
        make_sdist(lab.root / "vendor", "fast", files=C_FILES)
        lab.write({"requirements.txt": "fast @ ./vendor/fast-1.0.tar.gz\n"})
        try:
            wheels.append(lab.wheels(target=target)["fast"])
        except ResolutionFailed as error:
            pytest.skip(f"the index has no compiler or build backend: {error}")
    assert sha256(wheels[0]) == sha256(wheels[1])
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(wheels[0]) as archive:
        archive.extractall(unpacked)
    (library,) = unpacked.glob("*.so")
    with library.open("rb") as file:
        elf = ELFFile(file)
        needed = [
            tuple(map(int, version.name.removeprefix("GLIBC_").split(".")))
            for section in elf.iter_sections()
            if isinstance(section, GNUVerNeedSection)
            for _, versions in section.iter_versions()
            for version in versions
            if version.name.startswith("GLIBC_")
        ]
    assert all(version <= target.runtime.glibc for version in needed), needed
    assert str(tmp_path).encode() not in library.read_bytes()
    code = "import fast; print(fast.answer())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(unpacked)}, capture_output=True, text=True
    )
    assert done.stdout == "42\n", done.stderr
