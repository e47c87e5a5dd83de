"""Which layers a function has after a deploy: its own and those that the build file names, whatever was there before.

G is deployed, then F with equal content, so that F borrows the layer version of G. Then F's content changes.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from builder.flow import release, single
from builder.publishing.publish import Publisher
from localaws.testing import Server
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
        kept = store.read_version(f"deployed/{f}.json")
        assert kept is not None
        assert kept.value is not None
        store.write_json(f"deployed/{f}.json", {**kept.value, "builder": "0.0.1"})
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


def test_a_layer_that_was_attached_by_hand_and_named_later_goes_with_its_name(lab: Lab, builder: InProcess) -> None:
    f, other = lab.name("adopted"), lab.layer({"marks/other.txt": "x"}, lab.name("other"))
    builder.deploy(f, layers=marks("one"))
    attach(lab, f, *attached(lab, f), other)
    builder.deploy(f, code="2", layers=marks("one"), named={"extra": other})
    builder.forget("deployed/")
    check(lab, f, builder.deploy(f, code="2", layers=marks("one")), "one")


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
    check(lab, f, builder.deploy(f, code="2a", layers=shared, components=["function"]), f"shared by {g}")
    builder.forget("deployed/", "records/")
    archive = {"layers": shared, "components": ["function"]}
    with pytest.raises(AssertionError, match="it is unknown which layer") as caught:
        builder.deploy(f, code="3", **archive)  # type: ignore[arg-type]
    assert "deploy once without" in str(caught.value)
    assert answer(lab, f)["code"] == "2a"
    assert builder.deploy(f, code="3", layers=shared)["layers"][0]["reused"]
    builder.deploy(f, code="4", layers=shared, components=["function"])
    assert answer(lab, f) == {"code": "4", "opt": shared["marks"]}


def test_a_rollback_while_the_same_is_built_again(
    lab: Lab, builder: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing had to be changed when the build began; that is no longer true when it ends."""
    f = lab.name("meanwhile")
    builder.deploy(f, code="1", layers=marks("one"))
    builder.deploy(f, code="2", layers=marks("two"))
    making = single.product_of
    monkeypatch.setattr(release, "_FRESH_S", 0.0)

    def slow(order: Any, context: Any) -> Any:
        made = making(order, context)
        monkeypatch.setattr(single, "product_of", making)
        assert builder.roll_back(f)["statusCode"] == 200
        return made

    monkeypatch.setattr(single, "product_of", slow)
    reply = builder.deploy(f, code="2", layers=marks("two"), force=True)
    assert reply["changed"]
    assert answer(lab, f) == {"code": "2", "opt": {"mark.txt": "two"}}


def exchanged(builder: InProcess, f: str, **event: Any) -> None:
    """Each of two layers has the version that was published for the other one."""
    builder.deploy(f, code="1", layers={"a": {"m.txt": "x"}, "b": {"m.txt": "y"}}, **event)
    builder.deploy(f, code="2", layers={"a": {"m.txt": "y"}, "b": {"m.txt": "x"}}, **event)


@pytest.mark.parametrize("lost", [(), ("deployed/",)], ids=["nothing", "deployed"])
def test_a_part_of_the_build_file_after_contents_were_exchanged(
    lab: Lab, builder: InProcess, lost: tuple[str, ...]
) -> None:
    f = lab.name("exchanged")
    exchanged(builder, f)
    if lost:
        builder.forget(*lost)
    layers = {"a": {"m.txt": "y"}, "b": {"m.txt": "x"}}
    for code, components in (("3", ["function"]), ("4", ["function", "a"])):
        reply = builder.deploy(f, code=code, layers=layers, components=components)
        assert answer(lab, f) == {"code": code, "opt": {"m.txt": "x"}}
        assert attached(lab, f) == [layer["arn"] for layer in reply["layers"]]


def test_a_part_of_the_build_file_after_a_rollback(lab: Lab, builder: InProcess, tmp_path: Path) -> None:
    f = lab.name("rolled")
    exchanged(builder, f)
    assert builder.roll_back(f)["statusCode"] == 200
    layers = {"a": {"m.txt": "x"}, "b": {"m.txt": "y"}}
    builder.deploy(f, code="3", layers=layers, components=["function"])
    assert answer(lab, f) == {"code": "3", "opt": {"m.txt": "y"}}
    other = InProcess(lab, tmp_path / "other")
    with pytest.raises(AssertionError, match="it is unknown which layer"):
        other.deploy(f, code="4", layers=layers, components=["function"])
    assert answer(lab, f)["code"] == "3"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"deps": "x"}, {"base": "x", "deps": "z"}),
        ({"a": "x"}, {"a": "z", "b": "x"}),
        ({"a": "x", "b": "y"}, {"b": "x", "c": "y", "a": "z"}),
    ],
    ids=["split", "renamed", "moved round"],
)
def test_a_layer_s_name_is_used_again_for_other_content(
    lab: Lab, builder: InProcess, before: dict[str, str], after: dict[str, str]
) -> None:
    f = lab.name("renamed")
    for layers in (before, after, before, after):
        reply = builder.deploy(f, layers={name: {f"{text}.txt": text} for name, text in layers.items()})
        assert answer(lab, f)["opt"] == {f"{text}.txt": text for text in layers.values()}
    assert {layer["name"] for layer in reply["layers"]} == {*after}
    assert builder.roll_back(f)["statusCode"] == 200
    assert answer(lab, f)["opt"] == {f"{text}.txt": text for text in before.values()}


