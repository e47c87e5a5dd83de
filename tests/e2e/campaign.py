"""The campaign of faults: what is tried, on which functions, and what came of it.

Every content that is deployed differs from the last in code, requirement and configuration, and a function answers with
the mark of each, so that a mixture shows. All points are tried side by side on a few functions: most of the time is
waiting, for retries of the SDK and for leases of builders that were killed.
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

from localaws.testing import Server
from tests.e2e.conftest import Builder, Forge
from tests.wheelhouse import make_wheel

REPOSITORY = "faults"
CONTENTS = 400
FUNCTIONS, UNALIASED = 8, 2
# Long enough for a loaded machine to renew in time, short enough to wait for after each kill.
LEASE_S = 4

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
    """A fault that a deploy is to meet: `at` the given one of the calls that read or write."""

    do: str
    calls: str
    at: int | None
    operation: str = "*"
    times: int | None = 1
    alias: str | None = "live"
    settle: bool = True
    """Whether the deploy is repeated without a fault. Not where the call had no effect and the builder lives: a kill at
    the same call leaves no more behind, and is followed by one."""
    lent: bool = False
    """Whether another function has the content before, so that its layer is borrowed."""

    def __str__(self) -> str:
        where = "every call" if self.at is None else f"call {self.at}"
        lent = ", borrowed" if self.lent else ""
        return f"{self.do} x{self.times or 'always'} at {where} that is {self.calls}, alias {self.alias}{lent}"


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
        if point.lent:
            lender, _ = self.deploy(f"lender-of-{subject.name}", new, None)
            assert lender is not None
            assert lender["statusCode"] == 200, lender
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


def try_everything(builder: Builder, forge: Forge, wheels: Path) -> Campaign:
    """Every point, tried. The builder's package index offers what is in the directory `wheels`."""
    for mark in range(CONTENTS):
        make_wheel(wheels, f"marker_{mark}", files={"marker.py": f"MARK = {mark}\n"})
    campaign = Campaign(builder=builder, commits=commits(forge.root / f"{REPOSITORY}.git", builder.runtime))
    points: queue.SimpleQueue[Point] = queue.SimpleQueue()
    unaliased: queue.SimpleQueue[Point] = queue.SimpleQueue()
    for point in all_points(*usual_calls(campaign)):
        (points if point.alias else unaliased).put(point)
    queues = [points] * FUNCTIONS + [unaliased] * UNALIASED
    with ThreadPoolExecutor(len(queues)) as pool:
        for worker in [pool.submit(campaign.work, one) for one in queues]:
            worker.result()
    return campaign


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
    # Between two writes all reads find the same: a kill before them is one after a write, which has been tried.
    for at in range(1, reads + 2, 6):
        yield Point(do="kill-before", calls="reading", at=at)
    for at in range(1, 6):  # what S3 is told does not change what runs
        yield Point(do="kill-after", calls="writing", at=at, operation="lambda:*", alias=None)
    for at in range(1, 4):  # one call less: the layer is there
        yield Point(do="kill-after", calls="writing", at=at, operation="lambda:*", alias=None, lent=True)
        yield Point(do="throttle", calls="writing", at=at, operation="lambda:*", alias=None, lent=True, times=None)
    for at in range(1, 5):
        yield Point(do="kill-after", calls="writing", at=at, operation="lambda:*", lent=True)
