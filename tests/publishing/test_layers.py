"""Which layers a function has after a deploy: its own and those that the build file names, whatever was there before.

G is deployed, then F with equal content, so that F borrows the layer version of G. Then F's content changes.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from builder.publishing.publish import Publisher
from localaws.testing import Server
from tests.builder.storing import read_json
from tests.localaws.lab import Lab, make_lab
from tests.publishing.inprocess import InProcess, answer, attach, attached, delete


@pytest.fixture(scope="module")
def lab(localaws: Server) -> Lab:
    if "isolation plain" in localaws.ready_line:
        pytest.skip("functions read /opt, which needs the sandbox; install bubblewrap, and allow user namespaces")
    return make_lab(localaws)


@pytest.fixture
def builder(lab: Lab, tmp_path: Path) -> InProcess:
    return InProcess(lab, tmp_path)


def marks(text: str, name: str = "mark.txt") -> dict[str, dict[str, str]]:
    return {"marks": {name: text}}


@pytest.fixture
def pair(lab: Lab, builder: InProcess) -> tuple[str, str]:
    """F and G; F has G's layer."""
    f, g = lab.name("borrower"), lab.name("owner")
    shared = marks(f"shared by {g}")
    owned = builder.deploy(g, layers=shared)["layers"][0]["arn"]
    assert builder.deploy(f, layers=shared)["layers"][0]["arn"] == owned
    assert attached(lab, f) == [owned]
    return f, g


def check(lab: Lab, function: str, reply: dict[str, Any], text: str, *, alias: str | None = None) -> None:
    """The function has just the reply's layers, and finds `text` in them."""
    if alias is None:
        assert attached(lab, function) == [layer["arn"] for layer in reply["layers"]]
    assert answer(lab, function, alias)["opt"] == {"mark.txt": text}


@pytest.mark.parametrize("lost", ["upgraded", "deployed", "layers", "bucket"])
def test_a_borrowed_layer_goes_whatever_the_store_has_lost(
    lab: Lab, builder: InProcess, pair: tuple[str, str], lost: str
) -> None:
    f, _ = pair
    if lost == "upgraded":
        store = builder.store()
        kept = read_json(store, f"deployed/{f}.json")
        assert kept is not None
        store.write_json(f"deployed/{f}.json", {**kept, "builder": "0.0.1"})
    else:
        builder.forget(*{"deployed": ["deployed/"], "layers": ["layers/"], "bucket": []}[lost])
    check(lab, f, builder.deploy(f, layers=marks("new")), "new")
    assert builder.deploy(f, layers=marks("new"), force=True)["changed"] == []


def test_a_borrowed_layer_is_used_again_though_the_bucket_was_lost(
    lab: Lab, builder: InProcess, pair: tuple[str, str]
) -> None:
    f, g = pair
    builder.forget()
    reply = builder.deploy(f, code="2", layers=marks(f"shared by {g}"))
    assert [layer["reused"] for layer in reply["layers"]] == [True]
    check(lab, f, reply, f"shared by {g}")


