"""What replies say to people: a table of whole texts, and that no reply is too strange to be told."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.characters import hides
from builder.flow.report import explained, rendered, texts

COMMIT = "4f3e2d1c0b1a4f3e2d1c0b1a4f3e2d1c0b1a4f3e"
ARN = "arn:aws:lambda:us-east-1:123456789012"
DEPLOYED: dict[str, Any] = {
    "statusCode": 200,
    "commit": COMMIT,
    "ref": "refs/heads/main",
    "artifacts": [
        {"name": "function", "action": "build", "size": 12345},
        {"name": "dependencies", "action": "reuse", "size": 5200000},
        {"name": "phrases", "action": "build", "size": 215},
    ],
    "layers": [
        {"name": "dependencies", "arn": f"{ARN}:layer:d:3", "reused": True},
        {"name": "phrases", "arn": f"{ARN}:layer:p:1", "reused": False},
        {"name": "elsewhere", "arn": f"{ARN}:layer:e:9", "reused": True, "size": 999},
    ],
    "function": {
        "name": "orders",
        "arn": f"{ARN}:function:orders",
        "version": "7",
        "alias": "live",
        "weight": 0.1,
        "url": "https://x.lambda-url.us-east-1.on.aws/",
    },
    "pruned": [{"rule": "tests", "files": 40, "bytes": 90000}, {"rule": "docs", "files": 2, "bytes": 10}],
    "native_libraries": [
        {"component": "function", "library": "libpq.so.5", "from": "/usr/lib64/libpq.so.5", "size": 330000}
        | {"needed_by": ["bootstrap", "bin/dump"]},
        {"component": "function", "library": "libldap.so.2", "from": "/usr/lib64/libldap.so.2", "size": 400000}
        | {"needed_by": ["libpq.so.5"]},
    ],
    "changed": ["update the code of orders"],
    "phases": [{"name": "fetch", "seconds": 0.25}, {"name": "publish", "seconds": 0.5}],
    "seconds": 0.8,
    "warnings": ["handler: a \x1b[31mwarning\x1b[0m with “quotes”\x07"],
}
NOW = {"build_id": "b-3", "commit": COMMIT[::-1], "version": "3", "by": "ann@example.com", "age_seconds": 10805}
THEN = {"build_id": "b-1", "commit": COMMIT, "version": "1", "by": None, "age_seconds": 259200}
WAY = {"now": NOW, "then": THEN, "alias": "live", "differences": ["code", "layer dependencies", "MemorySize"]}
LAST = {
    "build_id": "b-9",
    "function": "orders",
    "state": "failed",
    "started": "2026-11-21T10:15:59Z",
    "ended": "2026-11-21T10:16:59Z",
    "seconds": 2.04,
    "by": "bob@host",
    "commit": COMMIT,
    "error": "x_y",
    "changed": [],
    "sizes": {"function": 200, "d": 5200000},
}
BACK = LAST | {"build_id": "back", "error": None, "state": "succeeded", "restored": "b-1", "by": None, "sizes": {}}
FAILED = {
    "code": "command_failed",
    "phase": "build",
    "message": 'preinstall "make data" failed\nin layers.x',
    "hint": "see its output\nand the log",
    "log_tail": ["first | line", "läst line"],
    "retryable": True,
    "problems": ["build.yaml:3: one", "in layers.x"],
}
OVERVIEW = {"statusCode": 200, "version": "1.2.3", "ready": False}
STORAGE = {"used_bytes": 4100000000, "limit_bytes": 80530636800, "ours_bytes": 1234567, "functions": 3}
PLAN = {
    "components": [
        {"name": "function", "action": "build", "why": "not built from these inputs before", "inputs": []},
        {"name": "dependencies", "action": "reuse", "why": "its inputs have not changed", "size": 999},
        {"name": "phrases", "action": "build", "why": "0.txt …", "inputs": [f"{i}.txt" for i in range(9)]},
    ],
    "publish": ["update the code of orders"],
    "configuration": [
        {"key": "Timeout", "now": 3, "then": 30, "by_hand": True},
        {"key": "VpcConfig", "now": None, "then": {"SubnetIds": ["a/b", "c"], "Ipv6": False}},
        {"key": "Layers", "now": [], "then": ["one", "two"]},
        {"key": "Description", "now": "", "then": "new"},
    ],
    "limits": {"unzipped": 48100000, "max_unzipped": 262144000, "layers": 2, "max_layers": 5, "complete": False},
    "alias": {"name": "live", "now": "6", "then": "a new version", "weight": 0.1},
}

TEXTS = {
    "deployed": (
        DEPLOYED,
        """\
