"""Deploys that meet a fault at every call of AWS that they make, in turn: what is served stays whole, and the next
deploy finishes the work.

Every content differs from the last in code, requirement and configuration, and a function answers with the mark of
each, so that a mixture shows. All points of the campaign run first, side by side on a few functions: most of the time
is waiting, for retries of the SDK and for leases of builders that were killed. The tests then read what came of them.
"""

from __future__ import annotations

import itertools
import json
import queue
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from localaws.testing import Server, running
from tests.e2e.conftest import Builder, Forge, make_builder
from tests.index import serving
from tests.wheelhouse import make_wheel

REPOSITORY = "faults"
CONTENTS = 400
FUNCTIONS, UNALIASED = 8, 1
# Long enough for a loaded machine to renew in time, short enough to wait for after each kill.
LEASE_S = 4
PUBLISHING = ("lambda:PublishLayerVersion", "lambda:PublishVersion", "lambda:CreateFunction")

APP = """
import os
import marker
def handler(event, context):
    return [{mark}, marker.MARK, int(os.environ["MARK"])]
"""
# What costs time and calls nothing of AWS is left out.
BUILD_FILE = """
function:
  runtimes: [{runtime}]
  handler: app.handler
  files: [app.py]
  environment: {{MARK: "{mark}"}}
layers:
  dependencies: [requirements.txt]
bytecode: false
try: none
"""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A fault that a deploy is to meet: `at` the given one of the calls that read or write, see `localaws.faults`."""

    do: str
    calls: str
    at: int | None
    operation: str = "*"
    times: int | None = 1
    alias: str | None = "live"
    settle: bool = True
    """Whether the deploy is repeated without a fault. Not where the call had no effect and the builder lives: a kill at
    the same call leaves no more behind, and is followed by one."""

    def __str__(self) -> str:
        where = "every call" if self.at is None else f"call {self.at}"
        return f"{self.do} x{self.times or 'always'} at {where} that is {self.calls}, alias {self.alias}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a point: the builder's reply (None when it was killed), and what the function answered then, and
    after the next deploy, with that deploy's reply."""

    point: Point
    old: int
    new: int
    fired: int
    hit: str
    reply: Mapping[str, Any] | None
    moved: bool
    answer: object
    settled: Mapping[str, Any] | None = None
    settled_answer: object = None

    def told(self) -> str:
        return (
            f"{self.point}: {self.hit}: {self.old} → {self.new}: {self.answer} {self.reply and self.reply.get('error')}"
        )


@dataclass
class Subject:
    """A function that points are tried on, one after the other."""

    name: str
    content: int