def test_deploys_at_once_of_which_the_first_borrows(lab: Lab, builder: InProcess) -> None:
    f, g = lab.name("crowd"), lab.name("owner")
    builder.deploy(g, layers=marks("0"))
    builder.deploy(f, layers=marks("begin"))
    replies: dict[str, Any] = {}

    def deploy(text: str) -> None:
        replies[text] = builder.deploy(f, code=text, layers=marks(text), version=True)

    threads = [threading.Thread(target=deploy, args=(str(number),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for text, reply in replies.items():
        found = answer(lab, f, reply["function"]["version"])
        assert found == {"code": text, "opt": {"mark.txt": text}}, (text, reply)
    assert len(replies) == 6
    assert len(attached(lab, f)) == 1


@pytest.mark.parametrize("alias", [None, "live"])
def test_rollback_away_from_a_borrowed_layer_and_onto_one(lab: Lab, builder: InProcess, alias: str | None) -> None:
    f, g = lab.name("turning"), lab.name("owner")
    event: dict[str, Any] = {"alias": alias} if alias else {}
    builder.deploy(g, layers=marks(f"of {g}"))
    builder.deploy(f, code="1", layers=marks("own"), **event)
    builder.deploy(f, code="2", layers=marks(f"of {g}"), **event)
    back = builder.roll_back(f, **event)
    assert back["statusCode"] == 200, back
    check(lab, f, back, "own", alias=alias)
    builder.deploy(f, code="3", layers=marks(f"of {g}"), **event)
    builder.deploy(f, code="4", layers=marks("later"), **event)
    onto = builder.roll_back(f, **event)
    assert onto["statusCode"] == 200, onto
    check(lab, f, onto, f"of {g}", alias=alias)
    check(lab, f, builder.deploy(f, code="5", layers=marks("newest"), **event), "newest", alias=alias)


def test_what_someone_else_attached_stays_and_cannot_cover_ours(lab: Lab, builder: InProcess) -> None:
    f = lab.name("watched")
    foreign = lab.layer({"marks/mark.txt": "foreign", "marks/agent.txt": "agent"}, lab.name("agent"))
    reply = builder.deploy(f, layers=marks("first"))
    attach(lab, f, *attached(lab, f), foreign)
    reply = builder.deploy(f, layers=marks("second"))
    assert attached(lab, f) == [foreign, reply["layers"][0]["arn"]]
    assert answer(lab, f)["opt"] == {"mark.txt": "second", "agent.txt": "agent"}
    (warning,) = (text for text in reply["warnings"] if foreign in text)
    assert "marks/mark.txt" in warning
    assert "marks" in warning.replace("marks/mark.txt", "")


def test_a_layer_that_the_build_file_names_no_more_is_detached(lab: Lab, builder: InProcess) -> None:
    f, other = lab.name("naming"), lab.layer({"marks/other.txt": "x"}, lab.name("other"))
    builder.deploy(f, layers=marks("one"), named={"extra": other})
    assert answer(lab, f)["opt"] == {"mark.txt": "one", "other.txt": "x"}
    builder.forget("deployed/")
    check(lab, f, builder.deploy(f, layers=marks("one")), "one")


def test_another_builder_uses_the_versions_that_the_account_has(lab: Lab, builder: InProcess, tmp_path: Path) -> None:
    f, second = lab.name("shared"), InProcess(lab, tmp_path / "second")
    first = builder.deploy(f, layers={**marks("x"), "more": {"more.txt": "y"}})
    builder.deploy(f, layers=marks("x", "renamed.txt"))
    again = second.deploy(f, layers={**marks("x"), "more": {"more.txt": "y"}})
    assert [layer["arn"] for layer in again["layers"]] == [layer["arn"] for layer in first["layers"]]
    assert [layer["reused"] for layer in again["layers"]] == [True, True]


def test_a_layer_that_was_deleted_while_it_was_attached(lab: Lab, builder: InProcess, pair: tuple[str, str]) -> None:
    f, g = pair
    (borrowed,) = attached(lab, g)
    delete(lab, borrowed)
    # What the old code needs stays until the new code is there, as far as Lambda attaches it.
    check(lab, g, builder.deploy(g, code="2", layers=marks("new")), "new")
    both = {**marks(f"shared by {g}"), "more": {"more.txt": "y"}}
    reply = builder.deploy(f, layers=both)
    assert attached(lab, f) == [layer["arn"] for layer in reply["layers"]]
    assert borrowed not in attached(lab, f), "Lambda attaches no version that is gone"
    assert answer(lab, f)["opt"] == {"mark.txt": f"shared by {g}", "more.txt": "y"}


def test_two_layers_that_another_function_had_one_after_the_other(lab: Lab, builder: InProcess) -> None:
    f, g = lab.name("double"), lab.name("owner")
    one, two = {"one.txt": f"1 {g}"}, {"two.txt": f"2 {g}"}
    builder.deploy(g, layers={"marks": one})
    builder.deploy(g, layers={"marks": two})
    wanted = {"one.txt": f"1 {g}", "two.txt": f"2 {g}"}
    for _ in range(2):
        builder.deploy(f, layers={"a": one, "b": two})
        assert answer(lab, f)["opt"] == wanted
    builder.deploy(f, code="2", layers={"a": one, "b": one})
    assert answer(lab, f) == {"code": "2", "opt": one}


def test_a_part_of_the_build_file_keeps_the_layers_that_it_leaves_out(
    lab: Lab, builder: InProcess, pair: tuple[str, str]
) -> None:
    f, g = pair
    shared = marks(f"shared by {g}")
    check(lab, f, builder.deploy(f, code="2", layers=shared, components=["function"]), f"shared by {g}")
    builder.forget("deployed/")
    archive = {"layers": shared, "components": ["function"]}
    with pytest.raises(AssertionError, match="nothing says whether") as caught:
        builder.deploy(f, code="3", **archive)  # type: ignore[arg-type]
    assert "deploy once without" in str(caught.value)
    assert answer(lab, f)["code"] == "2"
    assert builder.deploy(f, code="3", layers=shared)["layers"][0]["reused"]
    builder.deploy(f, code="4", layers=shared, components=["function"])
    assert answer(lab, f) == {"code": "4", "opt": shared["marks"]}


def test_layer_versions_say_who_made_them_of_what(lab: Lab, builder: InProcess) -> None:
    f = lab.name("signed")
    reply = builder.deploy(f, layers=marks("x"))
    found = lab.client.get_layer_version_by_arn(Arn=reply["layers"][0]["arn"])
    (sha256,) = (row["sha256"] for row in reply["artifacts"] if row["name"] == "marks")
    assert found["Description"] == f"marks of {f} [lambdasmith {sha256[:16]}]"


def test_a_change_beside_the_deploy_is_no_success(
    lab: Lab, builder: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Someone attaches other layers after our last look, before the reply: the reply must not say 200."""
    f, other = lab.name("beside"), lab.layer({"marks/mark.txt": "x"}, lab.name("other"))
    builder.deploy(f, code="1", layers=marks("one"))
    changed: list[str] = []
    settled = Publisher._settled

    def beside(publisher: Publisher, version: str = "$LATEST") -> Any:
        if publisher.touched and not changed:
            settled(publisher, version)
            attach(lab, f, other)
            changed.append(version)
        return settled(publisher, version)

    monkeypatch.setattr(Publisher, "_settled", beside)
    with pytest.raises(AssertionError, match="content_mismatch") as caught:
        builder.deploy(f, code="2", layers=marks("one"))
    said = str(caught.value)
    assert other in said
    assert "roll back" in said
    assert changed
    assert builder.roll_back(f)["error"]["code"] == "unknown_build", "it is no build to return from"
    detached = builder.deploy(f, code="2", layers=marks("one"))
    assert attached(lab, f) == [other, detached["layers"][0]["arn"]]
    assert answer(lab, f) == {"code": "2", "opt": {"mark.txt": "one"}}
