"""What tests of locking share: a project directory, an index of our own, and what comes out."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.kinds.sdists import Bench, wheels_of
from builder.network.access import GitCredentials
from builder.progress import Progress
from builder.python.inputs import Inputs, read_inputs
from builder.python.lock import lock_key, resolve
from builder.python.pylock import Selection, select
from builder.python.resolver import Resolver
from builder.runtimes import RUNTIMES, Architecture, Target, architecture_of
from builder.secrets.indexes import NO_LOGINS, Indexes
from builder.store.directory import DirectoryStore
from builder.workshop.workshop import Workshop
from builder.workspace.directory import Deadline, Workspace
from tests.index import Index

# A build backend that needs nothing from any index. It packs every module beside it; METADATA is in its file.
BACKEND = """
import base64, hashlib, os, zipfile
NAME, VERSION, REQUIRES = {name!r}, {version!r}, {requires!r}
INFO = NAME + "-" + VERSION + ".dist-info"
WHEEL = "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
METADATA = "Metadata-Version: 2.1\\nName: " + NAME + "\\nVersion: " + VERSION + "\\n" + "".join(
    "Requires-Dist: " + one + "\\n" for one in REQUIRES)

def prepare_metadata_for_build_wheel(directory, config_settings=None):
    os.mkdir(os.path.join(directory, INFO))
    for name, text in (("METADATA", METADATA), ("WHEEL", WHEEL)):
        with open(os.path.join(directory, INFO, name), "w") as file:
            file.write(text)
    return INFO

prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel

def get_requires_for_build_wheel(config_settings=None):
    return []

get_requires_for_build_editable = get_requires_for_build_wheel

def _hash(data):
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()

def build_wheel(directory, config_settings=None, metadata_directory=None):
    modules = [one for one in sorted(os.listdir(".")) if one.endswith(".py") and one != "backend.py"]
    files = {{one: open(one, "rb").read() for one in modules}}
    if os.path.exists("tell"):  # what a stranger's build would get to see
        files["seen.txt"] = "\\n".join("=".join(item) for item in sorted(os.environ.items())).encode()
    files[INFO + "/METADATA"], files[INFO + "/WHEEL"] = METADATA.encode(), WHEEL.encode()
    rows = [",".join((name, "sha256=" + _hash(data), str(len(data)))) for name, data in files.items()]
    files[INFO + "/RECORD"] = "\\n".join([*rows, INFO + "/RECORD,,", ""]).encode()
    name = NAME + "-" + VERSION + "-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as archive:
        for entry, data in files.items():
            archive.writestr(entry, data)  # with today's date: it is for the builder to take that out
    return name
"""
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def source_files(name: str, version: str = "1.0", requires: tuple[str, ...] = ()) -> dict[str, str]:
    """The files of a pure distribution that builds without an index."""
    return {
        "pyproject.toml": PYPROJECT,
        "backend.py": BACKEND.format(name=name, version=version, requires=requires),
        f"{name}.py": f"NAME = {name!r}\n",
    }


def compiled_source_files(name: str) -> dict[str, str]:
    """The files of a distribution whose build calls the compiler first, as any with an extension module would."""
    files = source_files(name)
    call = "def build_wheel(*given):\n    import subprocess\n"
    call += (
        "    subprocess.run([os.environ['CC'], '-c', 'fast.c'], check=True)\n    return _wheel(*given)\n\ndef _wheel("
    )
    return {**files, "backend.py": files["backend.py"].replace("def build_wheel(", call)}


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def own_architecture() -> Architecture:
    return architecture_of(os.uname().machine)


def own_target() -> Target:
    """What this machine's Python runs."""
    import sys

    runtime = RUNTIMES[f"python3.{sys.version_info.minor}"]
    return Target(runtime=runtime, architecture=own_architecture())


PYTHON_313 = Target(runtime=RUNTIMES["python3.13"], architecture="x86_64")
FOREIGN = Target(runtime=RUNTIMES["python3.13"], architecture="arm64")


@dataclass
class Lab:
    """A project at `root` and the places that a builder has."""

    root: Path
    workspace: Workspace
    store: DirectoryStore
    environment: dict[str, str]
    index: Index | None = None
    indexes: Indexes = NO_LOGINS
    credentials: Sequence[GitCredentials] = ()

    def write(self, files: Mapping[str, str]) -> None:
        write_files(self.root, files)

    def inputs(self, *entries: str) -> Inputs:
        return read_inputs(entries or ("requirements.txt",), self.root)

    def lock(self, *entries: str, target: Target = PYTHON_313) -> str:
        scratch = self.workspace.root / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        by = Resolver(
            root=self.root,
            scratch=scratch,
            environment=self.environment,
            timeout_s=120,
            indexes=self.indexes,
            credentials=lambda: self.credentials,
        )
        return resolve(self.inputs(*entries), target, by)

    def key(self, *entries: str, target: Target = PYTHON_313, index: str = "", resolver: str = "uv 1") -> str:
        return lock_key(self.inputs(*entries), target, index, resolver)

    def select(self, *entries: str, target: Target = PYTHON_313) -> Selection:
        return select(self.lock(*entries, target=target), target)

    def wheels(self, *entries: str, target: Target = PYTHON_313) -> dict[str, Path]:
        """Name → the file of each wheel, built where there was none."""
        from builder.python.wheels import download

        wheels = wheels_of(self.select(*entries, target=target), self.bench(target))
        paths = download(wheels, self.workspace.cached("wheels"), self.indexes)
        return {wheel.name: paths[wheel.sha256] for wheel in wheels}

    def bench(self, target: Target) -> Bench:
        workshop = Workshop(
            workspace=self.workspace,
            scratch=self.workspace.root,
            store=self.store,
            kept=self.store,
            caches=self.workspace.cached("builds"),
            deadline=Deadline.after(300),
            progress=Progress(),
            environment=self.environment,
            indexes=self.indexes,
            credentials=lambda: self.credentials,
        )
        return Bench(target=target, root=self.root, workshop=workshop)


def make_lab(folder: Path, index: Index | None = None) -> Lab:
    """A lab below `folder`; its resolver knows `index` alone, or this machine's usual one."""
    workspace = Workspace(folder / "workspace")
    root = folder / "project"
    root.mkdir(parents=True)
    environment = workspace.child_environment(os.environ, index.simple if index else "", folder / "home")
    return Lab(
        root=root,
        workspace=workspace,
        store=DirectoryStore(folder / "store"),
        environment=environment,
        index=index,
    )


def versions(lock: str) -> dict[str, str | None]:
    """Name → version of a lock's packages."""
    packages: list[dict[str, Any]] = tomllib.loads(lock)["packages"]
    return {package["name"]: package.get("version") for package in packages}
