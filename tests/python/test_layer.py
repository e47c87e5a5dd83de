"""Locked wheels become one layer: what goes in, what is left out, and what the user is told of it."""

from __future__ import annotations

import hashlib
import shutil
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from builder.errors import InvalidBuildFile
from builder.plan import Artifact
from builder.python import layer
from builder.python.layer import LayerOptions, build_layer, dependencies_key
from builder.python.prune import PruneOptions
from builder.python.pylock import LockedWheel
from builder.runtimes import RUNTIMES, Target
from builder.store.directory import DirectoryStore
from builder.workspace.directory import Workspace
from tests.spec.reading import read_build_file
from tests.wheelhouse import make_wheel

OWN = f"python3.{sys.version_info.minor}"


def options(runtime: str = OWN, *, bytecode: bool = True, asked: tuple[str, ...] | None = None) -> LayerOptions:
    target = Target(runtime=RUNTIMES[runtime], architecture="x86_64")
    return LayerOptions(target=target, prune=PruneOptions(), bytecode=bytecode, asked=asked)


class Shop:
    """A store and a workspace whose wheels have been downloaded already."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.workspace = Workspace(root / "workspace")
        self.store = DirectoryStore(root / "store")

    def wheel(self, name: str, files: Mapping[str, str], requires: Sequence[str] = ()) -> LockedWheel:
        made = make_wheel(self.root, name.replace("-", "_"), files=dict(files), requires=tuple(requires))
        sha256 = hashlib.sha256(made.read_bytes()).hexdigest()
        folder = self.workspace.cached("wheels") / sha256
        folder.mkdir()
        shutil.move(made, folder / made.name)
        return LockedWheel(name=name, version="1.0", filename=made.name, url="http://127.0.0.1:9/x", sha256=sha256)

    def build(self, wheels: Sequence[LockedWheel], chosen: LayerOptions) -> tuple[Artifact, set[str]]:
        out = self.root / "layer.zip"
        artifact = build_layer(wheels, out, options=chosen, workspace=self.workspace, store=self.store)
        with zipfile.ZipFile(out) as archive:
            return artifact, set(archive.namelist())


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_bytecode_can_be_switched_off_and_has_its_own_key(shop: Shop) -> None:
    wheel = shop.wheel("one", {"one.py": "x = 1\n"})
    _, names = shop.build([wheel], options())
    _, bare = shop.build([wheel], options(bytecode=False))
    assert {name for name in names - bare if name.endswith(".pyc")} == names - bare != set()
    assert dependencies_key("lock", options()) != dependencies_key("lock", options(bytecode=False))


def test_a_part_that_somebody_wrote_to_is_never_shipped(shop: Shop) -> None:
    """What a project runs may write to the builder's caches: it is the same user."""
    shop.workspace = Workspace(shop.workspace.root, sealed=True)
    wheel = shop.wheel("one", {"one.py": "x = 1\n"})
    first, _ = shop.build([wheel], options())
    (part,) = (shop.workspace.cached("parts")).glob("*.zip")
    good = part.read_bytes()
    part.unlink()  # the store of this test has the same file
    shutil.copyfile(make_wheel(shop.root, "evil", files={"one.py": "x = 'evil'\n"}), part)
    second, _ = shop.build([wheel], options())
    assert second == first
    assert part.read_bytes() == good
    part.unlink()
    part.write_bytes(good)
    assert shop.workspace.intact(part), "the same content is the same part"


def test_parts_come_from_the_store_the_second_time(shop: Shop) -> None:
    wheel = shop.wheel("one", {"one.py": "x = 1\n"})
    first, _ = shop.build([wheel], options())
    shutil.rmtree(shop.workspace.root)
    second, _ = shop.build([wheel], options())
    assert first == second


