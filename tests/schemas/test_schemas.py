"""The JSON Schemas say what the code does: of build files, of events and of replies."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import InvalidBuildFile, InvalidEvent
from builder.event.read import parse_event
from builder.event.request import Action
from builder.event.sources import ref_problem
from builder.event.table import AVAILABLE, BUILDING, FIELDS, REF, EventField
from builder.paths import PATH_PATTERN, path_problem
from builder.schemas import NAMES, schema
from builder.schemas.event import SOURCES
from builder.spec.document import read_document
from builder.spec.members import read_functions
from tests.schemas.refusals import refused_by
from tests.spec import test_spec

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", NAMES)
def test_patterns_mean_the_same_to_editors(name: str) -> None:
    """Editors read them as JavaScript does, most strictly by its flag u; this compiles them there where it is."""
    found: set[str] = set()
    node: Any
    todo: list[Any] = [schema(name)]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            found |= {node["pattern"]} if isinstance(node.get("pattern"), str) else set()
            found |= set(node["patternProperties"]) if isinstance(node.get("patternProperties"), dict) else set()
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    assert not [pattern for pattern in found if "(?P" in pattern or "\\Z" in pattern]
    script = "JSON.parse(require('fs').readFileSync(0)).forEach(p => new RegExp(p, 'u'))"
    try:
        subprocess.run(["node", "-e", script], input=json.dumps(sorted(found)), text=True, check=True)
    except FileNotFoundError:
        pytest.skip("node is not here; install nodejs")


# --- build files ------------------------------------------------------------------------------------------------------


def accepted(text: str) -> bool:
    try:
        read_functions(text, file="build.yaml")
    except InvalidBuildFile:
        return False
    return True


def valid(text: str) -> bool:
    return not refused_by("build", read_document(text, file="build.yaml").value)


SHORT_FORMS = """
function: {runtimes: provided.al2023, files: README, url: true, memory: null, build: {go: ./cmd/api}}
layers:
  a: {runtimes: python3.13, build: {node: {bundle: src/a.ts, external: aws-sdk, minify: true}}}
  b: {build: {command: make, output: out/, secrets: [{env: TOKEN, from: "ssm:/a", file: null}]}, dest_dir: ""}
  c: arn:aws:lambda:eu-west-1:123456789012:layer:sdk:7
  dependencies: []
