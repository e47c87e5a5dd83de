"""Reads thirty templates in the shapes that real ones have, and compares what is built of them with what should be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from builder.errors import InvalidBuildFile
from builder.making.project import Outline, read_project
from builder.spec.build_file import TEMPLATES
from builder.spec.builds import CommandBuild, GoBuild, NodeBuild
from builder.spec.members import BuildFile, read_functions
from builder.spec.tree import check_all_against_tree, with_own_dependencies
from builder.spec.values import BuildSpec

FOLDER = Path(__file__).parent / "templates"
CORPUS = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())


def file_of(name: str) -> Path:
    [path] = [FOLDER / name / file for file in TEMPLATES if (FOLDER / name / file).exists()]
    return path


def expected_of(name: str) -> dict[str, Any]:
    said = json.loads((FOLDER / name / "expected.json").read_text())
    assert isinstance(said, dict)
    return said


def read(name: str) -> BuildFile:
    path, parameters = file_of(name), expected_of(name).get("parameters", {})
    return read_functions(path.read_text(), file=path.name, parameters=tuple(sorted(parameters.items())))


def said_of(spec: BuildSpec, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says of a function, in the words of expected.json."""
    function = spec.function
    assert function is not None
    said: dict[str, Any] = {"source_dir": function.source_dir, "runtime": function.runtimes[0]}
    if not function.runtimes[0].startswith("provided"):
        said["handler"] = function.handler
    if "architecture" in wanted:
        said["architecture"] = function.architecture
    if "environment" in wanted:
        said["environment"] = dict(function.environment or {})
    match function.build:
        case CommandBuild():
            said["build"] = "command"
        case GoBuild():
            said["build"] = {"go": {}}
        case NodeBuild() as build:
            given = build.model_dump(exclude_defaults=True)
            said["build"] = {"node": {key: [*item] if isinstance(item, tuple) else item for key, item in given.items()}}
    spec = with_own_dependencies(spec, FOLDER / wanted["name"])
    order = [item if isinstance(item, str) else item.arn for item in spec.layer_order]
    if layers := [item for item in order if item != "dependencies"]:
        said["layers"] = layers
    if files := spec.dependencies:
        said["dependencies"] = files[0] if len(files) == 1 else [*files]
    return said


@pytest.mark.parametrize("name", CORPUS)
def test_a_template_is_read_as_it_stands(name: str) -> None:
    expected = expected_of(name)
    if "problems" in expected:
        with pytest.raises(InvalidBuildFile) as caught:
            read(name)
        missing = [text for text in expected["problems"] if text not in caught.value.message]
        assert not missing, caught.value.message
        assert len(caught.value.problems or ()) == len(expected["problems"]), caught.value.message
        return
    file, wanted = read(name), expected["functions"]
    assert [*file.functions] == [*wanted]
    for key, spec in file.functions.items():
        assert said_of(spec, {**wanted[key], "name": name}) == wanted[key], key
    assert file.template is not None
    assert file.template.left == expected.get("left", {})
    assert file.template.packages == expected.get("packages", {})
    check_all_against_tree([*file.functions.values()], FOLDER / name)


@pytest.mark.parametrize(
    "name", ["layer-of-requirements", "layer-of-code-and-requirements", "layer-and-own-requirements", "parameters"]
)
def test_the_worker_reads_the_same(name: str) -> None:
    for key in expected_of(name)["functions"]:
        given = tuple(sorted(expected_of(name).get("parameters", {}).items()))
        project = read_project(FOLDER / name, None, commit_time=0, key=key, parameters=given)
        sent = json.loads(json.dumps(project.as_json()))
        assert Outline.parse(sent).spec == project.spec


def test_the_corpus_is_not_lost() -> None:
    assert len(CORPUS) >= 30
