"""The store under damage: whatever becomes of an object, the next deploy is right, or names it and says what to do.

Every build here is a real one, into the embedded AWS; only the builder's own function is left out.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from builder.aws import Clients, connect
from builder.context import Context
from builder.errors import FunctionBusy, StoreDamaged, StoreMissing, UnknownBuild
from builder.event.read import parse_event
from builder.flow.pipeline import build
from builder.flow.rollback import roll_back
from builder.flow.tracking import tracked
from builder.flow.verify import verify
from builder.kinds.sdists import BuiltWheel
from builder.progress import Progress
from builder.records.builds import Builds
from builder.records.lease import held
from builder.runtimes import RUNTIMES, Target, architecture_of
from builder.secrets.masking import Masker
from builder.settings import Settings
from builder.store.s3 import S3Store
from builder.store.values import Fields, UnfitError, body, value_of
from builder.workspace.directory import Deadline, Workspace
from localaws.testing import Server, zip_of
from tests.index import serving
from tests.localaws.lab import Lab, make_lab
from tests.python.locking import source_files
from tests.store.storing import new_bucket
from tests.wheelhouse import make_sdist, make_wheel

HANDLER = (
    "import pathlib, small, built_here\n"
    "def handler(event, context):\n"
    "    return [{mark!r}, small.WHAT, built_here.NAME, pathlib.Path('/opt/words/mark.txt').read_text()]\n"
)


def flipped(content: bytes) -> bytes:
    """A byte in the middle is another; twice makes it a third, and not the first again."""
    at = len(content) // 2
    return content[:at] + bytes([(content[at] + 1) % 256]) + content[at + 1 :]


def of_another_version(content: bytes) -> bytes:
    """What is written as a whole, by a builder that writes something else."""
    return body({"form": "another", "size": len(content)})


DAMAGES: Mapping[str, Callable[[bytes], bytes]] = {
    "cut short": lambda content: content[: len(content) // 2],
    "bits flipped": flipped,
    "an empty object": lambda _: b"{}",
    "empty": lambda _: b"",
    "of another version": of_another_version,
}
damaged = pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))


@dataclass
class Team:
    """A builder in this process, and the project that it deploys."""

    lab: Lab
    clients: Clients
    bucket: str
    role: str
    index: str
    folder: Path
    seen: set[str] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(10**6)))

    def context(self) -> Context:
        """The world of one invocation, in an environment that is new: nothing is in its /tmp."""
        progress = Progress()
        settings = Settings(bucket=self.bucket, store_prefix="t/", role=self.role, index_url=self.index)
        settings = replace(settings, archive_caches=("shop",))
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return Context(
            settings=settings,
            clients=self.clients,
            store=S3Store(self.clients, self.bucket, "t/", warn=progress.warn),
            workspace=Workspace(self.folder / f"environment-{next(self.numbers)}"),
            deadline=Deadline.after(300),
            progress=progress,
            environment=environment,
            secrets=Masker(),
        )

    def send(self, **event: Any) -> dict[str, Any]:
        """The reply to an event of this project's."""
        work = roll_back if event["action"] == "rollback" else build
        request = parse_event({"function": "shop", **event})
        return dict(tracked(work, request, self.context(), request.build_id or uuid.uuid4().hex))

    def deploy(self, mark: str, **event: Any) -> dict[str, Any]:
        runtime = self.lab.runtime
        files = {
            "app.py": HANDLER.format(mark=mark),
            "mark.txt": mark,
            "requirements.txt": "small==1.0\nbuilt-here==1.0\n",
            "build.yaml": f"function: {{runtimes: [{runtime}], handler: app.handler, files: [app.py]}}\ntry: none\n"
            "layers:\n  dependencies: [requirements.txt]\n  words: {files: [mark.txt], dest_dir: words}\n",
        }
        archive = base64.b64encode(zip_of(files)).decode()
        return self.send(action="build", archive=archive, version=True, **event)

    def served(self) -> Any:
        answer = self.lab.client.invoke(FunctionName="shop", Payload=b"{}")
        content = answer["Payload"].read()
        assert "FunctionError" not in answer, content
        return json.loads(content)

    def names(self, *folders: str) -> list[str]:
        """Names of the objects in the store, those of a trust domain by their place in it."""
        s3, found = self.clients.s3, []
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix="t/"):
            found += [entry["Key"].removeprefix("t/") for entry in page.get("Contents", [])]
        return [name for name in found if not folders or self.kind(name) in folders]

    @staticmethod
    def kind(name: str) -> str:
        parts = name.split("/")
        return parts[2] if parts[0] == "domains" else parts[0]

    def harm(self, damage: Callable[[bytes], bytes], *folders: str) -> None:
        """Damage every object, or every one of these kinds."""
        for name in self.names(*folders):
            key = f"t/{name}"
            content = self.clients.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
            self.clients.s3.put_object(Bucket=self.bucket, Key=key, Body=damage(content))
            self.seen.add(self.kind(name))


