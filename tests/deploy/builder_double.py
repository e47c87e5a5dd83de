"""A Lambda function that answers as the builder does, by scenario, and keeps what it was sent.

The scenario is the name of the function or project to deploy. It runs as a real function of the embedded AWS, with the
runtime's boto3 and the builder's own way to say replies.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
import zipfile
from typing import Any

import boto3

from builder.flow.report import texts
from builder.flow.shell import shell

S3 = boto3.client("s3")
BUCKET = os.environ["BUCKET"]

SUCCESS = {
    "statusCode": 200,
    "commit": "4f3e2d1c0b1a4f3e2d1c0b1a4f3e2d1c0b1a4f3e",
    "ref": "refs/heads/main",
    "artifacts": [
        {"name": "function", "kind": "function", "action": "build", "why": "new", "size": 12345},
        {"name": "dependencies", "kind": "python", "action": "reuse", "why": "same", "size": 5200000},
    ],
    "native_libraries": [
        {
            "component": "function",
            "library": "libpq.so.5",
            "from": "/usr/lib64/libpq.so.5",
            "size": 330000,
            "needed_by": ["bootstrap", "bin/dump"],
        },
        {
            "component": "function",
            "library": "libldap.so.2",
            "from": "/usr/lib64/libldap.so.2",
            "size": 400000,
            "needed_by": ["libpq.so.5"],
        },
    ],
    "pruned": [{"rule": "tests", "files": 40, "bytes": 90000}],
    "function": {"name": "orders", "arn": "arn:aws:lambda:us-east-1:123456789012:function:orders", "version": "7"},
    "layers": [{"name": "dependencies", "arn": "arn:aws:lambda:us-east-1:123456789012:layer:d:3", "reused": True}],
    "changed": ["update the code of orders"],
    "phases": [{"name": "fetch", "seconds": 0.25}, {"name": "publish", "seconds": 0.5}],
    "seconds": 0.75,
    "warnings": ["handler: a \x1b[31mwarning\x1b[0m with “quotes”"],
}
REFUSAL = {
    "statusCode": 400,
    "build_id": "b-1",
    "error": {
        "code": "command_failed",
        "phase": "build",
        "message": 'preinstall "make\tdata" failed',
        "hint": "see \\its\\ output",
        "log_tail": ["first | line", "läst line"],
        "retryable": False,
        "problems": ["build.yaml:3: one", "build.yaml:9: two"],
    },
}
PLAN = {
    "statusCode": 200,
    "commit": "4f3e2d1c0b1a4f3e2d1c0b1a4f3e2d1c0b1a4f3e",
    "plan": {
        "components": [
            {"name": "function", "kind": "function", "action": "build", "why": "not built from these inputs before"},
            {"name": "dependencies", "action": "reuse", "why": ["its inputs have not changed"], "size": 999},
            {
                "name": "phrases",
                "action": "build",
                "why": "phrases/0.txt …",
                "inputs": [f"phrases/{i}.txt" for i in range(9)],
            },
        ],
        "publish": ["update the code of orders", {"step": "unheard of"}],
        "configuration": [
            {"key": "Timeout", "now": 3, "then": 30, "by_hand": True},
            {"key": "VpcConfig", "now": None, "then": {"SubnetIds": ["a/b", "c"], "Ipv6": False}, "unknown": [[]]},
            {"key": "Layers", "now": [], "then": ["one", "two"]},
        ],
        "limits": {"unzipped": 48100000, "max_unzipped": 262144000, "layers": 2, "max_layers": 5, "complete": False},
        "alias": {"name": "live", "now": "6", "then": "a new version", "weight": 0.1},
        "unknown": {"members": [{"do": None}, 'no "harm"']},
    },
    "phases": [],
    "warnings": [],
}


HISTORY = [
    {
        "build_id": "b-3",
        "action": "rollback",
        "state": "succeeded",
        "started": "2026-11-21T10:15:59Z",
        "seconds": 0.31,
        "by": "ann@example.com",
        "commit": "1111111111112222",
        "restored": "b-1",
        "changed": ["alias live: 3 -> 1"],
    },
    {
        "build_id": "b-2-longer",
        "state": "failed",
        "started": "2026-11-20T09:00:00Z",
        "seconds": 12,
        "by": None,
        "commit": None,
        "error": "import_failed",
        "changed": [],
        "sizes": {},
        "unknown": [{}],
    },
    {
        "build_id": "b-1",
        "state": "succeeded",
        "started": "2026-11-19T23:59:59Z",
        "seconds": 1.26,
        "by": "bob@host",
        "commit": "3333333333334444",
        "changed": ["layer d:1", "code", "alias", "tags"],
        "sizes": {"function": 200, "d": 5200000},
        "error": None,
    },
]
RECENT = {
    "statusCode": 200,
    "version": "1.2.3",
    "ready": True,
    "builds": [
        {
            "build_id": "b-9",
            "function": "orders",
            "state": "failed",
            "ended": "2026-11-21T10:15:59Z",
            "seconds": 2.04,
            "by": "bob@host",
            "error": "x_y",
        }
    ],
    "storage": {
        "used_bytes": 4100000000,
        "limit_bytes": 80530636800,
        "ours_bytes": 1234567,
        "functions": 3,
        "versions": 4,
        "layers": 5,
    },
}
VERIFIED: dict[str, Any] = {
    "statusCode": 200,
    "commit": "4f3e2d1c0b1a4f3e2d1c0b1a4f3e2d1c0b1a4f3e",
    "verify": {
        "build": "b-1",
        "same": False,
        "components": [
            {"name": "function", "deployed": "a" * 64, "rebuilt": "a" * 64, "same": True},
            {"name": "dependencies", "deployed": "b" * 64, "rebuilt": "c" * 64, "same": False},
        ],
    },
}
TRIED = {"status": 200, "version": "7", "payload": {"ok": [1, "é \\ \n"]}, "error": None, "log_tail": ["START", "END"]}
LONG = TRIED | {"version": "$LATEST", "payload": '["x' + "é" * 3000, "size": 700_000, "cut": True}
INVALID = {"statusCode": 400, "error": {"code": "invalid_event", "message": "alias: is only digits", "hint": "fix it"}}
OLDER = {
    "statusCode": 400,
    "error": {"code": "invalid_event", "message": "the request is not valid: text: unknown field", "hint": "fix it"},
}
CRASHED = {
    "statusCode": 400,
    "error": {
        "code": "invoke_failed",
        "message": "orders: version 7 returned an error for the payload (Unhandled): {}",
        "log_tail": ["KeyError: 'x'"],
    },
}
BUSY = {
    "statusCode": 409,
    "error": {
        "code": "function_busy",
        "message": "orders is being deployed by ann@example.com (build b-7)",
        "hint": "wait for it: deploy.sh --status b-7",
        "retryable": True,
    },
}


def _put(key: str, value: object) -> None:
    S3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(value).encode())


def _state(build_id: str) -> dict[str, Any] | None:
    found = S3.list_objects_v2(Bucket=BUCKET, Prefix=f"builds/{build_id}").get("Contents")
    return json.loads(S3.get_object(Bucket=BUCKET, Key=f"builds/{build_id}")["Body"].read()) if found else None


def _slowly(build_id: str, seconds: float, reply: dict[str, Any]) -> dict[str, Any]:
    """Builds once per build id, telling its phases as the builder does."""
    present = _state(build_id)
    if present is not None:
        return present.get("reply") or {"statusCode": 202, "build": present}
    for phase, message in (("lock", "resolving 4 requirements"), ("build", 'compiling "néw"')):
        build = {"build_id": build_id, "state": "running", "phase": phase, "message": message, "seconds": 1.0}
        _put(f"builds/{build_id}", build)
        time.sleep(seconds / 2)
    _put(f"builds/{build_id}", {"build_id": build_id, "state": "succeeded", "phases": [], "reply": reply})
    return reply


def _spread(build_id: str) -> dict[str, Any]:
    """A build that an execution of Step Functions goes on with, until someone stops it."""
    present = _state(build_id)
    if present is None:
        build = {"build_id": build_id, "state": "running", "phase": "make", "message": "1 of 3 parts are made"}
        present = {**build, "execution": "arn:aws:states:us-east-1:123456789012:execution:lambdasmith-fan-out:b"}
        _put(f"builds/{build_id}", present)
    return {"statusCode": 202, "build": present}


def _stopped(event: dict[str, Any]) -> dict[str, Any]:
    error = {"code": "build_stopped", "message": "the build was stopped"}
    build = {"build_id": event["build_id"], "state": "failed", "reply": {"statusCode": 409, "error": error}}
    _put(f"builds/{event['build_id']}", build)
    return {"statusCode": 200, "build": build}


def _until_released(build_id: str, reply: dict[str, Any]) -> dict[str, Any]:
    """A build that lasts for as long as the test wants it to."""
    build = {"build_id": build_id, "state": "running", "phase": "build", "message": "compiling", "seconds": 1.0}
    _put(f"builds/{build_id}", build)
    for _ in range(1200):
        if S3.list_objects_v2(Bucket=BUCKET, Prefix=f"released/{build_id}").get("Contents"):
            break
        time.sleep(0.1)
    _put(f"builds/{build_id}", {"build_id": build_id, "state": "succeeded", "reply": reply})
    return reply


def _zipped(name: str) -> bytes:
    """An artifact with a file that is executable, and two that are not; the latter says whose it is."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, mode in (("app.py", 0o644), ("bin/run", 0o755), (f"{name}/who", 0o644)):
            info = zipfile.ZipInfo(path)
            info.external_attr = (0o100000 | mode) << 16
            archive.writestr(info, f"# {name}\n")
    return out.getvalue()