@dataclass
class Campaign:
    """A builder, the contents that it deploys, and the functions."""

    builder: Builder
    commits: list[str]
    contents: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    names: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    lock: threading.Lock = field(default_factory=threading.Lock)
    outcomes: list[Outcome] = field(default_factory=list)
    faulty: set[str] = field(default_factory=set)
    """Request ids of the deploys that met a fault."""

    @property
    def aws(self) -> Server:
        return self.builder.aws

    def fresh(self) -> int:
        with self.lock:
            return next(self.contents)

    def deploy(self, subject: str, content: int, alias: str | None) -> tuple[Mapping[str, Any] | None, str]:
        """The builder's reply, None if it was killed, and the request id."""
        event = {"action": "build", "function": subject, "repo_name": REPOSITORY, "ref": self.commits[content]}
        answer = self.builder.client("lambda").invoke(
            FunctionName=self.builder.name, Payload=json.dumps(event | ({"alias": alias} if alias else {}))
        )
        reply = json.load(answer["Payload"])
        if "FunctionError" in answer:
            killed = reply["errorType"] == "Runtime.ExitError"
            reply = None if killed else {"statusCode": 500, "error": {"crash": reply}}
        return reply, answer["ResponseMetadata"]["RequestId"]

    def answer(self, subject: str, alias: str | None) -> object:
        """What the function says: its three marks, or its error."""
        answer = self.builder.client("lambda").invoke(FunctionName=subject, Qualifier=alias or "$LATEST")
        return json.load(answer["Payload"])

    def create(self) -> Subject:
        with self.lock:
            subject = Subject(f"faulty-{next(self.names)}", next(self.contents))
        reply, _ = self.deploy(subject.name, subject.content, "live")
        assert reply is not None
        assert reply["statusCode"] == 200, reply
        return subject

    def meet(self, subject: Subject, point: Point) -> None:
        """Try a point; the function has the new content afterwards, if the deploys did what they should."""
        old, new = subject.content, self.fresh()
        more = {"calls": point.calls, "at": point.at, "times": point.times, "operation": point.operation}
        with self.aws.fault(point.do, function=self.builder.name, event={"function": subject.name}, **more) as fault:
            reply, request_id = self.deploy(subject.name, new, point.alias)
        calls = self.aws.calls(request_id=request_id)
        last = answer = self.answer(subject.name, point.alias)
        settled = None
        if point.settle and (reply is None or reply["statusCode"] != 200):
            settled, _ = self.deploy(subject.name, new, point.alias)
            last = self.answer(subject.name, point.alias)
        outcome = Outcome(
            point=point,
            old=old,
            new=new,
            fired=fault.fired,
            hit=", ".join(sorted({f"{one['name']} {one['path']}" for one in calls if one["fault"]})[:3]),
            reply=reply,
            moved=any(one["name"] == "lambda:UpdateAlias" and one["status"] == 200 for one in calls),
            answer=answer,
            settled=settled,
            settled_answer=last,
        )
        with self.lock:
            self.outcomes.append(outcome)
            if fault.fired:
                self.faulty.add(request_id)
        if isinstance(last, list) and len(set(last)) == 1:
            subject.content = last[0]

    def work(self, points: queue.SimpleQueue[Point]) -> None:
        """Create a function and try points on it until none is left."""
        subject = self.create()
        while True:
            try:
                point = points.get_nowait()
            except queue.Empty:
                return
            self.meet(subject, point)


def commits(bare: Path, runtime: str) -> list[str]:
    """A commit for every content, made by one git, the first first; all on main."""
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True)
    stream = []
    for mark in range(CONTENTS):
        files = {
            "app.py": APP.format(mark=mark),
            "build.yaml": BUILD_FILE.format(mark=mark, runtime=runtime),
            "requirements.txt": f"marker-{mark}\n",
        }
        stream.append(
            f"commit refs/heads/main\nmark :{mark + 1}\ncommitter t <t@localhost> {1700000000 + mark} +0000\n"
        )
        stream.append("data 0\n")
        stream += [f"M 644 inline {name}\ndata {len(text)}\n{text}\n" for name, text in files.items()]
    marks = bare / "marks"
    command = ["git", "-C", str(bare), "fast-import", "--quiet", f"--export-marks={marks}"]
    subprocess.run(command, input="".join(stream), text=True, check=True)
    by_mark = dict(line.split() for line in marks.read_text().splitlines())
    return [by_mark[f":{mark + 1}"] for mark in range(CONTENTS)]


def set_variables(builder: Builder, **variables: str) -> None:
    """Add to the builder's environment, and wait until it has it."""
    client = builder.client("lambda")
    present = client.get_function(FunctionName=builder.name)["Configuration"]["Environment"]["Variables"]
    client.update_function_configuration(FunctionName=builder.name, Environment={"Variables": {**present, **variables}})
    client.get_waiter("function_updated_v2").wait(FunctionName=builder.name, WaiterConfig={"Delay": 0.1})