@pytest.fixture(scope="module")
def clients(localaws: Server) -> Iterator[Clients]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in localaws.env.items():
            patch.setenv(name, value)
        yield connect()


@pytest.fixture(scope="module")
def team(localaws: Server, clients: Clients, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    wheels, lab = tmp_path_factory.mktemp("wheels"), make_lab(localaws)
    make_wheel(wheels, "small", files={"small.py": "WHAT = 'small'\n"})
    make_sdist(wheels, "built_here", files=source_files("built_here"))
    with serving(wheels) as index:
        yield Team(
            lab=lab,
            clients=clients,
            bucket=new_bucket(localaws),
            role=lab.role,
            index=index.simple,
            folder=tmp_path_factory.mktemp("environments"),
        )


@damaged
def test_whatever_is_damaged_the_next_deploy_is_right_and_heals_it(
    team: Team, damage: Callable[[bytes], bytes]
) -> None:
    for mark in ("first", "second"):
        assert team.deploy(mark)["statusCode"] == 200
    for mark, force in (("first", False), ("second", True), ("first", True)):
        team.seen.clear()
        team.harm(damage)
        assert len(team.seen) == 13, team.seen
        reply = team.deploy(mark, force=force)
        assert reply["statusCode"] == 200, reply
        assert team.served() == [mark, "small", "built_here", mark]
        told = " ".join(reply["warnings"])
        # With force nothing is looked up that is made again anyhow.
        for kind in {"deployed", "built", "parts", "checks", "layers", *(() if force else ("components", "locks"))}:
            assert f"/{kind}/" in told, (kind, told)
    for name in team.names("records", "recent"):  # what happened cannot be made again
        team.clients.s3.delete_object(Bucket=team.bucket, Key=f"t/{name}")
    for mark in ("second", "first"):
        reply = team.deploy(mark)
        assert team.served() == [mark, "small", "built_here", mark]
    assert reply["warnings"] == [], "everything was made again"
    assert [row["action"] for row in reply["artifacts"]] == ["reuse"] * 3


def test_one_kind_alone_is_damaged(team: Team) -> None:
    for mark in ("first", "second"):
        team.deploy(mark)
    plain, forced = ("artifacts", "checks", "components", "deployed", "layers"), ("built", "natives", "parts", "pinned")
    for number, kind in enumerate((*plain, *forced)):
        mark = ("first", "second")[number % 2]
        team.harm(flipped, kind)
        reply = team.deploy(mark, force=kind in forced)
        assert reply["statusCode"] == 200, (kind, reply)
        assert team.served() == [mark, "small", "built_here", mark], kind


def test_what_a_builder_has_found_of_the_runtimes_counts_as_absent(team: Team) -> None:
    target = Target(runtime=RUNTIMES[team.lab.runtime], architecture=architecture_of(os.uname().machine))
    name = f"baselines/{target.runtime.system}-{target.architecture}.json"
    team.clients.s3.put_object(Bucket=team.bucket, Key=f"t/{name}", Body=b"{}")
    reply = team.deploy("third")
    assert team.served() == ["third", "small", "built_here", "third"]
    assert any(name in warning for warning in reply["warnings"])
    team.clients.s3.delete_object(Bucket=team.bucket, Key=f"t/{name}")


@damaged
def test_a_damaged_record_is_named_where_it_decides_and_left_out_where_it_does_not(
    team: Team, damage: Callable[[bytes], bytes]
) -> None:
    for name in team.names("records"):
        team.clients.s3.delete_object(Bucket=team.bucket, Key=f"t/{name}")
    ids = [team.deploy(mark)["build_id"] for mark in ("one", "two", "three")]
    two = sorted(team.names("records"))[1]
    assert team.deploy("one")["statusCode"] == 200
    whole = team.clients.s3.get_object(Bucket=team.bucket, Key=f"t/{two}")["Body"].read()

    def put(name: str, content: bytes) -> None:
        team.clients.s3.put_object(Bucket=team.bucket, Key=f"t/{name}", Body=content)

    # "two" is not looked at: what is served now is "one", and before that was "three".
    put(two, damage(whole))
    reply = team.send(action="rollback")
    assert (reply["statusCode"], reply["restored"]) == (200, ids[2]), reply
    # Now it may be the one.
    reply = team.send(action="rollback")
    assert (reply["statusCode"], reply["error"]["code"]) == (409, "store_damaged"), reply
    assert f"s3://{team.bucket}/t/{two}" in reply["error"]["message"]
    assert "name another build" in reply["error"]["hint"]
    assert team.served()[0] == "three"
    reply = team.send(action="rollback", build=ids[0])
    assert (reply["statusCode"], team.served()[0]) == (200, "one"), reply
    # The list of builds has all others, and says that one is missing.
    context = team.context()
    listed = [row["build_id"] for row in Builds(context.store).history("shop", 20)]
    assert ids[0] in listed
    assert ids[2] in listed
    assert ids[1] not in listed
    assert [two in warning for warning in context.progress.warnings] == [True]
    # A deploy is deployed, and nothing is removed that the record may name.
    reply = team.deploy("two")
    assert (reply["statusCode"], team.served()[0]) == (200, "two"), reply
    (warning,) = reply["warnings"]
    assert warning.startswith("shop is deployed, but old versions are left in the account")
    assert two in warning
    team.harm(damage, "records")
    with pytest.raises(StoreDamaged, match="records/shop/") as caught:
        verify(parse_event({"action": "verify", "function": "shop"}), team.context())
    assert "name the build to verify" in caught.value.hint
    for name in team.names("records", "recent"):
        team.clients.s3.delete_object(Bucket=team.bucket, Key=f"t/{name}")


@damaged
def test_a_build_id_whose_state_is_damaged(team: Team, damage: Callable[[bytes], bytes]) -> None:
    mark = uuid.uuid4().hex
    reply = team.deploy(mark)
    build_id, builds = reply["build_id"], Builds(team.context().store)
    team.harm(damage, "builds")
    with pytest.raises(StoreDamaged, match=f"builds/{build_id}.json is damaged"):
        builds.state(build_id)
    assert builds.find("shop", build_id).commit == reply["commit"], "its record is found by its own name"
    with pytest.raises(UnknownBuild):
        builds.find("shop", "another")
    # Whoever sends it again is not answered with half a reply.
    again = team.deploy(mark, build_id=build_id)
    assert (again["statusCode"], again["changed"]) == (200, [])


@damaged
def test_a_lease_that_cannot_be_read_expires_by_the_stores_date(team: Team, damage: Callable[[bytes], bytes]) -> None:
    context, name = team.context(), "t/leases/leased.json"
    hold = functools.partial(
        held, context.store, "leased", owner="b1", by="", deadline=context.deadline, progress=context.progress
    )
    with hold():
        content = team.clients.s3.get_object(Bucket=team.bucket, Key=name)["Body"].read()
    team.clients.s3.put_object(Bucket=team.bucket, Key=name, Body=damage(content))
    with pytest.raises(FunctionBusy, match="a build whose lease is damaged"), hold(wait_s=0.1):
        pass
    with hold(ttl_s=0.5, wait_s=20) as lease:
        assert lease.waited
    assert "leases/leased.json" not in team.names()


def test_a_bucket_that_is_gone_says_how_to_make_it_again(team: Team, localaws: Server) -> None:
    store = S3Store(team.clients, "not-there-any-more", "t/")
    path = team.folder / "x"
    path.write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for use in (
        lambda: store.find("a", lambda kept: kept),
        lambda: store.write_json("a", {}),
        lambda: store.write_if("a", {"nonce": "1"}, etag=None),
        lambda: store.put("a", path, sha256=empty),
        lambda: store.first_names("a", 1),
    ):
        with pytest.raises(StoreMissing, match=r"the bucket not-there-any-more, .* no longer exists") as caught:
            use()
        assert "`python setup.py init`" in caught.value.hint


def test_what_is_written_is_read_and_nothing_else() -> None:
    for value in ({}, {"a": [1, {"b": None}]}, {"checksum": "of a user's"}, {"text": 'é"\ud800'}):
        content = body(value)
        assert value_of(content) == {name: item for name, item in value.items() if name != "checksum"}
        for at in range(len(content)):
            for spoilt in (content[:at], content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]):
                with pytest.raises(UnfitError):
                    value_of(spoilt)
    for other in (b"[]", b"null", b'{"a": 1}', b"\xff"):
        with pytest.raises(UnfitError):
            value_of(other)


def test_the_name_of_a_built_wheel_is_no_path() -> None:
    kept = {"sha256": "0" * 64, "filename": "a_b-1.0+x!2-1-py3-none-any.whl", "source": "a-b"}
    assert BuiltWheel.parse(Fields(kept)).filename == kept["filename"]
    for name in (
        "../a-1-py3-none-any.whl",
        "/a-1-py3-none-any.whl",
        "a/b-1-py3-none-any.whl",
        "..",
        "",
        "a-1.whl",
        None,
    ):
        with pytest.raises(UnfitError, match="filename"):
            BuiltWheel.parse(Fields({**kept, "filename": name}))