def _packaged(event: dict[str, Any]) -> dict[str, Any]:
    """Really in the bucket; of `lost` nothing, and of `spoilt` something else. `shop` has two functions."""
    reply: dict[str, Any] = {"statusCode": 200, "commit": "4" * 40}
    if event["function"] == "shop":
        wanted = event.get("components") or ("orders-api", "worker")
        parts = {key: _artifacts({"function": key, "components": ("function", "common")}) for key in wanted}
        rows = [{"key": key, "name": key, "status": "packaged", **made} for key, made in parts.items()]
        return {**reply, "functions": rows}
    return {**reply, **_artifacts(event)}


def _artifacts(event: dict[str, Any]) -> dict[str, Any]:
    reply: dict[str, Any] = {"artifacts": [], "packages": []}
    for name in event.get("components") or ("function", "dependencies", "fonts"):
        content = _zipped(name)
        sha256 = hashlib.sha256(content).hexdigest()
        key = f"store/artifacts/{event['function']}-{sha256}.zip"
        if event["function"] != "lost":
            S3.put_object(Bucket=BUCKET, Key=key, Body=b"spoilt" if event["function"] == "spoilt" else content)
        reply["artifacts"].append({"name": name, "action": "build", "size": len(content), "files": 3, "sha256": sha256})
        reply["packages"].append({"name": name, "bucket": BUCKET, "key": key, "note": 'a "quoted" é'})
    return reply


