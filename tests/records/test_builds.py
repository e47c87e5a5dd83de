"""Who works on a build id, what is told of it, what is kept of it."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from builder.errors import UnknownBuild
from builder.event.read import parse_event
from builder.event.request import Request
from builder.progress import Moment, Phase
from builder.records.builds import Builds
from builder.records.claim import AlreadyTaken, Claim
from builder.records.record import DeploymentRecord
from builder.replies.deploys import ArtifactRow
from builder.replies.reply import Reply
from builder.schemas.reply import reply_schema
from builder.store.s3 import S3Store
from builder.store.values import Fields
from localaws.testing import Server
from tests.schemas.refusals import refused_by
from tests.store.storing import bad_line, deployment_of, new_bucket, read_json, store_in


def artifact(name: str, size: int | None = None) -> ArtifactRow:
    row: ArtifactRow = {"name": name, "kind": "layer", "action": "build", "why": "", "inputs": []}
    if size is not None:
        row["size"] = size
    return row


CHANGED: Reply = {
    "statusCode": 200,
    "commit": "c0ffee",
    "ref": "main",
    "function": {
        "name": "thumbs",
        "arn": "arn:thumbs",
        "version": "7",
        "alias": "live",
        "weight": None,
        "code_sha256": "",
    },
    "artifacts": [artifact("function", 10), artifact("dependencies", 200), artifact("later")],
    "changed": ["update the code of thumbs"],
    "phases": [{"name": "fetch", "seconds": 0.1}],
}
UNCHANGED: Reply = {**CHANGED, "changed": []}
FAILED: Reply = {"statusCode": 404, "error": {"code": "ref_not_found", "message": "no branch x", "hint": "y"}}


@pytest.fixture(scope="module")
def shared(localaws: Server) -> S3Store:
    return store_in(localaws, new_bucket(localaws))


@pytest.fixture
def store(shared: S3Store) -> S3Store:
    """An empty store of its own in the shared bucket."""
    return S3Store(shared._clients, shared.bucket, f"{uuid.uuid4().hex}/")


@pytest.fixture
def builds(store: S3Store) -> Iterator[Builds]:
    before = threading.active_count()
    yield Builds(store)
    for _ in range(50):
        if threading.active_count() <= before:
            return
        time.sleep(0.02)
    raise AssertionError("a claim is still renewed")


def request(**fields: object) -> Request:
    return parse_event({"action": "build", "function": "thumbs", "repo": "me/thumbs", "by": "zoe", **fields})


def written(store: S3Store) -> list[str]:
    page = store._clients.s3.list_objects_v2(Bucket=store.bucket, Prefix=store.key(""))
    return [entry["Key"].removeprefix(store.key("")) for entry in page.get("Contents", [])]


def ended(builds: Builds, build_id: str, reply: Reply, **more: Any) -> None:
    builds.end(builds.claim(build_id, "thumbs"), request(), reply, seconds=1.23456, **more)


def state_record(builds: Builds) -> str:
    state = builds.look("b1")
    assert state is not None
    return state.record or ""


def moment(message: str) -> Moment:
    return Moment(phase="fetch", message=message, seconds=0.5, phases=(Phase(name="read", seconds=0.1),))


def test_a_quick_build_that_changes_nothing_writes_nothing(builds: Builds, store: S3Store) -> None:
    assert builds.look("b1") is None
    ended(builds, "b1", UNCHANGED)
    assert written(store) == []


def test_a_slow_build_that_changes_nothing_answers_again_and_leaves_no_record(builds: Builds, store: S3Store) -> None:
    claim = builds.claim("b1", "thumbs")
    claim.note(moment("fetching"))
    builds.end(claim, request(), UNCHANGED, seconds=1)
    state = builds.look("b1")
    assert state is not None
    assert (state.for_people(), state.reply) == (builds.state("b1"), UNCHANGED)
    assert written(store) == ["builds/b1.json"]
    with pytest.raises(UnknownBuild, match="thumbs has no build 'b1' that changed something"):
        builds.find("thumbs", "b1")


def test_the_state_of_a_running_build_is_what_it_noted_last(builds: Builds) -> None:
    claim = builds.claim("b1", "thumbs")
    claim.take()
    claim.take()
    assert builds.state("b1")["message"] == "starting"
    claim.note(moment("fetching"))
    claim.note(moment("fetching more"))
    state = builds.look("b1")
    assert state is not None
    shown = state.for_people()
    assert shown.pop("started").endswith("Z")
    assert shown == {
        "build_id": "b1",
        "function": "thumbs",
        "state": "running",
        "phase": "fetch",
        "message": "fetching more",
        "seconds": 0.5,
        "phases": [{"name": "read", "seconds": 0.1}],
    }
    builds.end(claim, request(), CHANGED, seconds=1)
    claim.note(moment("too late"))
    assert builds.state("b1")["state"] == "succeeded"


def test_a_build_state_has_the_members_that_the_schema_names(builds: Builds) -> None:
    """No more, such as how its claim is kept, and no fewer."""
    schema: Any = reply_schema(strict=True)["definitions"]
    names = set(schema["BuildState"]["properties"])
    claim = builds.claim("b1", "thumbs")
    claim.note(moment("fetching"))
    running = builds.state("b1")
    builds.end(claim, request(), CHANGED, seconds=1)
    succeeded = builds.state("b1")
    assert set(running) == names - {"ended", "reply", "execution"}
    assert set(succeeded) == names - {"phase", "message", "execution"}
    for state in (running, succeeded):
        assert refused_by("reply", {"statusCode": 200, "build": state}) == []


def test_a_build_id_that_somebody_has_cannot_be_taken(builds: Builds, store: S3Store) -> None:
    first, second = builds.claim("b1", "thumbs"), builds.claim("b1", "thumbs")
    first.take()
    with pytest.raises(AlreadyTaken) as caught:
        second.take()
    assert caught.value.state == builds.look("b1")
    second.note(moment("fetching"))
    assert not second.taken
    builds.end(second, request(), FAILED, seconds=1)
    assert written(store) == ["builds/b1.json"]
    builds.end(first, request(), CHANGED, seconds=1)
    with pytest.raises(AlreadyTaken) as caught:
        second.take()
    assert caught.value.state.reply == CHANGED


def test_a_claim_is_kept_alive_and_one_that_is_not_is_lost(store: S3Store) -> None:
    builds = Builds(store, claims_expire_s=1.2)
    alive, killed = builds.claim("alive", "thumbs"), builds.claim("killed", "thumbs")
    alive.take()
    killed.take()
    killed._ended.set()  # its thread stops, as that of a killed builder does
    time.sleep(3.5)  # S3 counts whole seconds
    assert builds.look("alive") is not None
    assert builds.look("killed") is None
    state = builds.state("killed")
    assert (state["state"], state["message"]) == ("failed", "the builder was stopped before the build ended")
    claims = [builds.claim("killed", "thumbs") for _ in range(8)]

    def take(claim: Claim) -> bool:
        try:
            claim.take()
        except AlreadyTaken:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(take, claims))
    assert won.count(True) == 1
    winner = claims[won.index(True)]
    # The builder was only asleep: it writes nothing over the work of the one that took over.
    killed._ended.clear()
    killed.note(moment("awake"))
    builds.end(killed, request(), CHANGED, seconds=1)
    assert builds.state("killed")["message"] == "starting"
    assert builds.records("thumbs", 5) == []
    for claim in (winner, alive):
        builds.end(claim, request(), CHANGED, seconds=1)


def test_claims_survive_lost_answers(localaws: Server, builds: Builds, store: S3Store) -> None:
    with bad_line(localaws) as line:
        patch = store_in(localaws, store.bucket, endpoint_url=line.url)
        behind = Builds(S3Store(patch._clients, store.bucket, store.key("")))
        attempts: list[str] = []

        def loses(method: str, path: str) -> bool:
            attempts.append(path)
            return method == "PUT" and len(attempts) % 2 == 1

        line.loses = loses
        claim = behind.claim("b1", "thumbs")
        claim.take()
        attempts.clear()
        claim.note(moment("fetching"))
        attempts.clear()
        behind.end(claim, request(), CHANGED, seconds=1)
    assert line.lost
    assert builds.state("b1")["state"] == "succeeded"


def test_a_record_says_who_what_and_how_to_deploy_it_again(builds: Builds, store: S3Store) -> None:
    event = request(ref="main", path="functions/thumbs", alias="live")
    kept = deployment_of(version="7", alias="live")
    deployment = DeploymentRecord.parse(Fields(kept))
    builds.end(builds.claim("b1", "thumbs"), event, CHANGED, seconds=1.23456, deployment=deployment)
    found = builds.find("thumbs", "b1")
    assert builds.records("thumbs", 5) == [found]
    assert found.deployed == deployment
    assert (deployment.version, deployment.alias, deployment.as_json()) == ("7", "live", kept)
    record = found.as_json()
    assert read_json(store, state_record(builds)) == record
    times = [str(record.pop(key)) for key in ("started", "ended")]
    assert all(len(text) == 20 and text.endswith("Z") for text in times)
    assert record.pop("builder")
    listed = {
        "build_id": "b1",
        "action": "build",
        "state": "succeeded",
        "seconds": 1.235,
        "function": "thumbs",
        "by": "zoe",
        "repo": "me/thumbs",
        "path": "functions/thumbs",
        "ref": "main",
        "commit": "c0ffee",
        "alias": "live",
        "version": "7",
        "changed": ["update the code of thumbs"],
        "sizes": {"function": 10, "dependencies": 200},
        "error": None,
        "message": None,
        "restored": None,
    }
    assert record == {**listed, "group": "", "stage": "", "reply": CHANGED, "deployment": kept}
    [entry] = builds.history("thumbs", 5)
    assert {key: value for key, value in entry.items() if key not in ("started", "ended", "builder")} == listed
    assert state_record(builds) in written(store)


def test_a_rollback_names_what_it_returned_to(builds: Builds) -> None:
    rollback = parse_event({"action": "rollback", "function": "thumbs", "alias": "live"})
    builds.end(builds.claim("b2", "thumbs"), rollback, CHANGED, seconds=1, restored="b0")
    record = builds.find("thumbs", "b2")
    assert (record.action, record.restored, record.repo) == ("rollback", "b0", None)


def test_a_failure_is_recorded_with_its_reason(builds: Builds) -> None:
    ended(builds, "b1", FAILED)
    [record] = builds.history("thumbs", 5)
    assert (record["state"], record["error"], record["message"]) == ("failed", "ref_not_found", "no branch x")
    [short] = builds.recent(5)
    assert (short["build_id"], short["state"], short["error"]) == ("b1", "failed", "ref_not_found")
    state = builds.look("b1")
    assert state is not None
    assert state.for_people() == builds.state("b1")


def test_history_is_newest_first_by_function(store: S3Store) -> None:
    now = [1_700_000_000.0]
    builds = Builds(store, lambda: now[0])
    for number in range(7):
        now[0] += 1
        ended(builds, f"b{number}", CHANGED)
        if number == 3:
            other = parse_event({"action": "build", "function": "thumbs-2", "repo": "me/thumbs"})
            builds.end(builds.claim("x", "thumbs-2"), other, CHANGED, seconds=1)
    assert [record["build_id"] for record in builds.history("thumbs", 3)] == ["b6", "b5", "b4"]
    assert [record["build_id"] for record in builds.history("thumbs-2", 100)] == ["x"]
    assert len(builds.recent(10)) == 8
    assert builds.history("unheard", 5) == []
    for function, build_id in (("thumbs", "x"), ("thumbs", "nobody"), ("thumbs-2", "b1")):
        with pytest.raises(UnknownBuild, match=f"{function} has no build '{build_id}'"):
            builds.find(function, build_id)
    with pytest.raises(UnknownBuild):
        builds.state("nobody")


def test_a_record_from_before_origins_were_noted_is_read() -> None:
    kept = {name: value for name, value in deployment_of(version="7", alias="live").items() if name != "origin"}
    assert DeploymentRecord.parse(Fields(kept)).origin is None