def test_a_borrowed_layer_of_which_the_build_file_names_another_version(lab: Lab, builder: InProcess) -> None:
    f, g = lab.name("both"), lab.name("owner")
    builder.deploy(g, layers={"a": {"one.txt": f"1 {g}"}})
    second = builder.deploy(g, layers={"a": {"two.txt": f"2 {g}"}})["layers"][0]["arn"]
    own = {"own": {"one.txt": f"1 {g}"}}
    builder.deploy(f, layers=own)
    with pytest.raises(AssertionError, match="own also has to be built"):
        builder.deploy(f, code="2", layers=own, named={"g": second}, components=["function"])
    builder.deploy(f, code="2", layers=own, named={"g": second})
    assert answer(lab, f) == {"code": "2", "opt": {"one.txt": f"1 {g}", "two.txt": f"2 {g}"}}


def test_two_layers_of_one_content_around_a_third(lab: Lab, builder: InProcess) -> None:
    f = lab.name("around")
    layers = {"a": {"m.txt": "a"}, "c": {"m.txt": "c"}, "b": {"m.txt": "a"}}
    for code in ("1", "2"):
        builder.deploy(f, code=code, layers=layers, alias="live")
        assert answer(lab, f)["opt"] == {"m.txt": "a"}, "b comes last"
    back = builder.roll_back(f, alias="live")
    assert back["changed"] == [f"point alias live of {f} at version 1"]


def test_a_layer_that_was_never_built_cannot_be_left_out(lab: Lab, builder: InProcess) -> None:
    f = lab.name("never")
    builder.deploy(f, layers=marks("x"))
    both = {**marks("x"), "new": {"new.txt": "y"}}
    with pytest.raises(AssertionError, match="new is not built"):
        builder.deploy(f, code="2", layers=both, components=["function"])
    assert answer(lab, f)["code"] == "1"


def test_a_version_that_was_deleted_is_published_again(lab: Lab, builder: InProcess) -> None:
    f = lab.name("unpublished")
    first = builder.deploy(f, layers=marks("x"), version=True)["function"]["version"]
    lab.client.delete_function(FunctionName=f, Qualifier=first)
    again = builder.deploy(f, layers=marks("x"), version=True)["function"]["version"]
    assert answer(lab, f, again)["opt"] == {"mark.txt": "x"}


def test_a_builder_s_layer_that_was_attached_by_hand_is_not_detached_in_silence(lab: Lab, builder: InProcess) -> None:
    f, g = lab.name("handy"), lab.name("owner")
    made = builder.deploy(g, layers={"shared": {"shared.txt": g}})["layers"][0]["arn"]
    builder.deploy(f, layers=marks("x"))
    attach(lab, f, *attached(lab, f), made)
    reply = builder.deploy(f, layers=marks("y"))
    assert any(made in warning and "name it in the build file" in warning for warning in reply["warnings"])
    check(lab, f, reply, "y")


def test_five_layers_and_one_of_them_was_deleted(lab: Lab, builder: InProcess) -> None:
    f, foreign = lab.name("five"), lab.layer({"x.txt": "x"}, lab.name("gone"))
    layers = {f"l{number}": {f"{number}.txt": f"{number}"} for number in range(4)}
    builder.deploy(f, layers=layers)
    attach(lab, f, *attached(lab, f), foreign)
    delete(lab, foreign)
    layers["l4"] = {"4.txt": "4"}
    assert len(builder.deploy(f, layers=layers)["layers"]) == 5
    assert answer(lab, f)["opt"] == {f"{number}.txt": f"{number}" for number in range(5)}


def test_layer_versions_say_who_made_them_of_what(lab: Lab, builder: InProcess) -> None:
    f = lab.name("signed")
    reply = builder.deploy(f, layers=marks("x"))
    found = lab.client.get_layer_version_by_arn(Arn=reply["layers"][0]["arn"])
    (sha256,) = (row["sha256"] for row in reply["artifacts"] if row["name"] == "marks")
    assert found["Description"] == f"marks of {f} [lambdasmith {sha256[:16]} {builder.store().identity}]"


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
