"""What a reply tells deploy.sh: lines of a name and a value, in characters that JSON leaves as they are."""

from __future__ import annotations

import json
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from builder.flow.report import texts
from builder.flow.shell import shell

PLACED = {
    "statusCode": 200,
    "commit": "4f3e",
    "artifacts": [
        {"name": "function", "sha256": "aa", "files": 1},
        {"name": "fonts", "sha256": "bb", "files": 3},
        {"name": "../x", "sha256": "cc", "files": 3},
        {"name": "nowhere", "sha256": "dd"},
    ],
    "packages": [{"name": name, "bucket": "b", "key": f"k/{name}.zip"} for name in ("function", "fonts", "../x")],
}


def told(reply: dict[str, object]) -> list[str]:
    """The lines without those for people."""
    return [
        line
        for line in unquote(shell(reply, texts(reply))).split("\n")
        if line.split(" ")[0] not in ("plain", "colour", "times")
    ]


def test_zips_are_told_by_the_place_that_they_get() -> None:
    """Only those whose names are components': a name becomes a path on the user's disk."""
    assert told(PLACED) == [
        "status 200",
        "commit 4f3e",
        "zip function.zip function aa b k/function.zip 1 file",
        "zip layers/fonts.zip fonts bb b k/fonts.zip 3 files",
    ]


def test_a_state_is_that_of_the_build_and_the_rest_its_reply() -> None:
    running = {"state": "running", "phase": "lock", "message": "a\nstatus 500"}
    assert told({"statusCode": 202, "build": running})[:3] == [
        "status 202",
        "state running",
        "progress lock: a\\x0astatus 500",
    ]
    ended = {"state": "failed", "reply": {"statusCode": 400, "error": {"code": "x_y"}}}
    assert told({"statusCode": 200, "build": ended}) == ["status 400", "code x_y", "state ended"]
    lost = {"state": "failed", "message": "killed"}
    assert told({"statusCode": 200, "build": lost}) == ["status 200", "state lost", "progress killed", "message killed"]


def test_what_people_read_is_the_same_text() -> None:
    reply: dict[str, object] = {
        "statusCode": 200,
        "function": {"name": "é %41"},
        "warnings": ['a\n\n"b\\'],
        "changed": [],
    }
    lines = unquote(shell(reply, texts(reply))).split("\n")
    for kind, text in (("plain", texts(reply)["plain"]), ("colour", texts(reply)["colour"])):
        assert "".join(f"{line.removeprefix(kind + ' ')}\n" for line in lines if line.startswith(f"{kind} ")) == text


@given(message=st.text(), state=st.sampled_from(["running", "failed"]))
def test_nothing_in_it_needs_escapes_and_no_value_becomes_a_line(message: str, state: str) -> None:
    reply: dict[str, object] = {"statusCode": 200, "build": {"state": state, "message": message}}
    said = shell(reply, texts(reply))
    assert json.dumps(said) == f'"{said}"'
    assert all(" " <= each <= "~" for each in said)
    names = [line.split(" ")[0] for line in unquote(said).split("\n")]
    assert names[:2] == ["status", "state"]
    assert set(names[2:]) <= {"progress", "message", "plain", "colour"}