deployed orders from commit 4f3e2d1c0b1a
  function      built, 12.3 kB
  dependencies  unchanged, 5.2 MB, arn:aws:lambda:us-east-1:123456789012:layer:d:3
  phrases       built, 215 B, new layer version arn:aws:lambda:us-east-1:123456789012:layer:p:1
  elsewhere     unchanged, 999 B, arn:aws:lambda:us-east-1:123456789012:layer:e:9
  version       7
  alias         live, 10 % of its traffic
  arn           arn:aws:lambda:us-east-1:123456789012:function:orders
  url           https://x.lambda-url.us-east-1.on.aws/
  pruned        42 files, 90.0 kB
  libraries     libpq.so.5 in function, 330.0 kB, for bootstrap and 1 more, from /usr/lib64/libpq.so.5
                libldap.so.2 in function, 400.0 kB, for libpq.so.5, from /usr/lib64/libldap.so.2
  changed
    update the code of orders
  warning: handler: a warning with “quotes”\\x07
""",
    ),
    "nothing changed": (
        {"commit": COMMIT, "ref": "", "function": None, "artifacts": [], "changed": []},
        "deployed asked from the files sent (tree 4f3e2d1c0b1a)\n  nothing had to be changed\n",
    ),
    "tried": (
        {"artifacts": [], "invoke": {"status": 200, "version": "7", "payload": {"ok": [1, "é \\ \n"]}}
         | {"log_tail": ["START", "END"]}},
        'deployed asked\n  invoked version 7, it answered\n    {"ok": [1, "é \\\\ \\n"]}\n'
        "  the end of its log\n    | START\n    | END\n",
    ),
    "tried at length": (
        {"artifacts": [], "invoke": {"status": 200, "version": "$LATEST", "payload": '["x' + "é" * 3000}
         | {"size": 700_000, "cut": True}},
        f'deployed asked\n  invoked $LATEST, it answered\n    ["x{"é" * 998} ... (700.0 kB in all)\n',
    ),
    "rolled back to files that were sent": (
        {"restored": "b-1", "rollback": {**WAY, "then": {**THEN, "ref": ""}, "differences": []}, "changed": ["x"]},
        "rolled back asked from build b-3 (commit e3f4a1b0c1d2, 3 h ago)"
        " to build b-1 (tree 4f3e2d1c0b1a, 3 days ago)\n  changed\n    x\n",
    ),
    "files that were sent, verified": (
        {"commit": COMMIT, "ref": "", "verify": {"same": True, "components": [
            {"name": "function", "deployed": "a" * 64, "rebuilt": "a" * 64, "same": True}]}},
        "asked is what tree 4f3e2d1c0b1a makes\n  component  deployed          rebuilt           outcome\n"
        "  function   aaaaaaaaaaaaaaaa  aaaaaaaaaaaaaaaa  same\n",
    ),
    "history of files that were sent": (
        {"history": [LAST | {"ref": ""}]},
        "deploys of asked, the newest first\n"
        "  when (UTC)        build  who       commit             outcome  size    took   changed\n"
        "  2026-11-21 10:15  b-9    bob@host  tree 4f3e2d1c0b1a  x_y      5.2 MB  2.0 s  nothing\n",
    ),
    "rolled back": (
        {"restored": "b-1", "rollback": WAY, "function": {"name": "orders"}, "changed": ["alias live: 3 -> 1"]},
        "rolled back orders from build b-3 (commit e3f4a1b0c1d2, 3 h ago)"
        " to build b-1 (commit 4f3e2d1c0b1a, 3 days ago)\n"
        "  differs       code, layer dependencies, MemorySize\n  changed\n    alias live: 3 -> 1\n",
    ),
    "there before": (
        {"restored": "b-3", "rollback": {**WAY, "then": NOW, "differences": []}, "changed": []},
        "asked was already at build b-3 (commit e3f4a1b0c1d2, 3 h ago)\n  nothing had to be changed\n",
    ),
    "the way back": (
        {"rollback": {**WAY, "steps": ["point alias live of orders at version 1"]}},
        """\
  now           build b-3 (commit e3f4a1b0c1d2, 3 h ago), version 3, by ann@example.com
  then          build b-1 (commit 4f3e2d1c0b1a, 3 days ago), version 1
  differs       code, layer dependencies, MemorySize
  alias         live
  would do
    point alias live of orders at version 1