WAY_BACK = {
    "now": {
        "build_id": "b-3",
        "commit": "1111111111112222",
        "ref": "main",
        "by": "ann@example.com",
        "version": "3",
        "ended": "2026-11-21T10:15:59Z",
        "age_seconds": 3 * 3600 + 5,
    },
    "then": {
        "build_id": "b-1",
        "commit": "4f3e2d1c0b1a2f",
        "ref": "main",
        "by": None,
        "version": "1",
        "ended": "2026-11-19T23:59:59Z",
        "age_seconds": 86400 * 3,
    },
    "alias": "live",
    "differences": ["code", "layer dependencies", "MemorySize"],
}


def _other(event: dict[str, Any]) -> dict[str, Any]:
    """The reply to what is no build."""
    match event["action"]:
        case "plan":
            return PLAN
        case "history":
            return {
                "statusCode": 200,
                "history": [] if event["function"] == "nothing" else HISTORY[: event.get("count", 20)],
            }
        case "rollback" if event.get("preview"):
            if event.get("build") == "gone":
                return {"statusCode": 404, "error": {"code": "unknown_build", "message": "there is no build gone"}}
            same = event.get("build") == "b-3"
            steps = [] if same else ["point alias live of orders at version 1"]
            way = {**WAY_BACK, "steps": steps, "alias": event.get("alias")}
            return {
                "statusCode": 200,
                "commit": "4f3e2d1c0b1a2f",
                "rollback": {**way, "then": way["now"]} if same else way,
            }
        case "rollback" if event.get("build") == "b-1":
            way = {key: value for key, value in WAY_BACK.items() if key != "steps"}
            return {**SUCCESS, "build_id": event["build_id"], "restored": "b-1", "rollback": way, "artifacts": []}
        case "rollback" if event.get("build") == "b-3":
            way = {**WAY_BACK, "then": WAY_BACK["now"], "differences": []}
            return {"statusCode": 200, "build_id": event["build_id"], "restored": "b-3", "rollback": way, "changed": []}
        case "rollback":
            return {**SUCCESS, "build_id": event["build_id"], "restored": event.get("build", "b-1"), "artifacts": []}
    same = [{**component, "same": True} for component in VERIFIED["verify"]["components"]]
    return {**VERIFIED, "verify": {"same": True, "components": same}} if event["function"] == "verified" else VERIFIED