def test_a_python_that_is_not_here_gets_no_bytecode_and_the_user_is_told(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    other = "python3.14" if OWN != "python3.14" else "python3.13"
    artifact, names = shop.build([shop.wheel("one", {"one.py": "x = 1\n"})], options(other))
    assert not [name for name in names if name.endswith(".pyc")]
    assert artifact.notes[0].startswith(f"no bytecode for {other}: the builder runs Python 3.")


def test_bytecode_gives_way_when_the_limit_nears(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = shop.wheel("one", {"one.py": "x = 1\n" * 50})
    full, _ = shop.build([wheel], options())
    assert full.notes == ()
    monkeypatch.setattr(layer, "MAX_UNZIPPED", full.unzipped + 1)
    artifact, names = shop.build([wheel], options())
    assert not [name for name in names if name.endswith(".pyc")]
    assert "bytecode left out" in artifact.notes[0]


def test_namespace_packages_may_declare_themselves_differently(shop: Shop) -> None:
    declared = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    otherwise = "from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n"
    one = shop.wheel("one", {"ns/__init__.py": declared, "ns/one.py": ""})
    two = shop.wheel("two", {"ns/__init__.py": otherwise, "ns/two.py": ""})
    _, names = shop.build([one, two], options())
    assert {"python/ns/__init__.py", "python/ns/one.py", "python/ns/two.py"} <= names


def sdk(shop: Shop) -> list[LockedWheel]:
    return [shop.wheel("boto3", {"boto3.py": ""}), shop.wheel("six", {"six.py": ""})]


def test_the_runtimes_sdk_is_used_where_it_fits(shop: Shop) -> None:
    artifact, names = shop.build(
        [*sdk(shop), shop.wheel("app", {"app.py": ""})], options("python3.13", asked=("boto3",))
    )
    assert {name for name in names if name.endswith(".py")} == {"python/app.py"}
    assert artifact.contents == ("app 1.0",)
    assert (
        "runtime_packages: python3.13's own are used instead of the locked ones: boto3 1.42.97, six" in artifact.notes
    )


def test_the_sdk_is_shipped_where_something_else_needs_a_part_of_it(shop: Shop) -> None:
    app = shop.wheel("app", {"app.py": ""}, requires=["six>=1.16"])
    artifact, names = shop.build([*sdk(shop), app], options("python3.13", asked=("boto3",)))
    assert {"python/app.py", "python/boto3.py", "python/six.py"} <= names
    assert "the SDK is shipped, since app 1.0 needs six>=1.16" in artifact.notes[-1]


FILE = "function:\n  runtimes: [python3.13]\n  handler: a.b\n"


def test_the_build_file_says_how_dependencies_are_packed() -> None:
    spec = read_build_file(FILE + "bytecode: false\nruntime_packages: use\n", file="build.yaml")
    assert (spec.bytecode, spec.runtime_packages) == (False, "use")
    spec = read_build_file(FILE, file="build.yaml")
    assert (spec.bytecode, spec.runtime_packages) == (True, "ship")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("prune:\n  disable: [test]\n", "build.yaml:5: prune.disable.0: 'test' is not a rule; did you mean tests?"),
        ("prune:\n  disable: [zzz]\n", "'zzz' is not a rule; rules are bytecode-cache, build-inputs"),
        ("runtime_packages: drop\n", "build.yaml:4: runtime_packages: must be 'use' or 'ship', not 'drop'"),
        ("bytecode: 1\n", "build.yaml:4: bytecode: "),
        ("byte_code: false\n", "byte_code: unknown key; did you mean bytecode?"),
    ],
)
def test_what_it_says_wrongly_is_pointed_out(text: str, problem: str) -> None:
    with pytest.raises(InvalidBuildFile) as caught:
        read_build_file(FILE + text, file="build.yaml")
    assert problem in caught.value.message


def test_distributions_that_have_the_same_module_are_named(shop: Shop) -> None:
    one = shop.wheel("one", {"same/__init__.py": "X = 1", "one.py": "", "space/__init__.py": ""})
    two = shop.wheel(
        "two", {"same/added.py": "", "two.py": "", "space/__init__.py": "", "space/two.py": "", "free/a.py": ""}
    )
    three = shop.wheel("three", {"three.py": "", "space/three.py": "", "free/b.py": ""})
    artifact, _ = shop.build([one, two, three], options())
    assert artifact.notes == ("one 1.0 and two 1.0 have the same module same: each may change what the other does",)
