"""A Lambda function that answers as the builder does, by scenario, and keeps what it was sent.

The scenario is the name of the function to deploy. Standard library and the runtime's boto3 only: it runs as a real
function of the embedded AWS.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import boto3

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
        ],
        "publish": ["update the code of orders"],
        "configuration": [{"key": "Timeout", "now": 3, "then": 30}],
    },
    "phases": [],
    "warnings": [],
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
    _put(f"builds/{build_id}", {"build_id": build_id, "state": "succeeded", "reply": reply, "phases": []})
    return reply


def handler(event: dict[str, Any], _context: object) -> Any:
    """The builder's reply for this event."""
    _put(f"events/{time.time_ns():020d}", event)
    if event["action"] == "status":
        build = _state(event["build_id"])
        if build is None:
            return {"statusCode": 404, "error": {"code": "unknown_build", "message": "no such build"}}
        return {"statusCode": 200, "build": build}
    if event["action"] == "plan":
        return PLAN
    match event["function"]:
        case "refused":
            return REFUSAL
        case "crash":
            raise RuntimeError('boom "quoted"\nsecond line')
        case "nonsense":
            return "hello"
        case "slow":
            return _slowly(event["build_id"], 6, SUCCESS)
        case "killed":
            lost = {"state": "failed", "message": "the builder was stopped before the build ended", "phases": []}
            _put(f"builds/{event['build_id']}", {"build_id": event["build_id"], **lost})
            time.sleep(15)
    return {**SUCCESS, "build_id": event["build_id"]}
