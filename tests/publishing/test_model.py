"""Whatever was done before, a function answers from what its last deploy or rollback meant: against a model.

Three functions with few contents, so that they borrow each other's layers all the time, two builders that do not know
of each other, lost records and buckets, layers attached and deleted by hand. After each step, what a function and its
alias answer from /opt and /var/task is what the model says.

`pytest --hypothesis-profile=explore tests/publishing/test_model.py` looks further.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from builder.publishing.publication import in_place
from localaws.testing import Server, zip_of
from tests.localaws.lab import Lab, make_lab
from tests.publishing.inprocess import HANDLER, InProcess, answer, attach, attached, delete, project

BY_HAND = zip_of({"app.py": HANDLER.format(code="by hand")})
MARKS = ("m1", "m2", "m3")
ALIAS = "live"
functions, builders = st.integers(0, 2), st.integers(0, 1)
# What happens before a deploy or a rollback.
TROUBLES = (
    "none",
    "lost deployed/",
    "lost layers/",
    "lost all",
    "upgraded",
    "attached",
    "changed code",
    "deleted layer",
)
troubles = st.sampled_from(TROUBLES)


@dataclass(frozen=True)
class Content:
    """What a deploy meant: code, and layers by name with the text of the one file that all of them have.

    `agent` is what someone attached by hand besides.
    """

    code: str
    files: tuple[tuple[str, str], ...] = ()
    agent: bool = False

    @property
    def answers(self) -> dict[str, Any]:
        hand = {"agent.txt": "agent"} if self.agent else {}
        return {"code": self.code, "opt": hand | {"mark.txt": self.files[-1][1]}}

    @property
    def layers(self) -> dict[str, dict[str, str]]:
        return {name: {"mark.txt": text} for name, text in self.files}


@dataclass
class Model:
    """One function. `known`: what the code and layers were that a builder's build left, by builder and build id."""

    name: str
    latest: Content = Content("")
    live: Content | None = None
    known: dict[tuple[int, str], Content] = field(default_factory=dict)


contents = st.builds(
    lambda code, names, texts: Content(code, tuple(zip(names, texts, strict=False))),
    st.sampled_from(("c1", "c2")),
    st.sampled_from([("one",), ("one", "two"), ("two", "one"), ("two", "three", "one")]),
    st.tuples(*(st.sampled_from(MARKS) for _ in range(3))),
)


