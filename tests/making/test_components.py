"""The classes that make components: what their keys depend on, and what can be put around any of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import ArtifactConflict, InvalidBuildFile, SourceChanged
from builder.making.building import KindBuild
from builder.making.components import component
from builder.making.dependencies import Dependencies
from builder.making.files import FilesLayer, Function
from builder.making.preinstall import CommandsLayer, _preinstalled
from builder.making.project import Project
from builder.making.shipment import zip_of
from builder.making.untouched import Untouched
from builder.making.wrappers import Announced, Collecting, Stored, Unbuilt, Watched
from builder.plan import UNBUILT, Artifact, Kind
from builder.progress import Moment, Progress
from builder.runtimes import RUNTIMES, Target
from builder.spec.values import LayerSpec
from builder.store.directory import DirectoryStore
from builder.workshop.workshop import Workshop
from builder.workspace.directory import Deadline, Workspace
from tests.spec.reading import read_build_file

FILES = {
    "app.py": "def handler(event, context): ...\n",
    "pkg/part.py": "",
    "data/words.txt": "one two\n",
    "in.txt": "in\n",
    "README.md": "read me\n",
    "requirements.txt": "six\n",
}
BUILD: dict[str, Any] = {
    "function": {"runtimes": ["python3.13"], "handler": "app.handler", "files": ["app.py", "pkg"]},
    "layers": {
        "dependencies": ["requirements.txt"],
        "data": {"files": ["data"], "dest_dir": "share"},
        "made": {
            "preinstall": ["cp data/words.txt made.txt"],
            "environment": {"LEVEL": "1"},
            "secrets": [{"from": "ssm:/words/token", "env": "TOKEN"}],
            "files": ["made.txt"],
        },
        "built": {"build": {"command": ["mkdir o; cp in.txt o"], "output": ["o"], "inputs": ["in.txt"]}},
    },
    "bytecode": False,  # which would add the builder's own Python to the key
}
LOCK = """lock-version = "1.0"
created-by = "test"

