"""Rollback, history, verify, weighted aliases, a payload tried first, plan: through the embedded AWS."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from localaws.testing import zip_of
from tests.e2e.conftest import Builder

CODE = """import idna
def handler(event, context):
    if event == "break":
        raise RuntimeError("asked to")
    return {"n": 1, "event": event}
"""


def project(runtime: str, extra: str = "") -> dict[str, str]:
    return {
        "build.yaml": f"function:\n  runtimes: [{runtime}]\n  handler: app.handler\n  files: [app.py]\n  memory: 128\n"
        f"{extra}layers:\n  dependencies: [requirements.txt]\n",
        "requirements.txt": "idna==3.10\n",
        "app.py": CODE,
    }


def numbered(number: int) -> dict[str, str]:
    return {"app.py": CODE.replace('"n": 1', f'"n": {number}')}


def deployed(builder: Builder, name: str, count: int, **event: object) -> list[dict[str, Any]]:
    """Builds of `count` commits one after the other; the replies."""
    replies = []
    for number in range(1, count + 1):
        files = project(builder.runtime) if number == 1 else {}
        builder.forge.push(name, {**files, **numbered(number)})
        reply = builder.build(name, **event)
        assert reply["statusCode"] == 200, reply
        replies.append(reply)
    return replies


def answer(builder: Builder, name: str, alias: str | None = None) -> int:
    arguments = {"Qualifier": alias} if alias else {}
    return int(builder.invoke(name, **arguments)["n"])


def test_rollback_by_alias_moves_nothing_but_the_alias(builder: Builder) -> None:
    builds = deployed(builder, "back", 3, alias="live")
    assert answer(builder, "back", "live") == 3
    before = builder.client("lambda").get_function(FunctionName="back")["Configuration"]["LastModified"]
    shown = builder.send({"action": "rollback", "function": "back", "alias": "live", "preview": True})
    assert shown["statusCode"] == 200, shown
    way = shown["rollback"]
    assert [way[when]["build_id"] for when in ("now", "then")] == [builds[2]["build_id"], builds[1]["build_id"]]
    assert [way[when]["version"] for when in ("now", "then")] == ["3", "2"]
    assert way["differences"] == ["code"]
    assert way["steps"] == ["point alias live of back at version 2"]
    assert answer(builder, "back", "live") == 3, "a preview does nothing"
    reply = builder.send({"action": "rollback", "function": "back", "alias": "live", "by": "ann"})
    assert reply["statusCode"] == 200, reply
    assert reply["restored"] == builds[1]["build_id"]
    assert reply["changed"] == ["point alias live of back at version 2"]
    assert reply["rollback"].items() >= {key: way[key] for key in ("alias", "differences")}.items()
    assert reply["function"]["code_sha256"] == builds[1]["function"]["code_sha256"], "what serves, not what $LATEST has"
    assert answer(builder, "back", "live") == 2
    assert answer(builder, "back") == 3
    assert builder.client("lambda").get_function(FunctionName="back")["Configuration"]["LastModified"] == before
    again = builder.send({"action": "rollback", "function": "back"})
    assert again["rollback"]["now"]["build_id"] == builds[1]["build_id"]
    assert again["restored"] == builds[0]["build_id"], "a second one goes one further back, by the alias that there is"
    assert answer(builder, "back", "live") == 1
    none_left = builder.send({"action": "rollback", "function": "back", "alias": "live"})
    assert none_left["error"]["code"] == "unknown_build"
    assert "no earlier build" in none_left["error"]["message"]
    named = builder.send({"action": "rollback", "function": "back", "build": builds[2]["build_id"]})
    assert named["statusCode"] == 200, named
    assert answer(builder, "back", "live") == 3
    history = builder.send({"action": "history", "function": "back"})["history"]
    assert [row["action"] for row in history] == [
        "rollback",
        "rollback",
        "rollback",
        "rollback",
        "build",
        "build",
        "build",
    ]
    assert history[3]["by"] == "ann"
    assert history[3]["restored"] == builds[1]["build_id"]


def test_a_build_that_found_its_version_there_can_be_returned_to(builder: Builder) -> None:
    deployed(builder, "found", 1, alias="live")
    tried = builder.build("found", alias="live", invoke={})
    assert tried["changed"] == ["invoke found version 1"], tried
    builder.forge.push("found", numbered(2))
    assert builder.build("found", alias="live")["function"]["version"] == "2"
    reply = builder.send({"action": "rollback", "function": "found", "build": tried["build_id"]})
    assert reply["changed"] == ["point alias live of found at version 1"], reply
    assert answer(builder, "found", "live") == 1


def test_rollback_without_alias_deploys_the_earlier_artifacts_and_settings(builder: Builder) -> None:
    first = deployed(builder, "plain", 1)[0]
    files = project(builder.runtime, "  timeout: 9\n  environment: {LEVEL: high}\n")
    builder.forge.push("plain", {**files, "requirements.txt": "idna==3.9\n", **numbered(2)})
    assert builder.build("plain")["statusCode"] == 200
    reply = builder.send({"action": "rollback", "function": "plain"})
    assert reply["statusCode"] == 200, reply
    assert reply["rollback"]["differences"] == ["code", "layer dependencies", "Environment", "Timeout"]
    assert reply["restored"] == first["build_id"]
    assert answer(builder, "plain") == 1
    configuration = builder.client("lambda").get_function(FunctionName="plain")["Configuration"]
    assert configuration["CodeSha256"] == first["function"]["code_sha256"]
    assert [layer["Arn"] for layer in configuration["Layers"]] == [layer["arn"] for layer in first["layers"]]
    nothing = builder.send({"action": "rollback", "function": "plain", "build": first["build_id"]})
    assert nothing["statusCode"] == 200
    assert nothing["changed"] == []


def test_rollback_publishes_a_layer_again_that_was_removed(builder: Builder) -> None:
    first = deployed(builder, "relayer", 1)[0]
    arn = first["layers"][0]["arn"]
    builder.forge.push("relayer", {"requirements.txt": "idna==3.8\n"})
    assert builder.build("relayer")["statusCode"] == 200
    name, version = arn.split(":")[6:8]
    builder.client("lambda").delete_layer_version(LayerName=name, VersionNumber=int(version))
    reply = builder.send({"action": "rollback", "function": "relayer"})
    assert reply["statusCode"] == 200, reply
    assert answer(builder, "relayer") == 1
    assert reply["layers"][0]["arn"] != arn


def test_rollback_says_what_it_cannot_do(builder: Builder) -> None:
    replies = deployed(builder, "stuck", 2)
    first = replies[0]["build_id"]
    bucket = builder.send({"action": "ping"})["settings"]["bucket"]
    place = builder.client("lambda").get_function(FunctionName="stuck")["Configuration"]["CodeSha256"]
    code = base64.b64decode(replies[0]["function"]["code_sha256"]).hex()
    key = f"lambdasmith/artifacts/{code}.zip"
    builder.client("s3").put_object(Bucket=bucket, Key=key, Body=b"damaged", ChecksumAlgorithm="SHA256")
    for preview in (True, False):
        reply = builder.send({"action": "rollback", "function": "stuck", "build": first, "preview": preview})
        assert (reply["statusCode"], reply["error"]["code"]) == (409, "store_damaged"), reply
        assert key in reply["error"]["message"]
        assert f"is damaged: the code of build {first} is there, and its content is not" in reply["error"]["message"]
        assert f"build commit {replies[0]['commit'][:12]} again" in reply["error"]["hint"]
    builder.client("s3").delete_object(Bucket=bucket, Key=key)
    for preview in (True, False):
        reply = builder.send({"action": "rollback", "function": "stuck", "build": first, "preview": preview})
        assert (reply["statusCode"], reply["error"]["code"]) == (404, "unknown_build"), reply
        assert f"the code of build {first} is no longer in the bucket" in reply["error"]["message"]
    now = builder.client("lambda").get_function(FunctionName="stuck")["Configuration"]["CodeSha256"]
    assert now == place, "before anything is changed"
    deployed(builder, "stuck-once", 1)
    for event, said in (
        ({"function": "stuck-once"}, "stuck-once has no earlier build"),
        ({"function": "stuck", "build": "nosuch"}, "'nosuch'"),
        ({"function": "never-built"}, "never-built has no earlier build"),
    ):
        reply = builder.send({"action": "rollback", **event})
        assert (reply["statusCode"], reply["error"]["code"]) == (404, "unknown_build"), reply
        assert said in reply["error"]["message"]


def test_verify_builds_again_and_finds_what_was_changed_by_hand(builder: Builder) -> None:
    deployed(builder, "proof", 2, alias="live")
    reply = builder.send({"action": "verify", "function": "proof"})
    assert reply["statusCode"] == 200, reply
    assert reply["verify"]["same"], reply["verify"]
    assert {row["name"] for row in reply["verify"]["components"]} == {"function", "dependencies"}
    builder.forge.push("proof", numbered(7))
    assert builder.send({"action": "verify", "function": "proof"})["verify"]["same"], "the recorded commit counts"
    import io
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("app.py", "def handler(event, context): return {'n': 666}\n")
    client = builder.client("lambda")
    client.update_function_code(FunctionName="proof", ZipFile=out.getvalue())
    client.get_waiter("function_updated_v2").wait(FunctionName="proof")
    version = client.publish_version(FunctionName="proof")["Version"]
    client.update_alias(FunctionName="proof", Name="live", FunctionVersion=version)
    changed = builder.send({"action": "verify", "function": "proof"})["verify"]
    assert not changed["same"]
    assert {row["name"]: row["same"] for row in changed["components"]} == {"function": False, "dependencies": True}


def test_a_weighted_alias_shifts_a_part_of_the_traffic_then_all_of_it(builder: Builder) -> None:
    deployed(builder, "shift", 1, alias="live")
    builder.forge.push("shift", numbered(2))
    reply = builder.build("shift", alias={"name": "live", "weight": 0.25})
    assert reply["statusCode"] == 200, reply
    client = builder.client("lambda")
    alias = client.get_alias(FunctionName="shift", Name="live")
    assert alias["FunctionVersion"] == "1"
    assert alias["RoutingConfig"]["AdditionalVersionWeights"] == {"2": 0.25}
    assert {answer(builder, "shift", "live") for _ in range(60)} == {1, 2}
    assert builder.build("shift", alias={"name": "live", "weight": 0.25})["changed"] == []
    assert builder.build("shift", alias="live")["changed"] == ["point alias live of shift at version 2"]
    alias = client.get_alias(FunctionName="shift", Name="live")
    assert alias["FunctionVersion"] == "2"
    assert not alias.get("RoutingConfig", {}).get("AdditionalVersionWeights")


def test_a_payload_is_tried_on_the_new_version_before_the_alias_moves(builder: Builder) -> None:
    deployed(builder, "tried", 1, alias="live")
    builder.forge.push("tried", numbered(2))
    reply = builder.build("tried", alias="live", invoke="break")
    assert reply["error"]["code"] == "invoke_failed", reply
    assert reply["error"]["message"].endswith("returned an error for the payload (Unhandled): RuntimeError: asked to")
    assert reply["error"]["hint"].startswith("no alias was moved")
    assert any("RuntimeError" in line for line in reply["error"]["log_tail"])
    assert answer(builder, "tried", "live") == 1
    reply = builder.build("tried", alias="live", invoke={"hello": [1]})
    assert reply["statusCode"] == 200, reply
    assert reply["invoke"]["payload"] == {"n": 2, "event": {"hello": [1]}}
    assert reply["invoke"]["version"] == "2"
    assert answer(builder, "tried", "live") == 2
    assert (reply["invoke"]["size"], reply["invoke"]["cut"]) == (33, False)
    assert any(line.startswith("END RequestId: ") for line in reply["invoke"]["log_tail"])
    again = builder.build("tried", alias="live", invoke={"hello": [2]})
    assert again["changed"] == ["invoke tried version 2"]
    assert again["invoke"]["payload"]["event"] == {"hello": [2]}
    builder.forge.push("tried", {"app.py": CODE.replace('"n": 1', '"n": "ö" * 200_000')})
    tried = builder.build("tried", invoke=0)["invoke"]
    # Up to python3.11, Lambda's runtime escapes what is not ASCII.
    sizes = [len('{"n": "", "event": 0}') + 200_000 * len(text.encode()) for text in ("é", "\\u00e9")]
    assert (tried["version"], tried["cut"]) == ("$LATEST", True)
    assert tried["size"] in sizes
    assert tried["payload"].startswith(('{"n": "öö', '{"n": "\\u00f6'))
    assert builder.build("tried", invoke="break")["error"]["hint"].startswith("it is deployed: ")


def test_plan_says_which_inputs_changed_and_what_was_changed_by_hand(builder: Builder) -> None:
    deployed(builder, "foreseen", 1, alias="live")
    builder.client("lambda").update_function_configuration(FunctionName="foreseen", MemorySize=512)
    builder.client("lambda").get_waiter("function_updated_v2").wait(FunctionName="foreseen")
    builder.forge.push("foreseen", {**numbered(2), "requirements.txt": "idna==3.9\nsix==1.17.0\n"})
    records = builder.send({"action": "history", "function": "foreseen"})["history"]
    plan = builder.build("foreseen", action="plan", alias="live")["plan"]
    rows = {row["name"]: row for row in plan["components"]}
    assert rows["function"]["inputs"] == ["app.py"]
    assert rows["dependencies"]["inputs"] == ["idna 3.10 → 3.9", "+ six 1.17.0"]
    assert plan["configuration"] == [{"key": "MemorySize", "now": 512, "then": 128, "by_hand": True}]
    assert plan["alias"] == {"name": "live", "now": "1", "then": "a new version", "weight": None}
    assert plan["limits"]["layers"] == 1
    assert plan["publish"][-1] == "point alias live of foreseen at that version"
    assert builder.send({"action": "history", "function": "foreseen"})["history"] == records
    assert answer(builder, "foreseen", "live") == 1


def test_plan_counts_layers_that_someone_else_attached(builder: Builder) -> None:
    (first,) = deployed(builder, "counted", 1)
    client = builder.client("lambda")
    theirs = client.publish_layer_version(LayerName="theirs", Content={"ZipFile": zip_of({"python/x.py": "1"})})
    layers = [theirs["LayerVersionArn"], first["layers"][0]["arn"]]
    assert builder.build("counted", action="plan")["plan"]["limits"] | {"unzipped": 0} == {
        "unzipped": 0, "max_unzipped": 250 << 20, "layers": 1, "max_layers": 5, "complete": True,
    }  # fmt: skip
    client.update_function_configuration(FunctionName="counted", Layers=layers)
    client.get_waiter("function_updated_v2").wait(FunctionName="counted")
    for requirements in ("idna==3.10\n", "idna==3.9\n"):
        builder.forge.push("counted", {"requirements.txt": requirements})
        limits = builder.build("counted", action="plan")["plan"]["limits"]
        assert (limits["layers"], limits["complete"]) == (2, False)


@pytest.mark.parametrize("path", ["", "service"])
def test_a_push_that_does_not_touch_the_project_ends_before_the_checkout(builder: Builder, path: str) -> None:
    name = f"mono{len(path)}"
    at = f"{path}/" if path else ""
    builder.forge.push(name, {f"{at}{file}": text for file, text in project(builder.runtime).items()})
    first = builder.build(name, path=path)
    assert first["statusCode"] == 200, first
    commit = builder.forge.push(name, {"elsewhere/README.md": "x"} if path else {})
    reply = builder.build(name, path=path)
    assert reply["statusCode"] == 200, reply
    assert reply["commit"] == commit
    assert reply["changed"] == []
    assert [phase["name"] for phase in reply["phases"]] == ["look", "fetch"]
    assert {row["action"] for row in reply["artifacts"]} == {"reuse"}
    assert reply["function"] == first["function"]
    assert [phase["name"] for phase in builder.build(name, path=path, ref=commit)["phases"]] == ["look", "fetch"]


def test_the_same_commit_again_ends_before_the_fetch_until_somebody_changes_the_function(builder: Builder) -> None:
    deployed(builder, "still", 1)
    assert [phase["name"] for phase in builder.build("still")["phases"]] == ["look"]
    builder.client("lambda").update_function_configuration(FunctionName="still", MemorySize=256)
    builder.client("lambda").get_waiter("function_updated_v2").wait(FunctionName="still")
    assert builder.build("still")["changed"] == ["update configuration of still: MemorySize"]
    assert [phase["name"] for phase in builder.build("still")["phases"]] == ["look"]
    assert "fetch" in [phase["name"] for phase in builder.build("still", force=True)["phases"]]