class Deploys(RuleBasedStateMachine):
    """Few rules with many arguments: of many rules, hypothesis leaves most out of an example."""

    lab: Lab
    folder: Path

    @initialize(content=contents)
    def begin(self, content: Content) -> None:
        self.models = [Model(self.lab.name(f"model{number}")) for number in range(3)]
        self.builders = [InProcess(self.lab, self.folder) for _ in range(2)]
        self.agent = self.lab.layer({"marks/agent.txt": "agent"}, self.lab.name("agent"))
        for number in range(3):
            self._deploy(number, 0, content, alias=number == 2)

    @rule(number=functions, by=builders, content=contents, alias=st.booleans(), force=st.booleans(), trouble=troubles)
    def deploy(self, number: int, by: int, content: Content, alias: bool, force: bool, trouble: str) -> None:
        self._make(trouble, number, by)
        self._deploy(number, by, content, alias=alias, force=force)

    @rule(number=functions, by=builders, pair=st.lists(contents, min_size=2, max_size=2, unique=True))
    def deploy_two_at_once(self, number: int, by: int, pair: list[Content]) -> None:
        model = self.models[number]
        replies: dict[int, dict[str, Any]] = {}

        def deploy(place: int) -> None:
            replies[place] = self.builders[by].deploy(model.name, pair[place].code, pair[place].layers, version=True)

        threads = [threading.Thread(target=deploy, args=(place,)) for place in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        meant = {place: replace(pair[place], agent=model.latest.agent) for place in replies}
        for place, reply in replies.items():
            assert answer(self.lab, model.name, reply["function"]["version"]) == meant[place].answers
            model.known[by, reply["build_id"]] = meant[place]
        found, there = answer(self.lab, model.name), attached(self.lab, model.name)
        # The last one had the function after the other.
        (model.latest, *_) = (
            meant[place]
            for place, reply in replies.items()
            if meant[place].answers == found
            and [*in_place(layer["arn"] for layer in reply["layers"])] == [arn for arn in there if arn != self.agent]
        )
        assert len(replies) == 2

    @rule(number=functions, by=builders, code=st.sampled_from(("c3", "c4")), trouble=troubles)
    def deploy_the_code_alone(self, number: int, by: int, code: str, trouble: str) -> None:
        """The builder knows which layer is which, or refuses."""
        model = self.models[number]
        content = replace(model.latest, code=code)
        if not content.files:
            return
        self._make(trouble, number, by)
        archive = project(self.lab.runtime, code, content.layers, {})
        event = {"action": "build", "function": model.name, "archive": archive, "components": ["function"]}
        reply = self.builders[by].send(event)
        if reply["statusCode"] == 200:
            model.latest = replace(content, agent=model.latest.agent)
            model.known[by, reply["build_id"]] = model.latest
        else:
            assert reply["error"]["code"] == "invalid_event", reply
            assert (
                "deploy once without `components`" in reply["error"]["hint"]
                or "deploy without" in reply["error"]["hint"]
            )
        self._check(model)

    @rule(number=functions, by=builders, alias=st.booleans(), trouble=troubles)
    def roll_back(self, number: int, by: int, alias: bool, trouble: str) -> None:
        model = self.models[number]
        self._make(trouble, number, by)
        reply = self.builders[by].roll_back(model.name, **_alias(alias))
        if reply["statusCode"] != 200:
            assert reply["error"]["code"] == "unknown_build", reply
            return
        meant = model.known[by, reply["restored"]]
        model.known[by, reply["build_id"]] = meant
        if reply["function"]["alias"]:
            # A version is as it was made, with or without what someone had attached.
            model.live = replace(meant, agent="agent.txt" in answer(self.lab, model.name, ALIAS)["opt"])
        if not reply["function"]["alias"] or any("publish a version" in step for step in reply["changed"]):
            model.latest = replace(meant, agent=model.latest.agent)
        self._check(model)

    def teardown(self) -> None:
        for model in getattr(self, "models", ()):
            self._check(model)
            self.lab.client.delete_function(FunctionName=model.name)

    def _deploy(self, number: int, by: int, content: Content, *, alias: bool, force: bool = False) -> None:
        model = self.models[number]
        reply = self.builders[by].deploy(model.name, content.code, content.layers, force=force, **_alias(alias))
        model.latest = replace(content, agent=model.latest.agent)
        if alias:
            model.live = model.latest
        model.known[by, reply["build_id"]] = model.latest
        self._check(model)

    def _make(self, trouble: str, number: int, by: int) -> None:
        model, builder, lab = self.models[number], self.builders[by], self.lab
        match trouble:
            case "upgraded":
                store, name = builder.store(), f"deployed/{model.name}.json"
                if (kept := store.read_version(name)) and kept.value:
                    store.write_json(name, {**kept.value, "builder": "0.0.1"})
            case "attached":
                if not model.latest.agent:
                    with contextlib.suppress(lab.client.exceptions.InvalidParameterValueException):
                        # Lambda refuses that where one of the others was deleted.
                        attach(lab, model.name, *attached(lab, model.name), self.agent)
                        model.latest = replace(model.latest, agent=True)
            case "changed code":
                lab.client.update_function_code(FunctionName=model.name, ZipFile=BY_HAND)
                lab.settle(model.name)
                model.latest = replace(model.latest, code="by hand")
            case "deleted layer":
                for arn in [arn for arn in attached(lab, model.name) if arn != self.agent][-1:]:
                    delete(lab, arn)
            case _ if trouble.startswith("lost"):
                what = trouble.removeprefix("lost ")
                builder.forget(*([] if what == "all" else [what]))

    def _check(self, model: Model) -> None:
        assert answer(self.lab, model.name) == model.latest.answers
        if model.live is not None:
            assert answer(self.lab, model.name, ALIAS) == model.live.answers


def _alias(alias: bool) -> dict[str, Any]:
    return {"alias": ALIAS} if alias else {}


@pytest.fixture(scope="module")
def lab(localaws: Server) -> Lab:
    if "isolation plain" in localaws.ready_line:
        pytest.skip("functions read /opt, which needs the sandbox; install bubblewrap, and allow user namespaces")
    return make_lab(localaws)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def test_what_answers_is_what_was_meant(lab: Lab, folder: Path) -> None:
    class Here(Deploys):
        pass

    Here.lab, Here.folder = lab, folder
    explores = settings.get_current_profile_name() == "explore"
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Here,
        settings=settings(
            # To make a failing example smaller takes minutes: explore does it.
            phases=[Phase.generate, Phase.target, Phase.shrink] if explores else [Phase.generate],
            max_examples=100 if explores else 5,
            stateful_step_count=20 if explores else 8,
            suppress_health_check=checks,
            deadline=None,
        ),
    )
