"""Many deploys at once, of one function and of many; and deploys that have nothing to do."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.conftest import Builder

MANY = 20


@pytest.fixture
def crowd(request: pytest.FixtureRequest) -> int:
    """How many deploys of one function: enough that most of them wait, and with `--everything` as many as of many."""
    return MANY if request.config.option.everything else MANY // 2


CODE = """
import json, os, pathlib
def handler(event, context):
    return [{mark}, json.loads(pathlib.Path("/opt/marks/mark.json").read_text()), int(os.environ["MARK"])]
"""


def content(runtime: str, mark: int) -> dict[str, str | None]:
    """A project that answers with the marks of its code, its layer and its configuration."""
    build_file = (
        f"function:\n  runtimes: [{runtime}]\n  handler: app.handler\n  files: [app.py]\n"
        f"  environment: {{MARK: '{mark}'}}\n"
        "layers:\n  marks:\n    files: [mark.json]\n    dest_dir: marks\n"
    )
    return {"build.yaml": build_file, "app.py": CODE.format(mark=mark), "mark.json": str(mark)}


def whole(mark: int) -> list[int]:
    return [mark] * 3


@contextmanager
def watched(builder: Builder, function: str, alias: str) -> Iterator[list[object]]:
    """What the alias answers while the block runs, again and again."""
    ended, answers = threading.Event(), list[object]()

    def watch() -> None:
        while not ended.wait(0.1):
            answer = builder.client("lambda").invoke(FunctionName=function, Qualifier=alias)
            answers.append(json.load(answer["Payload"]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield answers
    finally:
        ended.set()
        watcher.join()


def test_many_deploys_of_one_function_each_get_a_true_answer_and_none_is_seen_half(
    builder: Builder, crowd: int
) -> None:
    commits = [builder.forge.push("crowd", content(builder.runtime, mark)) for mark in range(6)]
    assert builder.build("crowd", alias="live", ref=commits[0])["statusCode"] == 200
    marks = [1 + number % 5 for number in range(crowd)]
    with watched(builder, "crowd", "live") as answers, ThreadPoolExecutor(crowd) as pool:
        replies = list(pool.map(lambda mark: builder.build("crowd", alias="live", ref=commits[mark]), marks))
    assert [reply["statusCode"] for reply in replies] == [200] * crowd, replies
    assert [reply["commit"] for reply in replies] == [commits[mark] for mark in marks]
    versions = {reply["function"]["version"]: mark for mark, reply in zip(marks, replies, strict=True)}
    for version, mark in versions.items():
        assert builder.invoke("crowd", Qualifier=version) == whole(mark)
    assert answers
    assert not [answer for answer in answers if answer not in [whole(mark) for mark in range(6)]]
    served = builder.client("lambda").get_alias(FunctionName="crowd", Name="live")["FunctionVersion"]
    assert builder.invoke("crowd", Qualifier="live") == whole(versions[served])
    layers = builder.client("lambda").list_layer_versions(LayerName="crowd--marks")["LayerVersions"]
    assert len(layers) == 6, "no layer is published twice"


def test_the_same_commit_many_times_is_published_once(builder: Builder, crowd: int) -> None:
    first, second = (builder.forge.push("echo", content(builder.runtime, mark)) for mark in (1, 2))
    assert builder.build("echo", alias="live", ref=first)["statusCode"] == 200
    with ThreadPoolExecutor(crowd) as pool:
        replies = list(pool.map(lambda _: builder.build("echo", alias="live", ref=second), range(crowd)))
    assert {(reply["statusCode"], reply["function"]["version"]) for reply in replies} == {(200, "2")}, replies
    assert sum(bool(reply["changed"]) for reply in replies) == 1
    assert builder.invoke("echo", Qualifier="live") == whole(2)


def test_twenty_functions_at_once_within_lambdas_rates(builder: Builder) -> None:
    builder.forge.push("team", content(builder.runtime, 7))
    names = [f"team-{number}" for number in range(MANY)]

    def deploy(name: str) -> dict[str, Any]:
        return builder.send({"action": "build", "function": name, "repo_name": "team", "alias": "live"})

    with builder.aws.rate_limits(), ThreadPoolExecutor(MANY) as pool:
        replies = list(pool.map(deploy, names))
    failed = [reply for reply in replies if reply["statusCode"] != 200]
    assert not failed, failed
    assert {tuple(builder.invoke(name, Qualifier="live")) for name in names} == {(7, 7, 7)}


def calls(builder: Builder, event: dict[str, object]) -> tuple[dict[str, Any], list[str]]:
    """The reply, and the calls that wrote something."""
    answer = builder.client("lambda").invoke(FunctionName=builder.name, Payload=json.dumps(event))
    reply = json.load(answer["Payload"])
    made = builder.aws.calls(request_id=answer["ResponseMetadata"]["RequestId"])
    assert made
    return reply, [f"{one['name']} {one['path']}" for one in made if one["writes"]]


def test_a_deploy_that_changes_nothing_writes_nothing(builder: Builder) -> None:
    commit = builder.forge.push("still", content(builder.runtime, 1))
    ways: list[dict[str, object]] = [{}, {"version": True}, {"alias": "live"}, {"alias": "live", "ref": commit}]
    for more in ways:
        assert builder.build("still", **more)["statusCode"] == 200
    for more in ways:
        reply, written = calls(builder, {"action": "build", "function": "still", "repo_name": "still", **more})
        assert (reply["statusCode"], reply["changed"]) == (200, []), reply
        assert written == [], more
    # A commit with the same content, and one that says the same in other words.
    for files in ({}, {"README.md": "unread"}):
        builder.forge.push("still", files)
        reply, written = calls(builder, {"action": "build", "function": "still", "repo_name": "still", "alias": "live"})
        assert (reply["statusCode"], reply["changed"]) == (200, []), reply
        assert written == [], files


def test_who_only_asks_writes_nothing(builder: Builder) -> None:
    builder.forge.push("asked", content(builder.runtime, 1))
    assert builder.build("asked", alias="live")["statusCode"] == 200
    builder.forge.push("asked", content(builder.runtime, 2))
    events: list[dict[str, object]] = [
        {"action": "plan", "function": "asked", "repo_name": "asked", "alias": "live"},
        {"action": "plan", "function": "asked-new", "repo_name": "asked"},
        {"action": "history", "function": "asked"},
        {"action": "status"},
    ]
    for event in events:
        reply, written = calls(builder, event)
        assert reply["statusCode"] == 200, reply
        assert written == [], event
