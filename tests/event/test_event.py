"""The request: what is accepted, what is refused, and in which words."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import InvalidEvent
from builder.event.read import parse_event, raises, shortened, wants_shell, wants_text
from builder.event.request import Action, ArchiveSource, GitSource, ManifestSource, ObjectSource, Request
from builder.event.sources import ref_problem
from builder.event.table import AVAILABLE
from builder.network.urls import url_problem, without_secrets
from builder.paths import normalised, path_problem

BUILD = {"action": "build", "function": "thumbs", "repo": "me/thumbs"}


def problems(event: object) -> list[str]:
    with pytest.raises(InvalidEvent) as caught:
        parse_event(event)  # type: ignore[arg-type]
    error = caught.value
    assert error.problems
    assert all(problem in error.message for problem in error.problems)
    assert error.hint
    return list(error.problems)


def only_problem(event: object) -> str:
    found = problems(event)
    assert len(found) == 1, found
    return found[0]


def test_a_build_with_every_field() -> None:
    assert parse_event(
        {
            "action": "build",
            "function": "thumbs",
            "repo": "https://github.com/me/pictures.git",
            "ref": "release/1.2",
            "path": "./functions//thumbs/",
            "build_file": "build.prod.yaml",
            "components": ["function", "dependencies", "function"],
            "version": True,
            "alias": {"name": "live", "weight": 0.1},
            "invoke": {"size": [1, None], "name": "é"},
            "by": "Zoë Müller <zoe@example.org>",
            "build_id": "2026-11-20.a_1",
            "force": "true",
            "upgrade": True,
        }
    ) == Request(
        action=Action.BUILD,
        function="thumbs",
        source=GitSource(repo="https://github.com/me/pictures.git", ref="release/1.2"),
        path="functions/thumbs",
        build_file="build.prod.yaml",
        components=("function", "dependencies"),
        version=True,
        alias="live",
        weight=0.1,
        payload='{"size": [1, null], "name": "\\u00e9"}',
        by="Zoë Müller <zoe@example.org>",
        build_id="2026-11-20.a_1",
        force=True,
        upgrade=True,
    )


def test_the_older_shape_names_components_in_the_action() -> None:
    assert parse_event(
        {
            "action": "build function dependencies",
            "function": "thumbs",
            "repo_name": "thumbs",
            "branch": "main",
            "version": "true",
            "alias": "live",
        }
    ) == Request(
        action=Action.BUILD,
        function="thumbs",
        source=GitSource(repo_name="thumbs", ref="main"),
        components=("function", "dependencies"),
        version=True,
        alias="live",
    )


def test_setup_may_name_the_builder() -> None:
    """As the original implementation is told to; whose name it is, `builder.trust.reach` knows."""
    assert parse_event({"function": "me", "action": "setup"}) == Request(action=Action.SETUP, function="me")


@pytest.mark.parametrize("action", ["ping", "setup", "status"])
def test_actions_without_a_project(action: str) -> None:
    request = parse_event({"action": action, "build_id": "b1", "by": "me"})
    assert request == Request(action=Action(action), build_id="b1", by="me")


def test_history_of_a_function() -> None:
    assert parse_event({"action": "history", "function": "thumbs"}).count == 20
    request = parse_event({"action": "history", "function": "thumbs", "count": 100})
    assert request == Request(action=Action.HISTORY, function="thumbs", count=100)


@pytest.mark.parametrize("action", ["rollback", "verify"])
def test_actions_on_an_earlier_build(action: str) -> None:
    assert parse_event({"action": action, "function": "thumbs"}) == Request(action=Action(action), function="thumbs")
    event = {"action": action, "function": "thumbs", "alias": "live", "build": "b1", "by": "me", "build_id": "b2"}
    wanted = Request(action=Action(action), function="thumbs", alias="live", build="b1", by="me", build_id="b2")
    assert parse_event(event) == wanted
    weighted = only_problem({**event, "alias": {"name": "live", "weight": 0.5}})
    assert weighted.startswith(f"alias: must be a name for the action '{action}'")


@pytest.mark.parametrize("payload", [False, 0, "", [], {}, "x", 1.5])
def test_any_json_may_be_invoked_with(payload: object) -> None:
    request = parse_event({**BUILD, "invoke": payload})
    assert request.payload is not None
    assert json.loads(request.payload) == payload


def test_a_plan_invokes_nothing() -> None:
    problem = only_problem({**BUILD, "action": "plan", "invoke": {}})
    assert problem.startswith("invoke: does not apply to the action 'plan'")


def test_null_counts_as_left_out() -> None:
    request = parse_event({**BUILD, "ref": None, "components": None, "version": None, "path": None})
    assert request.source == GitSource(repo="me/thumbs")
    assert (request.components, request.version, request.path) == ((), False, "")


def test_branch_and_ref_may_agree() -> None:
    request = parse_event({**BUILD, "ref": "main", "branch": "main"})
    assert isinstance(request.source, GitSource)
    assert request.source.ref == "main"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"functoin": "x"}, "functoin: unknown field; did you mean function?", id="typo"),
        pytest.param({"git_token": "s3cr3t"}, "git_token: unknown field", id="unknown"),
        pytest.param({"archive": "UEs="}, "repo: given together with archive; give one of them", id="archive-repo"),
        pytest.param({"repo": None, "archive": "U!"}, "archive: is not base64", id="archive-base64"),
        pytest.param({"repo": None, "archive": "UEs=", "ref": "x"}, "ref: does not apply", id="archive-ref"),
        pytest.param({"repo": None, "source": "s3://b/k"}, "source: must be an object with bucket", id="source"),
        pytest.param({"repo": None, "source": {"bucket": "bkt"}}, "source: key: missing", id="source-key"),
        pytest.param({"repo": None, "source": {"bucket": "B/", "key": "k"}}, "source: bucket: 'B/'", id="bucket"),
        pytest.param(
            {"repo": None, "source": {"bucket": "bkt", "key": "k", "versionid": "1"}},
            "source: versionid: unknown field; did you mean version_id?",
            id="source-typo",
        ),
        pytest.param({"action": "package", "architecture": "mips"}, "architecture: 'mips' is not one of", id="machine"),
        pytest.param({"action": "package", "alias": "live"}, "alias: does not apply to the action", id="package-alias"),
        pytest.param({"invoke": float("nan")}, "invoke: is not a JSON value", id="invoke-nan"),
        pytest.param({"invoke": "x" * (256 << 10)}, "invoke: is 262146 bytes of JSON; at most 262144", id="invoke-big"),
        pytest.param({"by": "a\nb"}, "by: 'a\\nb' is not allowed; use up to 128 printable", id="by-lines"),
        pytest.param({"by": "x" * 129}, "by: 'xxxx", id="by-long"),
        pytest.param({"by": ["me"]}, "by: must be a string, not a list", id="by-list"),
        pytest.param({"count": 5}, "count: does not apply to the action 'build'", id="count"),
        pytest.param({"build": "b1"}, "build: does not apply to the action 'build'", id="build"),
        pytest.param({"function": None}, "function: missing", id="no-function"),
        pytest.param({"function": "a b"}, "function: 'a b' is not allowed", id="function-blank"),
        pytest.param({"function": "x" * 65}, "1 to 64", id="function-long"),
        pytest.param({"function": "arn:aws:lambda:eu-west-1:123456789012:function:t:3"}, "name alone, t ", id="arn"),
        pytest.param({"function": 5}, "function: must be a string, not a number (5)", id="function-number"),
        pytest.param({"function": ""}, "function: is empty", id="function-empty"),
        pytest.param({"repo": None}, "repo: missing", id="no-repo"),
        pytest.param({"repo_name": "thumbs"}, "repo: given together with repo_name", id="both-repos"),
        pytest.param({"repo": "thumbs"}, "a name alone goes into repo_name", id="bare-name"),
        pytest.param({"repo": "../thumbs"}, "neither an https URL nor owner/name", id="repo-dots"),
        pytest.param({"repo": "git@github.com:me/thumbs.git"}, "write https://github.com/me/thumbs.git", id="scp"),
        pytest.param({"repo": "ssh://git@host:22/me/x"}, "write https://host/me/x", id="ssh"),
        pytest.param({"repo": "http://host/me/x"}, "not encrypted", id="http"),
        pytest.param({"repo": "file:///etc"}, "not an https URL", id="file"),
        pytest.param({"repo": "https://host"}, "not the URL of a repository", id="no-path"),
        pytest.param({"repo": None, "repo_name": "a/b"}, "owner/name goes into repo", id="name-with-slash"),
        pytest.param({"repo": None, "repo_name": "https://a/b"}, "is a URL; that goes into repo", id="name-is-url"),
        pytest.param({"ref": "a b"}, "ref: 'a b' contains a character", id="ref-blank"),
        pytest.param({"ref": "--upload-pack=x"}, "not a name that git allows", id="ref-option"),
        pytest.param({"ref": "a", "branch": "b"}, "branch: 'b' contradicts ref 'a'", id="ref-and-branch"),
        pytest.param({"path": "../x"}, "leaves the project", id="path-up"),
        pytest.param({"path": "/etc"}, "is absolute", id="path-absolute"),
        pytest.param({"path": "a/.GIT/b"}, "inside .git", id="path-git"),
        pytest.param({"build_file": "a/build.yaml"}, "build_file: 'a/build.yaml' must be the name", id="file-path"),
        pytest.param({"build_file": "build.toml"}, ".yaml, .yml or .json", id="file-ending"),
        pytest.param({"components": "a,b"}, "components: 'a,b' is not allowed", id="component"),
        pytest.param({"components": [1]}, "components: must be a list of names", id="component-number"),
        pytest.param({"action": "build x", "components": ["y"]}, "contradicts", id="components-twice"),
        pytest.param({"version": "yes"}, "version: must be true or false, not 'yes'", id="version"),
        pytest.param({"upgrade": "yes"}, "upgrade: must be true or false, not 'yes'", id="upgrade"),
        pytest.param({"force": 1}, "force: must be true or false, not 1", id="force"),
        pytest.param({"alias": "12"}, "only digits", id="alias-digits"),
        pytest.param({"alias": "a/b"}, "alias: 'a/b' is not allowed", id="alias"),
        pytest.param({"alias": {"weight": 0.5}}, "alias: name: missing", id="alias-no-name"),
        pytest.param({"alias": {"name": "7", "weight": 0.5}}, "alias: name: '7' is only digits", id="alias-name"),
        pytest.param({"alias": {"name": "live"}}, "weight: must be a number above 0 and below 1", id="weight"),
        pytest.param({"alias": {"name": "a", "weight": 1}}, "not 1 (for all traffic write", id="weight-all"),
        pytest.param({"alias": {"name": "a", "weight": True}}, "not True", id="weight-true"),
        pytest.param({"alias": {"name": "a", "weight": float("nan")}}, "not nan", id="weight-nan"),
        pytest.param({"alias": {"name": "a", "weight": 0.5, "w": 1}}, "alias: w: unknown field", id="alias-field"),
        pytest.param({"alias": ["live"]}, "alias: must be a string, not a list", id="alias-list"),
        pytest.param({"build_id": "../x"}, "build_id: '../x' is not allowed", id="build-id"),
        pytest.param({"ref": "a\ud800"}, "ref: 'a\\ud800' contains half of a surrogate pair", id="ref-surrogate"),
        pytest.param({"path": "\udfff"}, "path: '\\udfff' contains half of a surrogate pair", id="path-surrogate"),
        pytest.param({"action": "biuld"}, "did you mean build?", id="action-typo"),
        pytest.param({"action": None}, "action: missing", id="no-action"),
        pytest.param({"action": 3}, "action: must be one of build", id="action-number"),
        pytest.param({"action": "setup now"}, "'setup now' is unknown", id="action-words"),
    ],
)  # fmt: skip
def test_one_mistake_is_one_problem_that_names_it(change: dict[str, object], words: str) -> None:
    assert words in only_problem({**BUILD, **change})


@pytest.mark.parametrize(
    ("typed", "means"),
    [("amd64", "x86_64"), ("x86_64", "x86_64"), ("arm64", "arm64"), ("aarch64", "arm64"), (None, None)],
)
def test_the_shape_of_archive_builds_is_a_request_to_package(typed: str | None, means: str | None) -> None:
    request = parse_event({"name": "thumbs", "architecture": typed, "archive": "UEs="})
    assert (request.action, request.function, request.architecture) == (Action.PACKAGE, "thumbs", means)
    assert request.source == ArchiveSource(content=b"PK")
    assert "UEs" not in repr(request)


def test_the_shape_of_archive_builds_is_told_its_mistakes_in_its_own_words() -> None:
    assert only_problem({"name": "a/b", "archive": "UEs="}).startswith("name: 'a/b' is not allowed")


def test_an_object_in_s3_is_a_source() -> None:
    event = {"action": "package", "function": "f", "source": {"bucket": "bkt", "key": "a/b.zip", "version_id": "7"}}
    assert parse_event(event).source == ObjectSource(bucket="bkt", key="a/b.zip", version_id="7")


def test_a_manifest_in_s3_is_a_source() -> None:
    event = {"action": "package", "function": "a", "source": {"bucket": "bkt", "manifest": "a/manifest.json"}}
    assert parse_event(event).source == ManifestSource(bucket="bkt", manifest="a/manifest.json")
    both = {**event, "source": {"bucket": "bkt", "manifest": "a", "key": "b"}}
    assert only_problem(both) == "source: key: given together with manifest; give one of them"
    hashed = {"bucket": "bkt", "manifest": "a", "sha256": "0f" * 32}
    assert parse_event({**event, "source": hashed}).source == ManifestSource(**hashed)
    assert only_problem({**event, "source": {**hashed, "sha256": "0F" * 32}}).endswith(
        "64 hexadecimal digits in lower case"
    )
    archive = {"bucket": "bkt", "key": "a", "sha256": "0f" * 32}
    assert only_problem({**event, "source": archive}) == "source: sha256: is for a manifest, but key names an archive"
    assert only_problem({**event, "source": {"bucket": "bkt"}}).startswith("source: key: missing")


def test_layers_from_elsewhere_are_named_to_package() -> None:
    event = {"action": "package", "function": "a", "repo": "a/b", "attached": ["shared"]}
    assert parse_event(event).attached == ("shared",)
    assert only_problem({**event, "attached": "shared"}).startswith("attached: must be a list of names")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"on_error": "rise"}, "on_error: 'rise' is unknown; did you mean raise?; it is one of reply, raise"),
        ({"text": "colour"}, "text: must be true or false, not 'colour'"),
        ({"reply": "all"}, "reply: must be a list of names"),
        ({"reply": ["x"] * 51}, "reply: 51 names; at most 50"),
        ({"tf": {"action": "destroy"}}, "tf: must be what Terraform makes it"),
    ],
)
def test_fields_of_other_tools_are_checked_like_all_others(change: dict[str, object], words: str) -> None:
    assert words in only_problem({**BUILD, **change})


def test_what_terraform_adds_is_understood() -> None:
    plain = parse_event(BUILD)
    for action in ("create", "update"):
        assert parse_event({**BUILD, "tf": {"action": action, "prev_input": {"action": "gone"}}}) == plain
    events: list[dict[str, object]] = [
        {**BUILD, "repo": 7},
        {"action": ["odd"]},
        {},
        {"action": "setup", "mistyped": 1},
    ]
    for event in events:
        request = parse_event({**event, "tf": {"action": "delete", "prev_input": None}})
        assert request.deleted
        assert request.action is (Action.SETUP if event.get("action") == "setup" else request.action)


def test_failures_are_raised_for_whoever_asks_also_with_an_event_that_is_wrong() -> None:
    assert raises({"on_error": "raise", "action": 1})
    third: dict[str, object] = {"name": "parcel", "architecture": "arm64", "archive": "%"}
    for event in (third, {**third, "on_error": None}, {**third, "architecture": "m68k", "tf": {"action": "create"}}):
        assert raises(event)
    others: list[object] = [{}, {"on_error": "reply"}, None, [], {"on_error": ["raise"]}]
    others += [{**third, "on_error": "reply"}, {**third, "action": "package"}, {"archive": "", "function": "x"}]
    assert not any(raises(event) for event in others)


def test_a_text_is_for_whoever_asks_for_it_even_where_the_rest_is_wrong() -> None:
    assert wants_text({"action": "ping", "text": True})
    assert wants_text({"action": 1, "text": "true"})
    assert wants_text({"action": 1, "text": "shell"})
    assert [wants_shell({"text": text}) for text in ("shell", "Shell", True, "true")] == [True, False, False, False]
    others: list[object] = [{}, {"text": False}, {"text": None}, {"text": "colour"}, [], None]
    assert not any(wants_text(event) for event in others)


def test_a_reply_has_what_was_asked_for_and_how_it_went() -> None:
    reply = {"statusCode": 200, "packages": [1], "seconds": 2}
    assert shortened(reply, {}) == reply
    assert shortened(reply, {"reply": ["packages", "none"]}) == {"statusCode": 200, "packages": [1]}


def test_fields_that_an_action_would_ignore_are_refused() -> None:
    assert only_problem({"action": "ping", "function": "x"}).startswith("function: does not apply to the action 'ping'")


@pytest.mark.parametrize("count", [0, 101, 1.5, True, "5"])
def test_count_is_a_number_of_builds(count: object) -> None:
    problem = only_problem({"action": "history", "function": "thumbs", "count": count})
    assert problem == f"count: must be a whole number from 1 to 100, not {count!r}"


def test_all_problems_come_together() -> None:
    found = problems({"action": "build", "repo": "x", "version": 1, "alias": "", "colour": "red"})
    assert sorted(problem.split(":")[0] for problem in found) == ["alias", "colour", "function", "repo", "version"]
    found = problems({**BUILD, "alias": {"name": "a/b", "weight": 2, "x": 1}, "by": "\0", "invoke": float("inf")})
    assert [problem.split(":")[0] for problem in found] == ["alias", "alias", "alias", "invoke", "by"]


@pytest.mark.parametrize("event", [None, [], "build", 5, True])
def test_an_event_that_is_no_object(event: object) -> None:
    assert "must be a JSON object" in only_problem(event)


@pytest.mark.parametrize(
    "repo",
    [
        "https://me:hunter2@github.com/a/b",
        "https://hunter2@github.com/a/b",
        "me:hunter2@github.com/a/b",
        "https://me:hun/ter2hunter2@github.com/a/b",
        "ssh://me:hunter2@github.com/a/b",
        "https://github.com/a/b?access_token=hunter2",
        "http://me:hunter2@github.com/a/b\n",
        "https://me:hunter2@[github.com/a/b",
        "git@hunter2@github.com:a/b",
        "ssh://host/a?token=hunter2",
    ],
)
def test_credentials_in_a_url_are_refused_and_never_repeated(repo: str) -> None:
    for event in ({**BUILD, "repo": repo}, {**BUILD, "repo": None, "repo_name": repo}):
        assert all("hunter2" not in problem for problem in problems(event))
    assert "hunter2" not in without_secrets(repo)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
every_field = sorted({field for fields in AVAILABLE.values() for field in fields})
field_names = st.sampled_from([*every_field, "action", "archive", "x"]) | st.text(max_size=12)
aliases = st.fixed_dictionaries(
    {}, optional={"name": st.sampled_from(["a", "1", 1]), "weight": st.floats() | st.integers(-1, 2) | st.booleans()}
)
interesting = (
    json_values
    | aliases
    | st.sampled_from([*Action, "build a b", "a/b", "main", "true", "f", "https://h/a/b", "a.yaml"])
)
# Most of them whole, so that what is accepted is met as often as what is refused.
whole = st.builds(
    lambda action, more: {"action": action, "function": "f", "repo": "a/b"} | more,
    st.sampled_from(["build", "plan"]),
    st.fixed_dictionaries({}, optional={"alias": aliases, "invoke": json_values, "by": st.text(max_size=130)}),
)


@given(st.dictionaries(field_names, interesting, max_size=8) | whole | json_values)
def test_any_json_is_a_request_or_an_explained_refusal(event: object) -> None:
    try:
        request = parse_event(event)  # type: ignore[arg-type]
    except InvalidEvent as error:
        json.dumps([error.message, *error.problems])
    else:
        assert not request.path.startswith("/")
        assert ".." not in request.path.split("/")
        if request.action in (Action.BUILD, Action.PLAN):
            assert request.function
            assert request.source
            if isinstance(request.source, GitSource):
                assert bool(request.source.repo) != bool(request.source.repo_name)
                assert request.source.ref is None or not request.source.ref.startswith("-")
        else:
            assert request.payload is None
        if request.action in (Action.HISTORY, Action.ROLLBACK, Action.VERIFY):
            assert request.function
        assert 1 <= request.count <= 100
        assert request.weight is None or (request.alias and 0 < request.weight < 1)
        assert request.payload is None or json.dumps(json.loads(request.payload), allow_nan=False)
        assert request.by is None or (request.by.isprintable() and len(request.by) <= 128)


@given(st.text(alphabet="ab./\\\0~\n", max_size=20))
def test_an_accepted_path_stays_inside(path: str) -> None:
    if path_problem(path) is None:
        clean = normalised(path)
        assert clean == normalised(clean)
        assert not {"", ".", ".."} & set(clean.split("/")) or clean == ""


@given(st.text(max_size=60))
def test_an_accepted_url_has_neither_user_nor_other_scheme(text: str) -> None:
    for url in (text, f"https://{text}", f"https://{text}/a/b"):
        if url_problem(url) is None:
            assert url.startswith(("https://", "http://127.", "http://localhost", "http://[::1]", "HTTP"))
            assert "@" not in url.split("/")[2]


@given(st.text(max_size=30))
def test_an_accepted_ref_is_no_option_and_no_pattern(ref: str) -> None:
    if ref and ref_problem(ref) is None:
        assert not ref.startswith("-")
        assert not set(ref) & set(" ~^:?*[\\\n\0")


def test_reading_an_event_needs_the_standard_library_only() -> None:
    """`ping` and `setup` must work on the starter layer."""
    code = "import sys; before = set(sys.modules); import builder.event.read; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    foreign = {name.split(".")[0] for name in loaded} - sys.stdlib_module_names - {"builder"}
    assert not foreign
