"""What CloudFormation is answered, whatever happens."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.characters import visible_line
from builder.cloudformation.answer import MAX_BYTES, Reason, fitted
from builder.cloudformation.door import Answered, Door, answer
from builder.cloudformation.memory import Memory
from builder.cloudformation.request import StackRequest, event_of
from builder.errors import AwsUnavailable, InvalidEvent
from builder.event.read import parse_event
from builder.event.request import Action, ObjectSource, Request
from builder.replies.deploys import Error, PackageRow
from builder.replies.projects import FunctionRow
from builder.replies.reply import Reply
from builder.secrets.masking import Masker
from builder.store.directory import DirectoryStore

STACK = "arn:aws:cloudformation:us-east-1:123456789012:stack/shop/2f8a"
PACKAGED: Reply = {
    "statusCode": 200,
    "commit": "c0ffee",
    "packages": [
        {
            "name": "function",
            "kind": "function",
            "bucket": "b",
            "key": "artifacts/1.zip",
            "version_id": None,
            "code_sha256": "1=",
            "source_code_hash": "1=",
            "size": 1,
        }
    ],
}
LATE: Reply = {"statusCode": 504, "error": {"code": "out_of_time", "message": "stopped", "hint": "again"}}


@dataclass
class Receiver:
    """Where CloudFormation waits: takes PUTs, none if it is `denied`, else after so many connections that it ends
    without an answer (`drops`) and so many refusals."""

    url: str = ""
    drops: int = 0
    refusals: int = 0
    denied: bool = False
    answers: list[dict[str, Any]] = field(default_factory=list)
    content_types: list[str | None] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Put(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if receiver.drops:
                receiver.drops -= 1
                return
            status = 403 if receiver.denied else 503 if receiver.refusals else 200
            receiver.refusals = max(0, receiver.refusals - 1)
            if status == 200:
                receiver.answers.append(json.loads(body))
                receiver.content_types.append(self.headers["Content-Type"])
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Put) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        receiver.url = f"http://127.0.0.1:{server.server_port}"
        yield receiver
        server.shutdown()
        thread.join()


@dataclass
class World:
    """The door as the function has it, with a core that answers what it is told to."""

    receiver: Receiver
    folder: Path
    reply: Callable[[Mapping[str, object]], Reply] = lambda sent: PACKAGED
    now: float = 1000.0
    masker: Masker = field(default_factory=Masker)
    sent: list[Mapping[str, object]] = field(default_factory=list)
    handed: list[Mapping[str, object]] = field(default_factory=list)

    def answer(self, kind: str = "Create", **more: object) -> Answered:
        event: dict[str, object] = {
            "RequestType": kind,
            "ResponseURL": f"{self.receiver.url}/answer?X-Amz-Signature=very-secret-signature",
            "StackId": STACK,
            "RequestId": "r-1",
            "LogicalResourceId": "Build",
            "ResourceProperties": {"ServiceToken": "arn", "Function": "web", "Repo": "me/web", "Ref": "main"},
        }
        return answer(event | more, self._door())

    def _door(self) -> Door:
        def reply(sent: Mapping[str, object]) -> Reply:
            self.sent.append(sent)
            return self.reply(sent)

        return Door(
            reply=reply,
            again=self.handed.append,
            memory=lambda: Memory(DirectoryStore(self.folder)),
            masker=self.masker,
            endpoints=(self.receiver.url,),
            log_place="log group /aws/lambda/smith, request 1",
            clock=lambda: self.now,
        )


@pytest.fixture
def world(receiver: Receiver, tmp_path: Path) -> World:
    return World(receiver, tmp_path)


def test_an_answer_is_repeated_until_it_arrives_and_has_no_content_type(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.receiver.drops = world.receiver.refusals = 1
    with caplog.at_level(logging.INFO):
        assert world.answer()["custom_resource"] == "SUCCESS"
    [told] = world.receiver.answers
    assert told["PhysicalResourceId"] == "web"
    assert told["Data"] == {
        "Bucket": "b",
        "Key": "artifacts/1.zip",
        "CodeSha256": "1=",
        "SourceCodeHash": "1=",
        "CommitId": "c0ffee",
    }
    assert {told[name] for name in ("StackId", "RequestId", "LogicalResourceId")} == {STACK, "r-1", "Build"}
    assert world.receiver.content_types == [""]
    logged = "".join(repr(vars(record)) for record in caplog.records)
    assert "very-secret-signature" in logged, "urllib3 warns of the lost connection"
    assert "very-secret-signature" not in world.masker.mask(logged)
    world.receiver.denied = True
    with pytest.raises(AwsUnavailable, match="not answered: S3 says 403") as lost:
        world.answer(RequestId="r-2")
    assert "very-secret-signature" not in str(lost.value)


def test_a_mistake_of_ours_is_answered_before_it_is_raised(world: World) -> None:
    def reply(sent: Mapping[str, object]) -> Reply:
        raise ZeroDivisionError("secret detail")

    world.reply = reply
    with pytest.raises(ZeroDivisionError):
        world.answer("Update", PhysicalResourceId="web-before")
    [told] = world.receiver.answers
    assert (told["Status"], told["PhysicalResourceId"]) == ("FAILED", "web-before")
    assert "internal error (ZeroDivisionError)" in told["Reason"]
    assert "log group /aws/lambda/smith" in told["Reason"]


@pytest.mark.parametrize("properties", [{}, {"Function": ["?"]}, {"Action": "ping"}, "none"])
def test_a_delete_succeeds_whatever_it_is_for_and_does_nothing(world: World, properties: object) -> None:
    world.answer("Delete", ResourceProperties=properties, PhysicalResourceId="nobody-knows-it")
    world.answer("Delete", ResourceProperties=properties)
    assert [told["Status"] for told in world.receiver.answers] == ["SUCCESS", "SUCCESS"]
    assert world.receiver.answers[0]["PhysicalResourceId"] == "nobody-knows-it"
    assert world.receiver.answers[1]["PhysicalResourceId"]
    assert world.sent == []


@pytest.mark.parametrize(
    "url",
    [
        "https://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/arn?X-Amz-Signature=1",
        "https://cloudformation-custom-resource-response-euwest3.s3.eu-west-3.amazonaws.com/arn?X=1",
        "https://cloudformation-custom-resource-response-uswest2.s3-us-west-2.amazonaws.com/arn?X=1",
        "https://s3.cn-north-1.amazonaws.com.cn/cloudformation-custom-resource-response-cnnorth1/arn?X=1",
    ],
)
def test_s3_may_be_answered(url: str) -> None:
    assert parsed(ResponseURL=url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://bucket.s3.amazonaws.com/arn",
        "https://bucket.s3.amazonaws.com:8443/arn",
        "https://user@bucket.s3.amazonaws.com/arn",
        "https://s3.amazonaws.com.example.com/arn",
        "https://examples3.amazonaws.com/arn",
        "https://evil.execute-api.us-east-1.amazonaws.com/arn",
        "https://evil.lambda-url.us-east-1.on.aws/",
        "http://169.254.169.254/latest",
        "http://127.0.0.1:1/other-port",
        "no url",
    ],
)
def test_nobody_else_is_answered(world: World, url: str) -> None:
    with pytest.raises(InvalidEvent, match="is not a host of S3"):
        world.answer(ResponseURL=url)
    assert world.sent == []


def parsed(**more: object) -> StackRequest:
    event: dict[str, object] = {
        "RequestType": "Create",
        "ResponseURL": "https://b.s3.amazonaws.com/",
        "StackId": STACK,
        "RequestId": "r-1",
        "LogicalResourceId": "Build",
    }
    return StackRequest.parse(event | more, endpoints=(), now=1000.0)


def test_properties_are_read_as_cloudformation_writes_them() -> None:
    def request(**properties: object) -> Request:
        return parse_event(event_of(parsed(ResourceProperties={"ServiceToken": "t", "Trigger": "7", **properties})))

    source = {"Bucket": "assets", "Key": "a.zip", "VersionId": ""}
    found = request(Function="web", Source=source, BuildFile="other.yaml", Path="", Force="true", Architecture="arm64")
    assert found == Request(
        action=Action.PACKAGE,
        function="web",
        source=ObjectSource(bucket="assets", key="a.zip"),
        build_file="other.yaml",
        force=True,
        architecture="arm64",
        by="CloudFormation, shop",
        build_id="r-1",
    )
    found = request(
        Action="build",
        function="web",
        repo_name="web",
        Components=["function"],
        Alias={"Name": "live", "Weight": "0.1"},
        Invoke='{"n": 5}',
        Version="false",
    )
    assert (found.alias, found.weight, found.payload) == ("live", 0.1, '{"n": 5}')
    assert (found.components, found.version) == (("function",), False)
    with pytest.raises(InvalidEvent) as wrong:
        request(Action="rollback", Function="web", function="web", BuildId="mine")
    assert len(wrong.value.problems) == 3


_READABLE = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=400).map(visible_line)


@given(st.text(max_size=6000), _READABLE, st.text(max_size=6000), st.integers(0, 3000))
def test_every_reason_fits_and_says_what_to_do(message: str, hint: str, tail: str, used: int) -> None:
    why = Reason(message=message, hint=hint, tail=tail, place="log group /aws/lambda/smith, request 1")
    body = fitted({"Status": "FAILED", "Data": {"x": "y" * used}}, why)
    assert len(body) <= MAX_BYTES
    told = json.loads(body)["Reason"]
    assert told == why.text() or len(body) > MAX_BYTES - 250, "no more is cut than has to be"
    room = MAX_BYTES - used
    if room > 6 * (len(hint) + 40) + 300:  # as JSON may write it
        assert f"hint: {hint}" in told or not hint
        assert told.endswith("(log group /aws/lambda/smith, request 1)")
        assert told[:20] == why.text()[:20]


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        ({"hint": "write a number"}, "write a number"),
        ({"retryable": True}, "this may be temporary: deploy the stack again"),
        ({"hint": ""}, "docs/reference.md#errors says what build_failed means"),
    ],
)
def test_every_reason_has_a_hint(world: World, error: Any, hint: str) -> None:
    failed: Error = {"code": "build_failed", "message": "no"}
    failed |= error
    world.reply = lambda sent: {"statusCode": 400, "error": failed}
    world.answer()
    assert world.receiver.answers[0]["Reason"] == f"no\nhint: {hint}\n(log group /aws/lambda/smith, request 1)"


def test_what_a_tool_said_is_cut_before_the_message() -> None:
    why = Reason(message="m" * 2000, hint="do this", tail="start" + "t" * 3000 + "end", place="log")
    told = json.loads(fitted({}, why))["Reason"]
    assert told.startswith("m" * 2000 + "\nlast lines of its output:\n  | start")
    assert told.endswith("tend\nhint: do this\n(log)")
    told = json.loads(fitted({}, replace(why, message="m" * 9000 + "!")))["Reason"]
    assert "m!\nhint: do this\n(log)" in told


@pytest.mark.parametrize("room", [40, 150, 600, 3000])
def test_a_reason_cut_to_any_size_begins_with_the_message(room: int) -> None:
    """However long the hint is: only the message says what failed."""
    message = "the repository is not there"
    for tail in ("", "tool " * 2000):
        told = Reason(message=message, hint="write this " * 900, tail=tail, place="log group").within(room)
        assert told.startswith(message if room > 100 else message[:5])
        assert len(json.dumps(told)) <= room + 40
        assert "does not say why" not in told
        if room >= 150:
            assert "\nhint: write this" in told
            assert told.endswith("\n(log group)")


def test_what_does_not_fit_fails_readably(world: World) -> None:
    layers: list[PackageRow] = [
        {**PACKAGED["packages"][0], "name": f"layer-{n}", "kind": "layer", "key": "k" * 70, "version_id": "v" * 32}
        for n in range(40)
    ]
    world.reply = lambda sent: {**PACKAGED, "packages": layers}
    world.answer()
    assert world.receiver.answers[0]["Status"] == "FAILED"
    assert "more than the 4,096 that CloudFormation takes" in world.receiver.answers[0]["Reason"]


def packaged_project(count: int) -> Reply:
    function = PACKAGED["packages"][0]
    layer: PackageRow = {**function, "name": "common", "kind": "layer", "key": "c" * 90}
    rows: list[FunctionRow] = [
        {
            "key": f"api-{n}",
            "name": f"shop-api-{n}",
            "status": "packaged",
            "changed": [],
            "build_id": None,
            "packages": [{**function, "key": "k" * 90}, layer],
        }
        for n in range(count)
    ]
    return {"statusCode": 200, "commit": "c0ffee", "functions": rows}


def test_functions_of_a_project_are_told_one_by_one_as_long_as_they_fit(world: World) -> None:
    world.reply = lambda sent: packaged_project(6)
    properties = {"Project": "shop", "Repo": "me/shop", "Ref": "main"}
    world.answer(ResourceProperties=properties)
    told = world.receiver.answers[0]
    assert told["PhysicalResourceId"] == "shop"
    assert told["Data"]["Functions.api-5.Key"] == "k" * 90
    assert told["Data"]["Functions.api-0.Layers.common.Key"] == "c" * 90
    assert told["Data"]["Functions.api-0.Timeout"] == "3"
    assert told["Data"]["Bucket"] == "b"

    world.reply = lambda sent: packaged_project(20)
    world.answer(RequestId="r-2", ResourceProperties={**properties, "Trigger": "2"})
    assert world.receiver.answers[1]["Status"] == "FAILED"
    assert "name some of the functions or layers in Components" in world.receiver.answers[1]["Reason"]


def test_who_runs_out_of_time_hands_over_as_long_as_that_gets_anywhere(world: World) -> None:
    world.reply = lambda sent: LATE
    assert world.answer()["statusCode"] == 202
    assert world.receiver.answers == []
    [second] = world.handed
    assert second["LambdasmithAttempt"] == {"number": 2, "until": 1000.0 + 3600}

    world.reply = lambda sent: {**LATE, "stored": 3}
    world.answer(**second)  # type: ignore[arg-type]
    assert world.sent[-1]["build_id"] == "r-1.2"
    third = world.handed[-1]
    world.reply = lambda sent: {**LATE, "stored": 0}
    world.answer(**third)  # type: ignore[arg-type]
    assert len(world.handed) == 2
    assert "3 invocations have worked on it, and the last one got no further" in world.receiver.answers[-1]["Reason"]
    assert "raise the builder's memory" in world.receiver.answers[-1]["Reason"]

    world.reply = lambda sent: {**LATE, "stored": 3}
    world.answer(LambdasmithAttempt={"number": 12, "until": 9999.0})
    world.answer(LambdasmithAttempt={"number": 2, "until": 999.0})
    assert len(world.handed) == 2
    assert len(world.receiver.answers) == 3


def test_a_request_that_arrives_twice_is_built_once_and_answered_twice(world: World) -> None:
    world.answer()
    world.answer()
    assert len(world.sent) == 1
    assert world.receiver.answers[0] == world.receiver.answers[1]
    # While another invocation works on it, that one answers.
    world.reply = lambda sent: {
        "statusCode": 202,
        "build": {"build_id": "r-2", "function": "web", "state": "running"},
    }
    world.answer(RequestId="r-2")
    assert len(world.receiver.answers) == 2


def test_going_back_gives_what_was_given_before_for_an_hour(world: World) -> None:
    old = {"Function": "web", "Repo": "me/web", "Ref": "main", "Trigger": "1"}
    new = old | {"Trigger": "2"}

    def update(request_id: str, wanted: object, before: object, commit: str) -> tuple[int, str]:
        world.reply = lambda sent: {**PACKAGED, "commit": commit}
        built = len(world.sent)
        world.answer("Update", RequestId=request_id, ResourceProperties=wanted, OldResourceProperties=before)
        return len(world.sent) - built, world.receiver.answers[-1]["Data"]["CommitId"]

    world.answer(ResourceProperties=old)
    assert update("u1", new, old, "second") == (1, "second")
    assert update("u2", old, new, "third") == (0, "c0ffee"), "something else has failed"
    assert update("u3", new, old, "fourth") == (1, "fourth"), "tried once more"
    world.now += 3601
    assert update("u4", old, new, "fifth") == (1, "fifth"), "changed back by somebody"
    world.reply = lambda sent: {"statusCode": 400, "error": {"code": "build_failed", "message": "no", "hint": ""}}
    world.answer("Update", RequestId="u5", ResourceProperties=new, OldResourceProperties=old)
    assert world.receiver.answers[-1]["Status"] == "FAILED"
    world.now += 7200
    assert update("u6", old, new, "sixth") == (0, "fifth"), "the update itself has failed"
    # What the builder deploys by itself is deployed again, at the commit of then.
    deploys = old | {"Action": "build"}
    assert update("u7", deploys, old, "seventh") == (1, "seventh")
    assert update("u8", deploys | {"Ref": "next"}, deploys, "eighth") == (1, "eighth")
    update("u9", deploys, deploys | {"Ref": "next"}, "seventh")
    assert world.sent[-1]["ref"] == "seventh"


def test_a_damaged_memory_stops_an_update_and_nothing_else(world: World) -> None:
    world.answer()
    (kept,) = (world.folder / "stacks").iterdir()
    for damage in (b"{}", kept.read_bytes()[:-9], b""):
        kept.write_bytes(damage)
        sent = len(world.sent)
        world.answer("Update", RequestId="r-2", OldResourceProperties={}, PhysicalResourceId="web")
        told = world.receiver.answers[-1]
        assert told["Status"] == "FAILED"
        assert f"{kept} is damaged" in told["Reason"]
        assert "delete it, and update the stack again" in told["Reason"]
        assert len(world.sent) == sent, "it may be a rollback: nothing is built for it"
        world.answer("Delete", RequestId="r-3", PhysicalResourceId="web")
        assert world.receiver.answers[-1]["Status"] == "SUCCESS"
    world.answer(RequestId="r-4")
    assert world.receiver.answers[-1]["Status"] == "SUCCESS"
    world.answer("Update", RequestId="r-5", OldResourceProperties={}, PhysicalResourceId="web")
    assert world.receiver.answers[-1]["Status"] == "SUCCESS"