[[packages]]
name = "six"
version = "1.17.0"
wheels = [{url = "https://example.com/six-1.17.0-py2.py3-none-any.whl", hashes = {sha256 = "SHA"}}]
""".replace("SHA", "0" * 64)
NAMES = ("function", "dependencies", "data", "made", "built")


@dataclass(kw_only=True)
class Given:
    """A project before it is written, for a test to change."""

    files: dict[str, str] = field(default_factory=lambda: dict(FILES))
    build: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(BUILD))
    lock: str = LOCK
    architecture: str = "x86_64"
    commit_time: int = 0
    executable: tuple[str, ...] = ()

    def project(self, root: Path) -> Project:
        for name, content in self.files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            path.chmod(0o755 if name in self.executable else 0o644)
        # The build file does not lie among the files: commands could read it, and its every change would count.
        spec = read_build_file(json.dumps(self.build), file="build.json")
        runtime = RUNTIMES[self.build["function"]["runtimes"][0]]
        return Project(
            root=root,
            spec=spec,
            target=Target(runtime=runtime, architecture="arm64" if self.architecture == "arm64" else "x86_64"),
            commit_time=self.commit_time,
            lock=self.lock,
        )


def workshop_in(folder: Path) -> Workshop:
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    return Workshop(
        workspace=Workspace(folder / "work"),
        scratch=scratch,
        store=DirectoryStore(folder / "store"),
        kept=DirectoryStore(folder / "kept"),
        caches=folder / "caches",
        deadline=Deadline.after(60),
        progress=Progress(),
        environment={"PATH": "/usr/bin:/bin"},
    )


# As they were before components were classes: a new key would build everything of everybody again.
KEYS = {
    "function": "0e2c08d2cf888918fc051cffefd860d93be7bd2d5fe87c25dcc079015ac139a0",
    "dependencies": "b31b53d8f8f26a1f168199f36345ad3c960dbcd2f230d96becaf3d813f181cb5",
    "data": "506efe81df680cf7e38e9dd501eba00fa11500e6d0cd72d5d79a9ecdc0ccccc2",
    "made": "c99bae7c3c650c0c76b51bec0eb574462c825bc3620924c5297a75fedb844346",
    "built": "6399bc47b2c63adcbd9441e75ee75cd3d82302b88d1e285898813193cfcb780a",
}


def keys(folder: Path, given: Given) -> dict[str, str]:
    project, workshop = given.project(folder / "project"), workshop_in(folder)
    return {name: component(project, name, workshop).key() for name in NAMES}


def test_keys_stay_what_they_are(tmp_path: Path) -> None:
    assert keys(tmp_path, Given()) == KEYS


def test_preinstall_runs_at_the_root_of_a_copy_wherever_the_files_are(tmp_path: Path) -> None:
    """As docs/reference.md says."""
    given = Given()
    commands = ["test -f app.py", "cp data/words.txt data/made.txt"]
    given.build["layers"]["made"] = {"preinstall": commands, "files": ["made.txt"], "source_dir": "data"}
    project = replace(given.project(tmp_path / "project"), lock=None)
    made = next(each for each in project.spec.layers if isinstance(each, LayerSpec) and each.name == "made")
    root = _preinstalled(project, made, workshop_in(tmp_path))
    assert (root / "data/made.txt").is_file()
    assert not (project.root / "data/made.txt").exists()


def test_the_class_follows_from_the_build_file(tmp_path: Path) -> None:
    given = Given()
    project, workshop = given.project(tmp_path / "project"), workshop_in(tmp_path)
    classes = {name: type(component(project, name, workshop)) for name in NAMES}
    assert classes == {
        "function": Function,
        "dependencies": Dependencies,
        "data": FilesLayer,
        "made": CommandsLayer,
        "built": KindBuild,
    }
    kinds: dict[str, Kind] = {name: component(project, name, workshop).kind for name in NAMES}
    assert kinds == {**dict.fromkeys(NAMES, "layer"), "function": "function", "dependencies": "dependencies"}
    given.build["function"] |= {"runtimes": ["nodejs22.x"], "native_libraries": "auto", "build": "none"}
    given.build["layers"]["dependencies"] = ["package-lock.json"]
    project = given.project(tmp_path / "node")
    npm = component(project, "dependencies", workshop)
    assert isinstance(npm, Collecting)
    assert isinstance(npm.of, KindBuild)
    assert (npm.kind, npm.uses_lock, npm.runs_code) == ("dependencies", False, True)


Change = Callable[[Given], object]


def says(*at: str, value: object) -> Change:
    """Say something in the build file."""

    def change(given: Given) -> None:
        place = given.build
        for key in at[:-1]:
            place = place.setdefault(key, {})
        place[at[-1]] = value

    return change


def writes(name: str, content: str = "changed\n") -> Change:
    return lambda given: given.files.update({name: content})


def sets(**values: object) -> Change:
    def change(given: Given) -> None:
        for name, value in values.items():
            setattr(given, name, value)

    return change


def layer(name: str, key: str, value: object) -> Change:
    return says("layers", name, key, value=value)


# What is changed → the components whose keys change, and no others.
CHANGES: Mapping[str, tuple[Change, set[str]]] = {
    "a file of the function": (writes("app.py"), {"function", "made"}),
    "a new file of the function": (writes("pkg/new.py"), {"function", "made"}),
    "a file's mode": (sets(executable=("app.py",)), {"function", "made"}),
    "which files": (says("function", "files", value=["app.py"]), {"function"}),
    "what is left out": (says("function", "exclude", value=["part.py"]), {"function"}),
    "a layer's file": (writes("data/words.txt"), {"data", "made"}),
    "a layer's new file": (writes("data/more.txt"), {"data", "made"}),
    "a layer's place": (layer("data", "dest_dir", "words"), {"data"}),
    "where a layer's files are": (layer("data", "source_dir", "."), set()),
    "a command": (layer("made", "preinstall", ["touch made.txt"]), {"made"}),
    "a command's variable": (layer("made", "environment", {"LEVEL": "2"}), {"made"}),
    "a command's secret": (layer("made", "secrets", [{"from": "ssm:/words/key", "env": "TOKEN"}]), {"made"}),
    "where a command's secret goes": (
        layer("made", "secrets", [{"from": "ssm:/words/token", "env": "KEY"}]),
        {"made"},
    ),
    "what commands leave": (layer("made", "files", ["made*"]), {"made"}),
    "where that goes": (layer("made", "dest_dir", "share"), {"made"}),
    "where commands run": (layer("made", "source_dir", "pkg"), {"made"}),
    "a build's command": (says("layers", "built", "build", "command", value=["mkdir o; cp in.txt o/x"]), {"built"}),
    "a build's output": (says("layers", "built", "build", "output", value=["o/"]), {"built"}),
    "a build's variable": (says("layers", "built", "build", "environment", value={"FLAG": "1"}), {"built"}),
    "which files a build reads": (says("layers", "built", "build", "inputs", value=["in.txt", "pkg"]), {"built"}),
    "a file that a build reads": (writes("in.txt"), {"built", "made"}),
    "a build's program": (says("layers", "built", "build", "toolchains", value=["sh"]), {"built"}),
    "files beside a build": (layer("built", "files", ["README.md"]), {"built"}),
    "where what is built goes": (layer("built", "dest_dir", "share"), {"built"}),
    "a build's directory": (layer("built", "source_dir", "."), set()),
    "a requirement": (sets(lock=LOCK.replace("1.17.0", "1.16.0")), {"dependencies", "made"}),
    "a rule of pruning": (says("prune", "disable", value=["type-stubs"]), {"dependencies"}),
    "what pruning leaves": (says("prune", "keep", value=["*/docs/*"]), {"dependencies"}),
    "the runtime's packages": (says("runtime_packages", value="use"), {"dependencies"}),
    "the processor": (sets(architecture="arm64"), {"dependencies", "made", "built"}),
    "the runtime": (says("function", "runtimes", value=["python3.12"]), {"dependencies", "made", "built"}),
    "a file of nobody": (writes("README.md"), {"made"}),
    "the function's settings": (says("function", "memory", value=512), set()),
    "the function's handler": (says("function", "handler", value="app.other"), set()),
    "a description": (layer("data", "description", "words"), set()),
    "a license": (layer("made", "license", "MIT"), set()),
    "the trial": (says("try", value="none"), set()),
    "the time of the commit": (sets(commit_time=1), set()),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_key_changes_with_its_inputs_and_with_nothing_else(case: str, tmp_path: Path) -> None:
    change, expected = CHANGES[case]
    given = Given()
    change(given)
    now = keys(tmp_path, given)
    assert {name for name, key in now.items() if key != KEYS[name]} == expected


COMPARED: Mapping[str, tuple[Change, set[str]]] = {
    "function": (writes("app.py"), {"app.py"}),
    "dependencies": (sets(lock=LOCK.replace("1.17.0", "1.16.0")), {"six"}),
    "data": (writes("data/words.txt"), {"share/data/words.txt"}),
    "made": (layer("made", "preinstall", ["touch made.txt"]), {"preinstall"}),
    "built": (says("layers", "built", "build", "output", value=["o/"]), {"build"}),
}


@pytest.mark.parametrize("name", NAMES)
def test_people_are_told_which_input_differs(name: str, tmp_path: Path) -> None:
    change, expected = COMPARED[name]
    given = Given()
    before = component(given.project(tmp_path / "project"), name, workshop_in(tmp_path)).inputs()
    change(given)
    after = component(given.project(tmp_path / "project"), name, workshop_in(tmp_path)).inputs()
    assert {each for each in {*before, *after} if before.get(each) != after.get(each)} == expected


def test_libraries_of_the_machine_add_to_the_keys_of_those_that_ask_for_them(tmp_path: Path) -> None:
    given = Given()
    given.build["function"]["native_libraries"] = "auto"
    given.build["layers"]["data"]["native_libraries"] = "auto"
    now = keys(tmp_path, given)
    assert {name for name, key in now.items() if key != KEYS[name]} == {"function", "dependencies", "data"}
    given.build["optional_libraries"] = ["libtbb.so.12"]
    assert {name for name, key in keys(tmp_path, given).items() if key != now[name]} == {
        "function",
        "dependencies",
        "data",
    }


def test_a_layer_that_ships_its_directory_as_it_is_has_a_key_of_what_is_there(tmp_path: Path) -> None:
    given = Given()
    given.build["layers"]["data"] = {"build": "none", "source_dir": "data"}
    before = keys(tmp_path, given)["data"]
    assert component(given.project(tmp_path / "project"), "data", workshop_in(tmp_path)).inputs().keys() == {
        "words.txt"
    }
    given.files["data/words.txt"] = "changed"
    assert keys(tmp_path, given)["data"] != before


def test_a_layer_without_files_is_refused(tmp_path: Path) -> None:
    given = Given()
    given.files = {**FILES, "data/.npmrc": ""}
    del given.files["data/words.txt"]
    with pytest.raises(InvalidBuildFile, match=r"layers\.data: no files match"):
        component(given.project(tmp_path / "project"), "data", workshop_in(tmp_path)).make()


def test_a_build_and_files_beside_it_do_not_share_a_place(tmp_path: Path) -> None:
    given = Given()
    given.build["layers"]["built"]["files"] = ["in.txt"]
    with pytest.raises(ArtifactConflict, match=r"layers\.built\.build makes in\.txt, which files also ships"):
        component(given.project(tmp_path / "project"), "built", workshop_in(tmp_path)).make()


# Around any component.


@dataclass(kw_only=True)
class Counted:
    """A component of one file that counts how often it is made."""

    workshop: Workshop
    runs_code: bool = False
    doing: Callable[[], object] = lambda: None
    made: int = 0
    asked: int = 0
    content: str = "k"
    name: str = "data"
    kind: Kind = "layer"
    uses_lock: bool = False

    def key(self) -> str:
        self.asked += 1
        return self.content * 64

    def inputs(self) -> dict[str, str]:
        return {"file": f"#{self.content}"}

    def make(self) -> Artifact:
        self.made += 1
        self.doing()
        path = self.workshop.scratch / "file"
        path.write_text(self.content)
        made = component(Given().project(self.workshop.scratch / "project"), "data", self.workshop).make()
        assert zip_of("data", self.workshop).exists()
        return made


def stored(counted: Counted, project: Project) -> Stored:
    return Stored(of=counted, project=project, workshop=counted.workshop)


@pytest.mark.parametrize("runs_code", [False, True], ids=["everybody's", "the domain's alone"])
def test_what_is_stored_is_made_once(tmp_path: Path, *, runs_code: bool) -> None:
    workshop, project = workshop_in(tmp_path), Given().project(tmp_path / "project")
    counted = Counted(workshop=workshop, runs_code=runs_code)
    first = stored(counted, project)
    assert first.known.artifact is None
    artifact = first.make()
    assert counted.made == 1
    assert stored(counted, project).known.artifact is None, "nothing is kept before it was checked"
    first.keep(artifact)
    again = stored(counted, project)
    assert again.make() == again.known.artifact == artifact
    assert counted.made == 1
    record = tmp_path / ("kept" if runs_code else "store") / "components" / f"{'k' * 64}.json"
    assert record.exists()
    assert len(list(tmp_path.glob("*/components/*"))) == 1


def test_a_key_is_computed_once(tmp_path: Path) -> None:
    counted = Counted(workshop=workshop_in(tmp_path))
    each = stored(counted, Given().project(tmp_path / "project"))
    assert {each.key(), each.known.key, each.key()} == {"k" * 64}
    assert counted.asked == 1


def test_what_was_removed_from_the_store_is_made_again(tmp_path: Path) -> None:
    counted, project = Counted(workshop=workshop_in(tmp_path)), Given().project(tmp_path / "project")
    artifact = stored(counted, project).make()
    stored(counted, project).keep(artifact)
    for path in (tmp_path / "store" / "artifacts").iterdir():
        path.unlink()
    assert stored(counted, project).make() == artifact
    assert counted.made == 2


def test_inputs_are_compared_with_those_of_another_key(tmp_path: Path) -> None:
    counted, project = Counted(workshop=workshop_in(tmp_path)), Given().project(tmp_path / "project")
    each = stored(counted, project)
    each.keep(each.make())
    now = stored(replace(counted, content="n"), project)
    assert now.changed_since("k" * 64) == ("file",)
    assert now.changed_since("n" * 64) == now.changed_since("x" * 64) == ()


def test_a_dry_run_makes_nothing(tmp_path: Path) -> None:
    counted = Counted(workshop=workshop_in(tmp_path))
    assert Unbuilt(of=counted, artifact=None).make() is UNBUILT
    artifact = Artifact(sha256="0" * 64, size=1, unzipped=1, files=1)
    assert Unbuilt(of=counted, artifact=artifact).make() is artifact
    assert counted.made == 0


def test_making_is_a_phase_with_the_reason(tmp_path: Path) -> None:
    told: list[Moment] = []
    progress = Progress(told.append)
    counted = Counted(workshop=workshop_in(tmp_path), doing=lambda: progress.say("in between"))
    Announced(of=counted, progress=progress, why="requested by force").make()
    assert [(each.phase, each.message) for each in told] == [
        ("data", "building data: requested by force"),
        ("data", "in between"),
    ]
    assert [phase.name for phase in progress.phases] == ["data"]


def test_who_writes_to_the_project_is_noticed(tmp_path: Path) -> None:
    project = Given().project(tmp_path / "project")
    untouched = Untouched(project.root)
    untouched.note()
    counted = Counted(workshop=workshop_in(tmp_path))
    watched = Watched(of=counted, project_files=untouched)
    watched.make()
    counted.doing = lambda: (project.root / "app.py").write_text("changed")
    with pytest.raises(SourceChanged, match=r"building data: .*app\.py"):
        watched.make()