prune:
keep: 3
try: none
"""
BUILD_FILES = [*ROOT.glob("examples/*/build.yaml"), ROOT / "build.yaml.example", ROOT / "build.json.example"]


def test_build_files_of_ours_are_valid() -> None:
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in BUILD_FILES}
    whole = test_spec.uncommented(texts["build.yaml.example"])
    for name, text in {**texts, "short forms": SHORT_FORMS, "whole example": whole}.items():
        assert accepted(text), name
        assert valid(text), (name, refused_by("build", read_document(text, file="build.yaml").value))


# Mistakes that are of YAML itself, of several places at once, or of what JSON Schema has no word for.
UNSEEN = {"build-runtime", "build-minify", "env-size", "twice", "arn-twice", "tag"}


@pytest.mark.parametrize("text", [pytest.param(case.values[0], id=str(case.id)) for case in test_spec.MISTAKES])
def test_mistakes_are_not_valid(text: str, request: pytest.FixtureRequest) -> None:
    assert not accepted(text)
    try:
        assert valid(text) == (request.node.callspec.id in UNSEEN)
    except InvalidBuildFile:
        return  # it is no YAML


paths = st.sampled_from(["a.py", "src/", "*.txt", "../x", "/x", "", ".git/a", "a/../b"])
some = paths | st.lists(paths, max_size=2) | st.none()
runtimes = st.sampled_from(
    ["python3.13", ["python3.12", "python3.13"], "provided.al2", ["nodejs24.x"], [], "go1.x", None]
)
builds: st.SearchStrategy[object] = st.sampled_from(
    [
        *(
            "go",
            "node",
            "none",
            "rust",
            None,
            {"go": "./cmd"},
            {"go": None},
            {"node": "a.ts"},
            {"node": {"scripts": True}},
        ),
        *({"go": {"cgo": True}}, {"go": "x", "node": "y"}, {"command": "make", "output": "out"}, {"command": []}, {}),
    ]
)
words = st.sampled_from(["", "A", "AB", "HOME", "x" * 300, 3, None, True])
variables = st.dictionaries(st.sampled_from(["A", "AB", "HOME", "AWS_REGION", "1x"]), words, max_size=2) | st.none()
secrets = st.lists(
    st.fixed_dictionaries({"from": st.sampled_from(["ssm:/a", "vault:x"])}, optional={"env": words, "file": words}),
    max_size=1,
)
functions: st.SearchStrategy[object] = st.fixed_dictionaries(
    {"runtimes": runtimes, "handler": st.sampled_from(["a.b", "a/b.c", "x", "a..b", ".b", None])},
    optional={
        "files": some,
        "source_dir": paths,
        "exclude": some,
        "architecture": st.sampled_from(["arm64", "arm", None]),
        "memory": st.sampled_from([1, 128, "128", True, None]),
        "environment": variables,
        "tags": st.dictionaries(words.map(str), words, max_size=2) | st.none(),
        "log_retention": st.sampled_from([1, 2, None]),
        "url": st.sampled_from(
            [True, False, None, {}, {"auth": "none"}, {"auth": "x"}, {"cors": None}, {"cors": {"MaxAge": -1}}]
        ),
        "description": words,
        "build": builds,
        "configuration": st.sampled_from(
            [{}, {"TracingConfig": {"Mode": "Active"}}, {"TracingConfig": {}}, {"X": 1}, None]
        ),
    },
)
layers = st.fixed_dictionaries(
    {},
    optional={
        "files": some,
        "runtimes": runtimes,
        "preinstall": some,
        "environment": variables,
        "secrets": secrets,
        "dest_dir": paths,
        "build": builds,
        "license": words,
    },
)
build_files = st.fixed_dictionaries(
    {},
    optional={
        "function": functions,
        "layers": st.none()
        | st.dictionaries(st.sampled_from(["dependencies", "a", "b c", "function"]), layers | some, max_size=2),
        "prune": st.sampled_from([None, {}, {"disable": "tests"}, {"disable": ["x"]}, {"keep": ""}]),
        "keep": st.sampled_from([None, 0, 1]),
        "bytecode": st.sampled_from([True, None]),
        "try": st.sampled_from(["none", "no"]),
    },
)  # fmt: skip


@given(build_files)
def test_what_is_read_is_valid(value: object) -> None:
    text = json.dumps(value)
    if accepted(text):
        assert not refused_by("build", value)


# --- events -----------------------------------------------------------------------------------------------------------


def test_the_parser_reads_every_field_of_the_table() -> None:
    for action, names in AVAILABLE.items():
        for name in names:
            event = {"action": action, "function": "f", name: {"no": {"such": "value"}}}
            if name == "invoke":
                assert parse_event({**event, "repo": "a/b"}).payload
                continue
            with pytest.raises(InvalidEvent) as caught:
                parse_event(event)
            assert any(problem.startswith(f"{name}: ") for problem in caught.value.problems), (action, name)


def values(row: EventField) -> st.SearchStrategy[Any]:
    return of_schema(row.schema) | st.none()


def of_schema(wanted: Any) -> st.SearchStrategy[Any]:
    """Values that a schema of the table allows."""
    if "examples" in wanted:
        return st.sampled_from(wanted["examples"])
    if "anyOf" in wanted:
        return st.one_of([of_schema(each) for each in wanted["anyOf"]])
    if "enum" in wanted:
        return st.sampled_from(wanted["enum"])
    match wanted.get("type"):
        case "object":
            fields = {name: of_schema(each) for name, each in wanted["properties"].items()}
            needed = {name: fields.pop(name) for name in wanted["required"]}
            return st.fixed_dictionaries(needed, optional=fields)
        case "array":
            return st.lists(of_schema(wanted["items"]), max_size=3)
        case "integer":
            return st.integers(wanted["minimum"], wanted["maximum"])
        case "number":
            return st.floats(0, 1, exclude_min=True, exclude_max=True)
        case None:
            return st.sampled_from([0, "", [], {"a": 1.5}])
    pattern = wanted.get("pattern", r"^[a-z/]+$")
    text = st.from_regex(re.compile(pattern), alphabet=st.characters(codec="ascii"), fullmatch=True)
    return text.filter(lambda value: value.strip() and len(value) <= wanted.get("maxLength", 99))


@st.composite
def events(draw: st.DrawFn, among: Sequence[Action] = tuple(Action)) -> dict[str, Any]:
    """Events of the table without contradictions: one source, and its commit once."""
    action = draw(st.sampled_from(among))
    rows = [row for row in FIELDS if action in row.actions and row.name not in (*SOURCES, "function", "project")]
    event = {"action": action.value} | {row.name: draw(values(row)) for row in rows if draw(st.booleans())}
    names = [row for row in FIELDS if row.name in ("function", "project") and action in row.actions]
    if names:
        row = draw(st.sampled_from(names))
        event[row.name] = draw(of_schema(row.schema))
    if action == Action.STOP:
        event["build_id"] = draw(st.sampled_from(["b", "b.1"]))
    if action in BUILDING:
        source = draw(st.sampled_from(SOURCES))
        row = next(row for row in FIELDS if row.name == source)
        event[source] = draw(of_schema(row.schema).filter(lambda value: value not in (".", "..", ".git")))
        event.pop("branch", None)
        if source in ("archive", "source"):
            event.pop("ref", None)
    return event


@given(events())
def test_valid_events_are_accepted(event: dict[str, Any]) -> None:
    assert not refused_by("event", event)
    parse_event(event)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"action": "deploy"},
        {"action": "ping", "ref": "main"},
        {"action": "build", "repo": "a/b"},
        {"action": "build", "function": "f"},
        {"action": "build", "function": None, "repo": "a/b"},
        {"action": "build", "function": "f", "repo": "a/b", "archive": "UEsF"},
        {"action": "build", "function": "f", "repo": "a/b", "count": 1},
        {"action": "verify", "function": "f", "alias": {"name": "a", "weight": 0.1}},
        {"name": "f", "archive": "UEsF", "ref": "main"},
    ],
    ids=str,
)
def test_other_events_are_neither_valid_nor_accepted(event: dict[str, Any]) -> None:
    assert refused_by("event", event)
    with pytest.raises(InvalidEvent):
        parse_event(event)


def test_the_older_shapes_are_valid() -> None:
    for event in (
        {
            "action": "build function dependencies",
            "function": "f",
            "repo_name": "f",
            "branch": "main",
            "version": "true",
        },
        {"name": "f", "architecture": "amd64", "archive": "UEsF"},
        {"action": "ping", "ref": None, "anything": None},
    ):
        assert not refused_by("event", event)
        parse_event(event)


@given(st.text(alphabet="ab./\\\0-~@{ lockgit", max_size=12))
def test_patterns_agree_with_what_is_checked(text: str) -> None:
    assert (path_problem(text) is None) == bool(re.fullmatch(PATH_PATTERN, text))
    if text:
        assert (ref_problem(text) is None) == bool(re.fullmatch(REF, text))