@pytest.fixture(scope="module")
def campaign(forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """Every point, tried."""
    wheels = tmp_path_factory.mktemp("wheels")
    with running(forward_network=True) as aws, serving(wheels) as index:
        if "isolation plain" in aws.ready_line:
            pytest.skip("functions read /opt, which needs the sandbox; install bubblewrap, and allow user namespaces")
        builder = make_builder(aws, forge, tmp_path_factory.mktemp("operator"))
        set_variables(builder, LAMBDASMITH_INDEX_URL=index.simple, LAMBDASMITH_LEASE_S=str(LEASE_S))
        for mark in range(CONTENTS):
            make_wheel(wheels, f"marker_{mark}", files={"marker.py": f"MARK = {mark}\n"})
        made = Campaign(builder=builder, commits=commits(forge.root / f"{REPOSITORY}.git", builder.runtime))
        points: queue.SimpleQueue[Point] = queue.SimpleQueue()
        unaliased: queue.SimpleQueue[Point] = queue.SimpleQueue()
        for point in all_points(*usual_calls(made)):
            (points if point.alias else unaliased).put(point)
        queues = [points] * FUNCTIONS + [unaliased] * UNALIASED
        with ThreadPoolExecutor(len(queues)) as pool:
            for worker in [pool.submit(made.work, one) for one in queues]:
                worker.result()
        yield made


def usual_calls(campaign: Campaign) -> tuple[int, int]:
    """How many calls of a deploy read and how many write."""
    subject = campaign.create()
    reply, request_id = campaign.deploy(subject.name, campaign.fresh(), "live")
    assert reply is not None
    assert reply["statusCode"] == 200, reply
    writes = Counter({one["number"]: one["writes"] for one in campaign.aws.calls(request_id=request_id)}.values())
    return writes[False], writes[True]


def all_points(reads: int, writes: int) -> Iterator[Point]:
    """What is tried, what waits longest first. One more than usual of each: progress is written by the clock."""
    for do in ("throttle", "fail", "drop"):
        yield Point(do=do, calls="reading" if do == "drop" else "all", at=None)
    for at in range(1, writes + 2):
        yield Point(do=("throttle", "fail")[at % 2], calls="writing", at=at, times=None, settle=False)
        yield Point(do="drop", calls="writing", at=at, times=None)
    for at in range(1, reads + 2):
        do = ("throttle", "fail", "drop")[at % 3]
        yield Point(do=do, calls="reading", at=at, times=None, settle=False)
    for at in range(1, writes + 2):
        yield Point(do="kill-before", calls="writing", at=at)
        yield Point(do="kill-after", calls="writing", at=at)
        yield Point(do="drop", calls="writing", at=at)
    for at in range(1, reads + 2):
        yield Point(do="kill-before", calls="reading", at=at)
    for at in range(1, 6):  # what S3 is told does not change what runs
        yield Point(do="kill-after", calls="writing", at=at, operation="lambda:*", alias=None)


def wrong(outcomes: list[Outcome], *why: str) -> str:
    return "\n".join([f"{len(outcomes)} wrong", *why, *(one.told() for one in outcomes)])


def kills(campaign: Campaign, alias: str | None) -> list[Outcome]:
    found = [one for one in campaign.outcomes if one.point.do.startswith("kill") and one.point.alias == alias]
    return [one for one in found if one.fired]


def whole(mark: int) -> list[int]:
    return [mark] * 3


def test_every_call_was_met(campaign: Campaign) -> None:
    """Else the rest shows nothing. A deploy may make one progress write less than the one that was counted."""
    missed = [one for one in campaign.outcomes if not one.fired and one.point.alias]
    assert len(kills(campaign, None)) >= 3
    assert len(campaign.outcomes) > 140
    assert all(one.reply is None for one in kills(campaign, "live"))
    last = {
        calls: max(one.point.at or 0 for one in campaign.outcomes if one.point.calls == calls)
        for calls in ("reading", "writing")
    }
    early = [one for one in missed if (one.point.at or 0) < last[one.point.calls] - 3]
    assert not early, wrong(early)


def test_killed_at_any_call_an_alias_answers_old_or_new(campaign: Campaign) -> None:
    bad = [one for one in kills(campaign, "live") if one.answer not in (whole(one.old), whole(one.new))]
    assert not bad, wrong(bad)


def test_without_an_alias_a_killed_deploy_leaves_what_runs(campaign: Campaign) -> None:
    """Layers and settings come before the code that may need them: each is old or new, and the code is never first."""
    bad = []
    for one in kills(campaign, None):
        code, layer, setting = one.answer if isinstance(one.answer, list) else (None, None, None)
        known = {code, layer, setting} <= {one.old, one.new}
        if not known or (code == one.new and (layer, setting) != (one.new, one.new)):
            bad.append(one)
    assert not bad, wrong(bad)


def test_the_deploy_after_a_kill_finishes_the_work(campaign: Campaign) -> None:
    found = kills(campaign, "live") + kills(campaign, None)
    bad = [
        one
        for one in found
        if one.settled is None or one.settled["statusCode"] != 200 or one.settled_answer != whole(one.new)
    ]
    assert not bad, wrong(bad, *(str(one.settled and one.settled.get("error")) for one in bad))


def test_what_aws_mends_by_itself_is_not_noticed(campaign: Campaign) -> None:
    found = [one for one in campaign.outcomes if one.point.at is None]
    assert len(found) == 3
    bad = [
        one
        for one in found
        if one.fired < 10 or not one.reply or one.reply["statusCode"] != 200 or one.answer != whole(one.new)
    ]
    assert not bad, wrong(bad)


def faults_of_aws(campaign: Campaign) -> list[Outcome]:
    return [one for one in campaign.outcomes if not one.point.do.startswith("kill") and one.fired]


def test_a_call_that_fails_for_good_ends_the_deploy_clearly_or_not_at_all(campaign: Campaign) -> None:
    bad = []
    for one in faults_of_aws(campaign):
        reply = one.reply or {}
        if reply.get("statusCode") == 200:
            well = one.answer == whole(one.new)
        else:
            error = reply.get("error") or {}
            well = error.get("retryable") is True and bool(error.get("message")) and bool(error.get("hint"))
        if not well:
            bad.append(one)
    assert not bad, wrong(bad)


def test_a_failed_deploy_leaves_the_alias(campaign: Campaign) -> None:
    """It has moved only if the call that moves it took effect and was not answered, or came before the fault."""
    failed = [one for one in faults_of_aws(campaign) if not one.reply or one.reply["statusCode"] != 200]
    bad = [one for one in failed if one.answer != whole(one.new if one.moved else one.old)]
    assert not bad, wrong(bad)


def test_the_deploy_after_a_failed_one_finishes_the_work(campaign: Campaign) -> None:
    found = [one for one in faults_of_aws(campaign) if one.settled is not None]
    bad = [one for one in found if (one.settled or {})["statusCode"] != 200 or one.settled_answer != whole(one.new)]
    assert not bad, wrong(bad, *(str(one.settled and one.settled.get("error")) for one in bad))


def test_only_deploys_that_met_a_fault_leave_anything_orphaned(campaign: Campaign) -> None:
    """Every version of a function or layer is attached, aliased or in a record, but for what a fault cut off."""
    client = campaign.builder.client("lambda")
    records = stored_records(campaign.builder)
    published = orphans = 0
    for function in [item["FunctionName"] for item in client.list_functions()["Functions"]]:
        if not function.startswith("faulty-"):
            continue
        versions = pages(client, "list_versions_by_function", "Versions", FunctionName=function)
        layers = pages(client, "list_layer_versions", "LayerVersions", LayerName=f"{function}-dependencies")
        aliased = {alias["FunctionVersion"] for alias in client.list_aliases(FunctionName=function)["Aliases"]}
        attached = {layer["Arn"] for version in versions for layer in version.get("Layers", [])}
        numbers = [version["Version"] for version in versions if version["Version"] != "$LATEST"]
        published += len(numbers) + len(layers)
        known = records.get(function, "")
        orphans += sum(number not in aliased and f'"version": "{number}"' not in known for number in numbers)
        orphans += sum(layer["LayerVersionArn"] not in attached for layer in layers)
    cut_off = [
        one
        for one in campaign.aws.calls(function=campaign.builder.name)
        if one["name"] in PUBLISHING and one["request_id"] in campaign.faulty and (one["status"] or 500) < 300
    ]
    print(f"{published} versions of functions and layers, {orphans} orphans, {len(cut_off)} of deploys with faults")
    assert published > 100
    assert orphans <= len(cut_off)


def pages(client: Any, operation: str, member: str, **arguments: str) -> list[dict[str, Any]]:
    return [item for page in client.get_paginator(operation).paginate(**arguments) for item in page[member]]


def stored_records(builder: Builder) -> dict[str, str]:
    """The text of all records, by function."""
    s3, variables = builder.client("s3"), builder.client("lambda").get_function(FunctionName=builder.name)
    bucket = variables["Configuration"]["Environment"]["Variables"]["LAMBDASMITH_BUCKET"]
    found: dict[str, str] = {}
    for item in pages(s3, "list_objects_v2", "Contents", Bucket=bucket):
        folder, _, function = item["Key"].rpartition("/")[0].rpartition("/")
        if folder.endswith("records"):
            found[function] = (
                found.get(function, "") + s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read().decode()
            )
    return found
