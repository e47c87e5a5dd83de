from __future__ import annotations
import time
import pytest
from tests.e2e.conftest import make_builder
from tests.e2e.test_fan_out import COUNT, account, begin, builder, end, project, statuses  # noqa

def test_last_step_killed(builder) -> None:
    builder.forge.push("clan", project(builder.runtime, "clan"))
    t = time.monotonic()
    with builder.aws.fault("kill-before", function="lambdasmith", event={"made": True}, calls="writing", at=6) as fault:
        build_id = begin(builder, "clan")
        until = time.monotonic() + 200
        while time.monotonic() < until:
            state = builder.send({"action": "status", "build_id": build_id})["build"]
            if state["state"] != "running" and "reply" in state: break
            time.sleep(1)
    print("killed", fault.fired, time.monotonic() - t)
    assert statuses(state["reply"]) == {f"f{at}": s for at in range(COUNT) for s in ["deployed"]} or set(statuses(state["reply"]).values()) <= {"deployed", "unchanged"}, state

def test_split(bootstrapped, forge, tmp_path) -> None:
    with bootstrapped(enforce_iam=True, isolation="split") as server:
        b = make_builder(server, forge, tmp_path, "isolation = split\nfan_out = on\nfan_out_from = 4\nfan_out_concurrency = 3\n")
        b.forge.push("rift", project(b.runtime, "rift"))
        reply = end(b, begin(b, "rift"))
        assert set(statuses(reply).values()) == {"deployed"}, reply
