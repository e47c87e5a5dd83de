"""What housekeeping removes, and above all what it does not: as decisions, and in an account."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.aws import Clients, connect
from builder.progress import Progress
from builder.publishing import borrowed
from builder.publishing.housekeeping import Deployment, History, superseded_layers, superseded_versions, tidy
from builder.publishing.layers import signed
from builder.publishing.listing import LayerVersion
from builder.records.claim import utc
from builder.records.record import DeploymentRecord
from builder.store.s3 import S3Store
from builder.store.values import Fields
from builder.workspace.directory import Deadline
from localaws.testing import Server
from tests.localaws.lab import Lab, make_lab
from tests.store.storing import LAYER, deployment_of, new_bucket, record_of

HOUR = 3600.0
NOW = 1_800_000_000.0


def history(*deployments: tuple[str | None, Sequence[str]], complete: bool = True, age: float = 2 * HOUR) -> History:
    """Newest first, each two hours after the one before it; if it is `complete`, after one that was long ago."""
    found = [
        Deployment(version=version, layers=frozenset(layers), ended=NOW - place * age)
        for place, (version, layers) in enumerate(deployments)
    ]
    first = [Deployment(version=None, layers=frozenset(), ended=NOW - 500 * HOUR)] if complete else []
    return History(deployments=(*found, *first), complete=complete)


def layers(*numbers: int, name: str = "web-deps", age: float = 2 * HOUR) -> list[LayerVersion]:
    newest = max(numbers)
    return [
        LayerVersion(layer=name, number=n, arn=f"arn:{name}:{n}", created=NOW - age * (newest - n + 1)) for n in numbers
    ]


def gone(found: Sequence[LayerVersion]) -> list[int]:
    return [each.number for each in found]


def test_without_keep_no_function_version_goes() -> None:
    assert superseded_versions(range(1, 100), keep=None, aliased=(), history=history()) == ()


def test_the_newest_stay_and_what_an_alias_or_a_record_in_reach_names() -> None:
    past = history(("7", ()), ("3", ()), ("2", ()))
    assert superseded_versions(range(1, 8), keep=2, aliased=["1", "5", "$LATEST"], history=past) == (2, 4)


def test_layer_versions_that_builds_named_stay_without_keep() -> None:
    past = history((None, ["arn:web-deps:3"]), (None, ["arn:web-deps:1"]))
    assert gone(superseded_layers(layers(1, 2, 3), keep=None, attached=(), history=past, now=NOW)) == [2]


def test_a_young_layer_version_stays_even_if_nobody_knows_it() -> None:
    young = layers(1, 2, age=HOUR / 4)
    assert superseded_layers(young, keep=1, attached=(), history=history(), now=NOW) == ()
    assert gone(superseded_layers(young, keep=1, attached=(), history=history(), now=NOW + HOUR)) == [1]


def test_what_only_older_records_can_name_is_no_orphan() -> None:
    """Version 1 is older than every record at hand, so one that is not at hand may name it."""
    past = history((None, ["arn:web-deps:9"]), (None, ["arn:web-deps:8"]), complete=False)
    versions = [*layers(5, 6, 7, 8, 9), replace(layers(1)[0], created=NOW - 1000 * HOUR)]
    assert gone(superseded_layers(versions, keep=None, attached=(), history=past, now=NOW)) == []
    past = history((None, ["arn:web-deps:9"]), (None, ["arn:web-deps:8"]))
    assert gone(superseded_layers(versions, keep=None, attached=(), history=past, now=NOW)) == [5, 6, 7]


def test_what_was_there_before_the_store_knows_anything_stays() -> None:
    """The store may have been lost since, and with it who else has that version."""
    begins = History(deployments=(Deployment(version="1", layers=frozenset(), ended=NOW),), complete=True)
    for keep in (None, 1):
        assert superseded_layers(layers(1, 2, 3, 4), keep=keep, attached=(), history=begins, now=NOW) == ()


def test_an_attached_layer_version_stays() -> None:
    past = history((None, ["arn:web-deps:4"]))
    found = superseded_layers(layers(1, 2, 3, 4), keep=1, attached=["arn:web-deps:2"], history=past, now=NOW)
    assert gone(found) == [1, 3]


def test_each_layer_has_its_own_newest() -> None:
    both = [*layers(1, 2), *layers(7, 8, name="web-other")]
    assert gone(superseded_layers(both, keep=1, attached=(), history=history(), now=NOW)) == [1, 7]


@dataclass
class Account:
    """Functions with versions and layers, changed at random and tidied by the decisions as `tidy` takes them."""

    versions: dict[int, frozenset[str]] = field(default_factory=dict)  # of the function: number → ARNs attached
    latest: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()  # ARNs attached elsewhere
    aliased: frozenset[str] = frozenset()
    layers: list[LayerVersion] = field(default_factory=list)

    def tidied(self, keep: int | None, past: History) -> Account:
        old = superseded_versions(self.versions, keep=keep, aliased=self.aliased, history=past)
        left = {number: attached for number, attached in self.versions.items() if number not in old}
        attached = self.latest.union(self.others, *left.values())
        removed = superseded_layers(self.layers, keep=keep, attached=attached, history=past, now=NOW)
        return replace(self, versions=left, layers=[each for each in self.layers if each not in removed])


ARNS = [f"arn:{name}:{number}" for name in ("web-a", "web-b") for number in range(1, 9)]
arns = st.frozensets(st.sampled_from(ARNS), max_size=4)
accounts = st.builds(
    Account,
    versions=st.dictionaries(st.integers(1, 12), arns, max_size=10),
    latest=arns,
    others=arns,
    aliased=st.frozensets(st.sampled_from(["$LATEST", *map(str, range(1, 13))]), max_size=3),
    layers=st.lists(
        st.builds(
            LayerVersion,
            layer=st.sampled_from(["web-a", "web-b"]),
            number=st.integers(1, 8),
            arn=st.just(""),
            created=st.floats(NOW - 100 * HOUR, NOW),
        ).map(lambda each: replace(each, arn=f"arn:{each.layer}:{each.number}")),
        unique_by=lambda each: each.arn,
        max_size=16,
    ),
)
histories = st.builds(
    History,
    deployments=st.lists(
        st.builds(
            Deployment,
            version=st.none() | st.integers(1, 12).map(str),
            layers=arns,
            ended=st.floats(NOW - 100 * HOUR, NOW),
        ),
        max_size=8,
    ).map(lambda found: tuple(sorted(found, key=lambda each: -each.ended))),
    complete=st.booleans(),
)


@given(accounts, histories, st.none() | st.integers(1, 5))
def test_nothing_in_use_goes_enough_stays_and_once_is_enough(account: Account, past: History, keep: int | None) -> None:
    after = account.tidied(keep, past)
    assert after.tidied(keep, past) == after
    # Function versions.
    numbers, left = sorted(account.versions), set(after.versions)
    assert left >= {number for number in numbers if str(number) in account.aliased}
    assert left >= set(numbers[-(keep or 100) :])
    window = past.deployments[: keep or 100]
    assert left >= {number for number in numbers if str(number) in {each.version for each in window}}
    # Layer versions.
    there = {each.arn for each in after.layers}
    attached = account.latest.union(account.others, *after.versions.values())
    before = {each.arn for each in account.layers}
    for needed in (attached, *(each.layers for each in window)):
        assert there >= needed & before
    for name in ("web-a", "web-b"):
        mine = sorted((each for each in account.layers if each.layer == name), key=lambda each: each.number)
        assert there >= {each.arn for each in mine[-1:]}
        known = {each.arn for each in mine[-(keep or 100) :]} & past.layers
        assert there >= known
    assert there >= {each.arn for each in account.layers if NOW - each.created < HOUR}


# -- in an account


@pytest.fixture(scope="module")
def lab(localaws: Server) -> Lab:
    return make_lab(localaws)


@pytest.fixture(scope="module")
def clients(localaws: Server) -> Iterator[Clients]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in localaws.env.items():
            patch.setenv(name, value)
        yield connect()


@dataclass
class Project:
    """A function with one layer, deployed again and again, and the records of that."""

    lab: Lab
    clients: Clients
    store: S3Store
    name: str
    records: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def layer(self) -> str:
        return f"{self.name}--deps"

    def publish_layer(self) -> str:
        return self.lab.layer({"x": uuid.uuid4().hex}, self.layer, Description=signed("", "0" * 64, self.store))

    def deploy(self, *, record: bool = True) -> dict[str, Any]:
        client, arn = self.lab.client, self.publish_layer()
        if not self.records:
            self.lab.function(FunctionName=self.name, Layers=[arn])
        else:
            client.update_function_configuration(FunctionName=self.name, Layers=[arn])
            self.lab.settle(self.name)
        version = client.publish_version(FunctionName=self.name)["Version"]
        layer = {"component": "deps", "layer": self.layer, "arn": arn}
        deployment = deployment_of(version=version, layers=[{**layer, **LAYER}])
        if record:
            self.records.insert(0, {"state": "succeeded", "ended": "", "deployment": deployment})
        return deployment

    def tidy(self, keep: int | None, *, later: float = 2 * HOUR, seconds: float = 300) -> list[str]:
        for number, record in enumerate(self.records):
            record["ended"] = utc(time.time() - number)
        progress, deadline = Progress(), Deadline.after(seconds)
        done = tidy(
            self.clients,
            self.store,
            self.name,
            keep=keep,
            deployment=DeploymentRecord.parse(Fields(self.records[0]["deployment"])),
            records=lambda count: [record_of(**record) for record in self.records[1:][:count]],
            deadline=deadline,
            progress=progress,
            clock=lambda: time.time() + later,
        )
        self.warnings = progress.warnings
        return done

    def left(self) -> tuple[list[int], list[int]]:
        """Numbers of the function's versions and of the layer's."""
        client = self.lab.client
        versions = client.list_versions_by_function(FunctionName=self.name)["Versions"]
        found = client.list_layer_versions(LayerName=self.layer)["LayerVersions"]
        return (
            sorted(int(each["Version"]) for each in versions if each["Version"] != "$LATEST"),
            sorted(each["Version"] for each in found),
        )


@pytest.fixture
def project(lab: Lab, clients: Clients) -> Project:
    bucket = new_bucket(lab.server)
    return Project(lab=lab, clients=clients, store=S3Store(clients, bucket, "t/"), name=lab.name("kept"))


def calls(clients: Clients) -> Mapping[tuple[str, str], int]:
    return dict(clients.calls.counts)


def test_versions_beyond_the_newest_go_with_their_layers(project: Project) -> None:
    for _ in range(5):
        project.deploy()
    project.lab.client.create_alias(
        FunctionName=project.name,
        Name="live",
        FunctionVersion="5",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.1}},
    )
    arn = project.records[4]["deployment"]["layers"][0]["arn"]
    other = project.lab.function(Layers=[arn])
    borrowed.note(project.store, other, [arn])
    assert project.tidy(None) == []
    assert project.tidy(2) == [
        f"removed version 1 of {project.name}",
        f"removed version 3 of {project.name}",
        f"removed version 3 of layer {project.layer}",
    ]
    assert project.left() == ([2, 4, 5], [1, 2, 4, 5])
    assert project.tidy(2) == []
    project.lab.client.delete_function(FunctionName=other)
    assert project.tidy(2) == [f"removed version 1 of layer {project.layer}"]
    assert project.warnings == []


def test_what_a_killed_builder_left_goes_an_hour_later_without_keep(project: Project) -> None:
    project.deploy()
    orphan = project.publish_layer()
    project.deploy()
    assert project.tidy(None, later=HOUR / 2) == []
    assert project.tidy(None) == [f"removed version {orphan.rpartition(':')[2]} of layer {project.layer}"]
    assert project.left() == ([1, 2], [1, 3])


def test_a_layer_that_another_build_is_about_to_attach_stays(project: Project) -> None:
    for _ in range(3):
        project.deploy()
    project.store.write_json(f"borrowed/{project.layer}/another.json", {"at": time.time() + 2 * HOUR})
    assert project.tidy(1) == [f"removed version {number} of {project.name}" for number in (1, 2)]
    assert project.left() == ([3], [1, 2, 3])
    key = project.store.key(f"borrowed/{project.layer}/another.json")
    project.clients.s3.put_object(Bucket=project.store.bucket, Key=key, Body=b"{}")
    assert project.tidy(1) == [], "a note that cannot be read may be young"


def test_only_layers_of_others_are_noted(project: Project) -> None:
    own, other = project.publish_layer(), project.lab.layer({"x": "1"}, f"{project.name}-api--deps")
    borrowed.note(project.store, project.name, [own, other, "deps"])
    assert project.store.first_names("borrowed", 9) == [f"borrowed/{project.name}-api--deps/{project.name}.json"]


def test_layers_from_elsewhere_are_left_alone(project: Project) -> None:
    for _ in range(2):
        project.deploy()
    elsewhere = f"{project.name}-tools"
    arns = [project.lab.layer({"x": str(number)}, elsewhere) for number in range(3)]
    for record in project.records:
        record["deployment"]["layers"].append({"component": "shared", "layer": elsewhere, "arn": arns[2], **LAYER})
    project.tidy(1)
    assert len(project.lab.client.list_layer_versions(LayerName=elsewhere)["LayerVersions"]) == 3
    assert project.left() == ([2], [2])


def test_builds_that_failed_do_not_shorten_the_reach(project: Project) -> None:
    for _ in range(4):
        project.deploy()
    failed = {"state": "failed", "ended": "", "deployment": None}
    project.records[1:1] = [dict(failed) for _ in range(100)]
    assert project.tidy(3) == [
        f"removed version 1 of {project.name}",
        f"removed version 1 of layer {project.layer}",
    ]


def test_others_are_only_asked_where_a_layer_version_may_go(project: Project, clients: Clients) -> None:
    project.deploy()
    before = calls(clients)
    assert project.tidy(3) == []
    made = {call[1]: count - before.get(call, 0) for call, count in calls(clients).items() if count != before.get(call)}
    assert made == {"ListVersionsByFunction": 1, "ListLayerVersions": 1}


def test_without_time_nothing_is_begun_and_that_is_a_warning(project: Project) -> None:
    for _ in range(3):
        project.deploy()
    assert project.tidy(1, seconds=1) == []
    assert "too little time is left" in project.warnings[0]
    assert project.left() == ([1, 2, 3], [1, 2, 3])


def test_what_aws_refuses_is_a_warning(project: Project) -> None:
    project.deploy()
    project.lab.client.delete_function(FunctionName=project.name)
    assert project.tidy(1) == []
    assert f"{project.name} is deployed, but old versions are left" in project.warnings[0]