""",
    ),
    "no way back": (
        {"rollback": {"now": {**NOW, "changed_since": True}, "then": NOW, "differences": [], "steps": []}},
        """\
  now           build b-3 (commit e3f4a1b0c1d2, 3 h ago), version 3, by ann@example.com, changed since by hand
  then          build b-3 (commit e3f4a1b0c1d2, 3 h ago), version 3, by ann@example.com
  differs       what was changed by hand
  nothing would be changed
""",
    ),
    "plan": (
        {"commit": COMMIT, "plan": PLAN, "artifacts": []},
        """\
plan for asked from commit 4f3e2d1c0b1a
  function      build (not built from these inputs before)
  dependencies  reuse, 999 B (its inputs have not changed)
  phrases       build (changed: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt, 5.txt and 3 more)
  unzipped      at least 48.1 MB of 262.1 MB (18 %)
  layers        2 of 5
  alias         live: 6 -> a new version, 10 % of its traffic
  publish
    update the code of orders
  configuration
    Timeout: 3 -> 30 (was changed by hand)
    VpcConfig: not set -> {"SubnetIds": ["a/b", "c"], "Ipv6": false}
    Layers: none -> one, two
    Description: empty -> new
""",
    ),
    "packaged": (
        {"commit": COMMIT, "packages": [], "artifacts": DEPLOYED["artifacts"][1:], "function": {"handler": "x"}},
        "packaged asked from commit 4f3e2d1c0b1a\n  dependencies  unchanged, 5.2 MB\n  phrases       built, 215 B\n",
    ),
    "history": (
        {"history": [BACK, LAST]},
        """\
deploys of asked, the newest first
  when (UTC)        build  who       commit        outcome      size    took   changed
  2026-11-21 10:15  back   -         4f3e2d1c0b1a  back to b-1  -       2.0 s  nothing
  2026-11-21 10:15  b-9    bob@host  4f3e2d1c0b1a  x_y          5.2 MB  2.0 s  nothing
""",
    ),
    "no history": ({"history": []}, "no deploys of asked are recorded\n"),
    "status": (
        {**OVERVIEW, "ready": True, "builds": [LAST], "storage": STORAGE | {"versions": 4, "layers": 5}},
        """\
  builder       1.2.3
  storage       4.1 GB of 80.5 GB (5 %) in this account and region
  ours          1.2 MB, zipped: 3 functions, 4 versions, 5 layer versions
the last builds
  when (UTC)        build  who       function  commit        took   outcome
  2026-11-21 10:16  b-9    bob@host  orders    4f3e2d1c0b1a  2.0 s  x_y
""",
    ),
    "status without builds": (
        {**OVERVIEW, "builds": [], "storage": {"problem": "not allowed"}},
        "  builder       1.2.3, not set up: python setup.py update\n  storage       not known: not allowed\n"
        "no builds are recorded\n",
    ),
    "status of one function at a time": (
        {**OVERVIEW, "ready": True},
        "  builder       1.2.3\n"
        "this builder lists the builds of one function at a time: deploy.sh --status -f NAME\n",
    ),
    "a build that goes on": (
        {"statusCode": 202, "build": {"build_id": "b-1", "state": "running", "phase": "lock", "message": "resolving"}},
        "build b-1 is running\n  phase         lock\n  message       resolving\n",
    ),
    "a build that has ended": (
        {"statusCode": 200, "build": {"function": "web", "reply": {"commit": COMMIT, "changed": []}}},
        "deployed web from commit 4f3e2d1c0b1a\n  nothing had to be changed\n",
    ),
    "a build that was killed": (
        {"build": {"build_id": "b-1", "state": "failed", "function": "web", "message": "it was stopped"}},
        "build b-1 failed\n  function      web\n  message       it was stopped\n",
    ),
    "verified": (
        {"commit": COMMIT, "verify": {"build": "b-1", "same": False, "components": [
            {"name": "function", "deployed": "a" * 64, "rebuilt": "a" * 64, "same": True},
            {"name": "dependencies", "deployed": "b" * 64, "rebuilt": None, "same": False},
        ]}},
        """\