def handler(event: dict[str, Any], _context: object) -> Any:
    """The builder's reply for this event, with what it says."""
    _put(f"events/{time.time_ns():020d}", event)
    event = {"function": event["project"], **event} if "project" in event else event
    reply = _reply(event)
    if isinstance(reply, dict) and event.get("text") and event.get("function") != "older":
        reply = {**reply, "text": {"shell": shell(reply, texts(reply, function=event.get("function", "")))}}
    return reply


def _reply(event: dict[str, Any]) -> Any:
    if event["action"] == "status":
        if event.get("function") == "untold":  # as with `status = function`, of a request that names none
            return {key: value for key, value in RECENT.items() if key not in {"builds", "storage"}}
        if event.get("function") == "nothing":
            return {**RECENT, "builds": []}
        if "build_id" not in event:
            return RECENT
        build = _state(event["build_id"])
        if build is None:
            return {"statusCode": 404, "error": {"code": "unknown_build", "message": "no such build"}}
        return {"statusCode": 200, "build": build}
    if event["action"] == "stop":
        return _stopped(event)
    if event["action"] == "ping":
        return {"statusCode": 200, "settings": {"bucket": BUCKET, "prefix": "store/"}}
    if event["action"] == "package":
        return _packaged(event)
    if event["action"] in ("history", "verify", "rollback", "plan"):
        return _other(event)
    match event["function"]:
        case "refused":
            return REFUSAL
        case "invalid":
            return INVALID
        case "older" if event.get("force"):
            return OLDER
        case "busy":
            return BUSY
        case "tried":
            return {**SUCCESS, "build_id": event["build_id"], "invoke": TRIED}
        case "tried-at-length":
            return {**SUCCESS, "build_id": event["build_id"], "invoke": LONG}
        case "fails-its-trial":
            return CRASHED
        case "crash":
            raise RuntimeError('boom "quoted"\nsecond line')
        case "nonsense":
            return "hello"
        case "slow":
            return _slowly(event["build_id"], 10, SUCCESS)
        case "spread":
            return _spread(event["build_id"])
        case "long":
            return _until_released(event["build_id"], SUCCESS)
        case "killed":
            lost = {"state": "failed", "message": "the builder was stopped before the build ended", "phases": []}
            _put(f"builds/{event['build_id']}", {"build_id": event["build_id"], **lost})
            time.sleep(15)
    reply = {**SUCCESS, "build_id": event["build_id"]}
    return {**reply, "ref": ""} if "archive" in event or "source" in event else reply