asked is NOT what commit 4f3e2d1c0b1a makes (build b-1)
  component     deployed          rebuilt           outcome
  function      aaaaaaaaaaaaaaaa  aaaaaaaaaaaaaaaa  same
  dependencies  bbbbbbbbbbbbbbbb  -                 DIFFERENT
""",
    ),
    "failed": (
        {"statusCode": 400, "build_id": "b-1", "error": FAILED, "warnings": ["one"]},
        """\
build: preinstall "make data" failed
in layers.x
  - build.yaml:3: one
last lines of its output:
  | first | line
  | läst line
this may be temporary: try the same again
hint: see its output
and the log
(command_failed, build b-1)
  warning: one
""",
    ),
    "on a workstation": (
        {"runtime": "python3.13", "architecture": "x86_64", "seconds": 2.643, "files": {"function": "function.zip"}}
        | {"artifacts": [{"name": "function", "action": "build", "size": 353, "unzipped": 200, "files": 1}]},
        "built for python3.13 x86_64 in 2.643 s\n  function      built, 353 B, 200 B in 1 file, out/function.zip\n",
    ),
    "cache": (
        {"cache": {"place": "/home/zoe", "bytes": 3.8e6, "limit": 5e9, "cleared": False}
         | {"kinds": [{"kind": "store/artifacts", "bytes": 1100000, "files": 2}]}},
        "  store/artifacts    1.1 MB  2 files\n3.8 MB in /home/zoe, of at most 5.0 GB\n",
    ),
    "check": ({"build_file": "build.yaml", "components": ["function"]}, "build.yaml is valid; it makes function\n"),
    "set up": ({"layer": {"arn": f"{ARN}:layer:b:1", "reused": False}}, f"  layer         new, {ARN}:layer:b:1\n"),
    "removed": ({"statusCode": 200, "removed": ["one"]}, "  removed\n    one\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name: str) -> None:
    reply, told = TEXTS[name]
    text = rendered(reply, function="asked", out="out")
    assert text.plain == told
    assert re.sub(r"\x1b\[[0-9;]*m", "", text.colour) == told


def test_colours_are_where_eyes_should_go() -> None:
    colour = rendered(DEPLOYED).colour
    assert colour.startswith("\x1b[1mdeployed orders\x1b[0m from commit")
    assert "\x1b[32mbuilt\x1b[0m, 12.3 kB" in colour
    assert "\x1b[33mwarning:\x1b[0m handler: a warning" in colour
    assert "\x1b[1;31mbuild: preinstall" in explained(FAILED).colour


def test_times_are_told_apart() -> None:
    told = texts({"build": {"reply": DEPLOYED}})
    assert told["times"] == (
        "  times\n    fetch               0.25 s\n    publish             0.50 s\n    in the builder      0.80 s\n"
    )
    assert "fetch" not in told["plain"]
    assert texts({"statusCode": 200})["times"] == ""


def test_where_there_is_more_to_read() -> None:
    error = {"message": "no", "log_tail": "one\ntwo", "code": ""}
    assert explained(error, place="log group x").plain == (
        "no\nlast lines of its output:\n  | one\n  | two\n(log group x)\n"
    )


def test_a_text_has_bounds() -> None:
    """A reply with text still passes Lambda, whichever characters its lines have, and begins and ends as it should."""
    for line in ("x" * 70, "\u2028" * 50, "😀" * 70):
        told = texts({"changed": [line] * 50_000, "warnings": ["the last"]})
        assert len(json.dumps(told)) < 320_000
        assert told["plain"].startswith("deployed the function\n  changed\n")
        assert re.search(r"\n… [\d,]+ lines are left out here …\n", told["plain"])
        assert told["plain"].endswith("\n  warning: the last\n")


@pytest.mark.parametrize("letter", ["x", "é", "界", "😀", "\0"])
@pytest.mark.parametrize("tail", [[], ["😀" * 2_000] * 20, ["y"] * 200])
def test_an_error_of_any_length_keeps_its_beginning_its_hint_and_its_code(letter: str, tail: list[str]) -> None:
    error = FAILED | {
        "message": f"it failed: {letter * 30_000}, the end",
        "log_tail": tail,
        "problems": [letter * 2000],
    }
    for told in (explained(error | {"hint": "do it\nthen " + "é" * 300}, build_id="b-1"), explained(error)):
        assert len(json.dumps(told.colour)) < 160_000
        assert told.plain.startswith("build: it failed: ")
        assert told.plain.splitlines()[-1].startswith("(command_failed")
        assert "the end\n" in told.plain
    assert told.plain.endswith("hint: see its output\nand the log\n(command_failed)\n")
    if letter != "x":
        assert re.search(r" … \([\d,]+ characters are left out here\) … ", told.plain)


def test_a_hint_of_any_length_leaves_room_for_the_message() -> None:
    told = explained({"message": "no", "hint": "😀" * 20_000, "code": "x_y"}, build_id="b")
    assert told.plain.startswith("no\nhint: 😀")
    assert told.plain.endswith("😀\n(x_y, build b)\n")
    assert len(json.dumps(told.colour)) < 160_000


_ODD_NUMBERS = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan"), "10**400": 10**400}


@pytest.mark.parametrize("name", [*_ODD_NUMBERS, "10**5000"])
def test_odd_numbers_are_told(name: str) -> None:
    odd = _ODD_NUMBERS.get(name, 10**5000)
    size = {"name": "function", "action": "build", "size": odd, "files": odd, "bytes": odd, "unzipped": odd}
    for reply in (
        {"artifacts": [size], "pruned": [size], "seconds": odd, "phases": [{"name": "fetch", "seconds": odd}]},
        {"rollback": {**WAY, "then": {**THEN, "age_seconds": odd}}, "restored": "b-1"},
        {**OVERVIEW, "storage": {"used_bytes": odd, "limit_bytes": odd, "ours_bytes": odd, "functions": odd}},
        {"plan": {"limits": {"unzipped": odd, "max_unzipped": odd, "layers": odd}, "alias": {"name": "x"}}},
        {"artifacts": [], "invoke": {"status": 200, "payload": [odd], "size": odd}, "changed": [odd, {"a": odd}]},
    ):
        assert texts(reply)["plain"]


def test_a_payload_of_any_depth_is_told() -> None:
    deep: Any = []
    for _ in range(3_000):
        deep = [deep]
    told = texts({"artifacts": [], "invoke": {"status": 200, "payload": deep}, "changed": [deep]})["plain"]
    assert "nested too deeply to show" in told


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(list(_ODD_NUMBERS.values())) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
_NAMES = re.findall(r"[a-z]\w*", str([reply for reply, _ in TEXTS.values()]))
_MEMBERS = st.dictionaries(st.sampled_from(sorted(set(_NAMES))), _VALUES | st.lists(_VALUES, max_size=3), max_size=6)


@given(
    st.recursive(
        _MEMBERS,
        lambda inner: st.dictionaries(
            st.sampled_from(["plan", "verify", "error", "build", "reply", "rollback", "cache", "storage", "invoke"])
            | st.sampled_from(["history", "builds", "artifacts", "layers", "components", "pruned"]),
            inner | st.lists(inner, max_size=2),
        ),
    )
)
def test_no_reply_is_too_strange(reply: dict[str, object]) -> None:
    """Members that are unknown, missing or of other types; and nothing is told that a terminal would obey."""
    found = texts(reply)
    for told in (found["plain"], found["colour"], found["times"]):
        assert not [line for line in told.split("\n") if hides(re.sub(r"\x1b\[[0-9;]*m|\t", "", line))]


@pytest.mark.parametrize(("payload", "size"), [({"ok": True}, 26), ("café", 11), ("***", 25)])
def test_an_answer_that_is_there_whole_is_not_called_cut(payload: object, size: int) -> None:
    """Its size is what Lambda sent: with blanks and escapes, and before secrets were masked."""
    invoked = {"status": 200, "version": "7", "payload": payload, "size": size, "cut": False}
    assert "in all" not in texts({"statusCode": 200, "artifacts": [], "invoke": invoked})["plain"]
