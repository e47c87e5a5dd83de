"""A project with several functions: one event deploys all, and only what changed."""

from __future__ import annotations

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from builder.progress import Progress
from builder.records.lease import held
from builder.workspace.directory import Deadline
from localaws.testing import zip_of
from tests.e2e.conftest import Builder
from tests.store.storing import read_json, store_in

ROLE = "arn:aws:iam::123456789012:role/lambda-role"
API = """
import idna, shared
def handler(event, context):
    return {"who": "api", "shared": shared.WORD, "idna": idna.encode("bücher").decode()}
"""
WORKER = """
import shared
def run(event, context):
    return {"who": "worker", "shared": shared.WORD}
"""


def project(runtime: str, prefix: str, **changes: str | None) -> dict[str, str | None]:
    files: dict[str, str | None] = {
        "build.yaml": (
            f"defaults: {{runtimes: [{runtime}], memory: 256, name: '{prefix}-{{name}}'}}\n"
            "functions:\n"
            "  api: {source_dir: functions/api, handler: app.handler}\n"
            "  worker: {source_dir: functions/worker, handler: worker.run, timeout: 300, layers: [common]}\n"
            "  cron: {source_dir: functions/worker, handler: worker.run, layers: [common]}\n"
            "layers:\n"
            "  common: {files: [shared.py], source_dir: shared, dest_dir: python}\n"
            f"stages: {{prod: {{defaults: {{memory: 512, name: '{prefix}-{{name}}-{{stage}}'}}}}}}\n"
        ),
        "functions/api/app.py": API,
        "functions/api/requirements.txt": "idna\n",
        "functions/worker/worker.py": WORKER,
        "shared/shared.py": "WORD = 'one'\n",
    }
    return {**files, **changes}


def deploy(builder: Builder, name: str, **event: Any) -> dict[str, Any]:
    return builder.send({"action": "build", "project": name, "repo_name": name, **event})


def states(reply: dict[str, Any]) -> dict[str, str]:
    return {row["key"]: row["status"] for row in reply["functions"]}


def message(builder: Builder, build_id: str) -> str:
    """What a build says that it does."""
    build = builder.send({"action": "status", "build_id": build_id}).get("build", {})
    return str(build.get("message", ""))


def test_one_event_deploys_all_functions_and_only_what_changed(builder: Builder) -> None:
    builder.forge.push("guild", project(builder.runtime, "guild"))
    first = deploy(builder, "guild")
    assert first["statusCode"] == 200, first["error"]["message"]
    assert states(first) == dict.fromkeys(("api", "worker", "cron"), "deployed")
    assert builder.invoke("guild-api") == {"who": "api", "shared": "one", "idna": "xn--bcher-kva"}
    assert builder.invoke("guild-worker") == {"who": "worker", "shared": "one"}
    configuration = builder.client("lambda").get_function_configuration(FunctionName="guild-worker")
    assert (configuration["Timeout"], configuration["MemorySize"]) == (300, 256)

    again = deploy(builder, "guild")
    assert states(again) == dict.fromkeys(("api", "worker", "cron"), "unchanged")
    assert "fetch" not in [phase["name"] for phase in again["phases"]]

    builder.forge.push("guild", {"functions/api/app.py": API.replace('"api"', '"API"')})
    one = deploy(builder, "guild")
    assert states(one) == {"api": "deployed", "worker": "unchanged", "cron": "unchanged"}
    assert [line.partition(" of ")[0] for line in one["changed"]] == ["api: update code"]
    assert builder.invoke("guild-api")["who"] == "API"


def test_a_stage_has_functions_and_settings_of_its_own(builder: Builder) -> None:
    builder.forge.push("league", project(builder.runtime, "league"))
    reply = deploy(builder, "league", stage="prod", components=["worker"])
    assert states(reply) == {"worker": "deployed"}
    configuration = builder.client("lambda").get_function_configuration(FunctionName="league-worker-prod")
    assert configuration["MemorySize"] == 512
    assert builder.state("league-worker") is None
    refused = deploy(builder, "league", stage="prd")
    assert refused["error"]["message"] == "stage: 'prd' is not in build.yaml; did you mean prod?"


def test_a_plan_shows_all_functions_and_changes_nothing(builder: Builder) -> None:
    builder.forge.push("troupe", project(builder.runtime, "troupe"))
    plan = deploy(builder, "troupe", action="plan", text=True)
    assert states(plan) == dict.fromkeys(("api", "worker", "cron"), "create")
    assert builder.state("troupe-api") is None
    lines = plan["text"]["plain"].splitlines()
    assert lines[0].startswith("troupe from commit")
    assert lines[0].endswith(": 3 to create")
    assert [line.split()[:3] for line in lines[2:5]] == [[key, "to", "create"] for key in ("api", "worker", "cron")]


def test_nothing_is_published_before_all_are_built_unless_they_are_independent(builder: Builder) -> None:
    broken = project(builder.runtime, "squad", **{"functions/api/app.py": "import not_there\n"})
    builder.forge.push("squad", broken)
    reply = deploy(builder, "squad")
    assert reply["error"]["code"] == "functions_failed"
    assert states(reply) == {"api": "failed", "worker": "built", "cron": "built"}
    assert "1 of 3 functions failed, and nothing was changed" in reply["error"]["message"]
    assert "not_there" in reply["error"]["message"]
    assert builder.state("squad-worker") is None

    reply = deploy(builder, "squad", independent=True)
    assert states(reply) == {"api": "failed", "worker": "deployed", "cron": "deployed"}
    assert reply["statusCode"] == 400
    assert builder.invoke("squad-worker")["who"] == "worker"

    builder.forge.push("squad", {"functions/api/app.py": API})
    reply = deploy(builder, "squad")
    assert states(reply) == {"api": "deployed", "worker": "unchanged", "cron": "unchanged"}


def test_a_function_of_someone_else_is_not_taken_over_unless_it_is_named(builder: Builder) -> None:
    builder.forge.push(
        "crew-api",
        {
            "app.py": "def handler(event, context):\n    return 'theirs'\n",
            "build.yaml": (f"function: {{runtimes: [{builder.runtime}], handler: app.handler}}\n"),
        },
    )
    assert builder.build("crew-api")["statusCode"] == 200
    builder.forge.push("crew", project(builder.runtime, "crew"))
    refused = deploy(builder, "crew")
    assert states(refused) == {"api": "failed", "worker": "built", "cron": "built"}
    assert "a function crew-api exists, and was last deployed from" in refused["error"]["message"]
    assert builder.invoke("crew-api") == "theirs"
    sent = {name: text for name, text in project(builder.runtime, "crew").items() if text}
    archive = base64.b64encode(zip_of(sent)).decode()
    refused = builder.send({"action": "build", "project": "crew", "archive": archive})
    assert states(refused) == {"api": "failed", "worker": "built", "cron": "built"}
    assert states(deploy(builder, "crew", components=["api"])) == {"api": "deployed"}
    assert builder.invoke("crew-api")["who"] == "api"
    assert states(builder.send({"action": "build", "project": "crew", "archive": archive})) == {
        "api": "unchanged",
        "worker": "deployed",
        "cron": "deployed",
    }


def test_words_that_name_nothing_are_refused(builder: Builder) -> None:
    builder.forge.push("band", project(builder.runtime, "band"))
    reply = deploy(builder, "band", components=["wroker"])
    assert reply["error"]["message"] == (
        "components: 'wroker' is neither a function nor a component of build.yaml; did you mean worker?"
    )
    reply = builder.send({"action": "build", "function": "band-aip", "repo_name": "band"})
    assert "did you mean band-api?" in reply["error"]["message"]
    # A key may be the name of someone else's function, in whose history the deploy would be recorded.
    reply = builder.send({"action": "build", "function": "api", "repo_name": "band"})
    assert reply["error"]["message"] == "function: 'api' is no function of build.yaml; Lambda calls it band-api"
    reply = deploy(builder, "band", components=["cron", "dependencies", "wrod"])
    assert reply["error"]["code"] == "invalid_event"
    reply = builder.send({"action": "build", "function": "band-cron", "repo_name": "band", "text": True})
    assert reply["function"]["name"] == "band-cron"
    assert builder.state("band-api") is None


def test_a_rollback_returns_all_functions(builder: Builder) -> None:
    builder.forge.push("choir", project(builder.runtime, "choir"))
    first = deploy(builder, "choir")
    builder.forge.push(
        "choir", {"shared/shared.py": "WORD = 'two'\n", "functions/api/app.py": API.replace("api", "a2")}
    )
    second = deploy(builder, "choir")
    assert states(second) == dict.fromkeys(("api", "worker", "cron"), "deployed")
    assert builder.invoke("choir-api")["shared"] == "two"

    shown = builder.send({"action": "rollback", "project": "choir", "preview": True, "text": True})
    assert states(shown) == dict.fromkeys(("api", "worker", "cron"), "update")
    back = builder.send({"action": "rollback", "project": "choir"})
    assert back["restored"] == first["build_id"], back
    assert states(back) == dict.fromkeys(("api", "worker", "cron"), "restored")
    assert builder.invoke("choir-api") == {"who": "api", "shared": "one", "idna": "xn--bcher-kva"}
    assert builder.invoke("choir-cron")["shared"] == "one"

    forth = builder.send({"action": "rollback", "project": "choir", "build": second["build_id"]})
    assert states(forth) == dict.fromkeys(("api", "worker", "cron"), "restored")
    assert builder.invoke("choir-worker")["shared"] == "two"
    history = builder.send({"action": "history", "project": "choir"})["history"]
    assert [(row["action"], row["restored"]) for row in history] == [
        ("rollback", second["build_id"]),
        ("rollback", first["build_id"]),
        ("build", None),
        ("build", None),
    ]


def test_one_that_fails_at_publishing_holds_up_no_other_and_the_next_deploy_finishes_it(builder: Builder) -> None:
    account = builder.role.split(":")[4]
    files = project(builder.runtime, "ballet")
    text = str(files["build.yaml"])
    wrong = text.replace("timeout: 300", f'timeout: 300, role: "arn:aws:iam::{account}:role/not-there"')
    builder.forge.push("ballet", {**files, "build.yaml": wrong})
    reply = deploy(builder, "ballet", text=True)
    assert states(reply) == {"api": "deployed", "worker": "failed", "cron": "deployed"}
    assert reply["error"]["code"] == "functions_failed"
    assert reply["error"]["message"].startswith("1 of 3 functions failed, and 2 were changed:\n  worker: ")
    history = builder.send({"action": "history", "project": "ballet"})["history"]
    assert [(row["state"], row["error"]) for row in history] == [("failed", "functions_failed")]
    builder.forge.push("ballet", {"build.yaml": text})
    finished = deploy(builder, "ballet")
    assert states(finished) == {"api": "unchanged", "worker": "deployed", "cron": "unchanged"}

    # The way back from a deploy that was only half done leads to the last that was whole.
    builder.forge.push("ballet", {"build.yaml": wrong, "shared/shared.py": "WORD = 'two'\n"})
    assert states(deploy(builder, "ballet")) == {"api": "deployed", "worker": "failed", "cron": "deployed"}
    assert builder.invoke("ballet-api")["shared"] == "two"
    back = builder.send({"action": "rollback", "project": "ballet"})
    assert back["restored"] == finished["build_id"], back
    assert {builder.invoke(f"ballet-{key}")["shared"] for key in ("api", "worker", "cron")} == {"one"}


def test_a_rollback_of_a_project_minds_the_alias(builder: Builder) -> None:
    def shared(**more: str) -> object:
        return json.loads(builder.client("lambda").invoke(FunctionName="opera-api", **more)["Payload"].read())["shared"]

    builder.forge.push("opera", project(builder.runtime, "opera"))
    first = deploy(builder, "opera", alias="live")
    builder.forge.push("opera", {"shared/shared.py": "WORD = 'two'\n"})
    deploy(builder, "opera")
    assert (shared(), shared(Qualifier="live")) == ("two", "one")
    back = builder.send({"action": "rollback", "project": "opera"})  # of the last deploy, which had no alias
    assert states(back) == dict.fromkeys(("api", "worker", "cron"), "restored")
    assert (shared(), shared(Qualifier="live")) == ("one", "one")

    builder.forge.push("opera", {"shared/shared.py": "WORD = 'three'\n"})
    deploy(builder, "opera")
    builder.forge.push("opera", {"shared/shared.py": "WORD = 'four'\n"})
    deploy(builder, "opera", alias="live")
    assert shared(Qualifier="live") == "four"
    back = builder.send({"action": "rollback", "project": "opera", "alias": "live"})
    assert back["restored"] == first["build_id"], back
    assert shared(Qualifier="live") == "one"


def test_functions_with_equal_dependencies_share_a_layer_version(builder: Builder) -> None:
    files = project(builder.runtime, "duo")
    files["functions/worker/requirements.txt"] = "idna\n"
    builder.forge.push("duo", files)
    deploy(builder, "duo")
    client = builder.client("lambda")
    attached = {
        name: [layer["Arn"] for layer in client.get_function_configuration(FunctionName=f"duo-{name}")["Layers"]]
        for name in ("api", "worker", "cron")
    }
    assert len({arn for arns in attached.values() for arn in arns}) == 2, attached


def test_a_function_that_leaves_the_build_file_is_told(builder: Builder) -> None:
    files = project(builder.runtime, "trio")
    builder.forge.push("trio", files)
    deploy(builder, "trio")
    text = "\n".join(line for line in str(files["build.yaml"]).split("\n") if "cron:" not in line)
    builder.forge.push("trio", {"build.yaml": text})
    reply = deploy(builder, "trio")
    assert states(reply) == {"api": "unchanged", "worker": "unchanged"}
    assert "cron is no longer in build.yaml; function trio-cron is still there, as it was" in reply["warnings"]


def test_a_project_is_packaged_function_by_function(builder: Builder) -> None:
    builder.forge.push("quartet", project(builder.runtime, "quartet"))
    reply = deploy(builder, "quartet", action="package")
    assert states(reply) == dict.fromkeys(("api", "worker", "cron"), "packaged")
    packages = {row["key"]: [each["name"] for each in row["packages"]] for row in reply["functions"]}
    assert packages == {
        "api": ["dependencies", "common", "function"],
        "worker": ["common", "function"],
        "cron": ["common", "function"],
    }
    said = {row["key"]: row["function"] for row in reply["functions"]}
    assert {key: (each["handler"], each["memory"], each["timeout"]) for key, each in said.items()} == {
        "api": ("app.handler", 256, None),
        "worker": ("worker.run", 256, 300),
        "cron": ("worker.run", 256, None),
    }
    assert said["api"]["layers"] == ["dependencies", "common"]
    assert builder.state("quartet-api") is None
    one = builder.send({"action": "package", "function": "quartet-worker", "repo_name": "quartet"})
    assert one["function"]["handler"] == "worker.run"


def test_a_branch_that_moves_while_a_function_waits_is_deployed_as_it_is_then(builder: Builder) -> None:
    builder.forge.push("relay", project(builder.runtime, "relay"))
    deploy(builder, "relay")
    builder.forge.push("relay", {"shared/shared.py": "WORD = 'two'\n"})
    bucket = builder.send({"action": "ping"})["settings"]["bucket"]
    store = store_in(builder.aws, bucket, prefix="lambdasmith/")
    someone = held(store, "relay-worker", owner="b0", by="me", deadline=Deadline.after(60), progress=Progress())
    with ThreadPoolExecutor(1) as pool:
        with someone:
            whole = pool.submit(deploy, builder, "relay", build_id="relay-two")
            while "b0" not in message(builder, "relay-two"):  # the first is published, the second waits
                time.sleep(0.1)
            assert builder.invoke("relay-api")["shared"] == "two"
            builder.forge.push("relay", {"shared/shared.py": "WORD = 'three'\n"})
        reply = whole.result(timeout=60)
    assert reply["statusCode"] == 200, reply
    assert {builder.invoke(f"relay-{key}")["shared"] for key in ("api", "worker", "cron")} == {"three"}


def test_the_builder_is_no_target_by_the_name_of_a_project(builder: Builder) -> None:
    files = {
        "app.py": "raise RuntimeError('ran')\n",
        "build.yaml": f"function: {{runtimes: [{builder.runtime}], handler: app.h}}\n",
    }
    builder.forge.push("coup", files)
    for named in (
        {"project": "lambdasmith"},
        {"project": "lambdasmith", "stage": "worker"},
        {"project": "LambdaSmith"},
    ):
        reply = builder.send({"action": "build", "repo_name": "coup", **named})
        assert reply["error"]["code"] == "own_target", reply


def test_many_failed_deploys_do_not_make_a_function_someone_elses(builder: Builder) -> None:
    builder.forge.push("stubborn", project(builder.runtime, "stubborn"))
    deploy(builder, "stubborn")
    builder.forge.push("stubborn", {"functions/api/app.py": "import not_there\n"})
    for _ in range(6):
        reply = builder.send({"action": "build", "function": "stubborn-api", "repo_name": "stubborn"})
        assert reply["error"]["code"] == "import_failed", reply
    builder.forge.push("stubborn", {"functions/api/app.py": API + "# again\n"})
    assert states(deploy(builder, "stubborn")) == {"api": "deployed", "worker": "unchanged", "cron": "unchanged"}


def test_a_deploy_of_some_functions_is_no_state_to_return_to(builder: Builder) -> None:
    builder.forge.push("mosaic", project(builder.runtime, "mosaic"))
    first = deploy(builder, "mosaic")
    builder.forge.push("mosaic", {"shared/shared.py": "WORD = 'two'\n"})
    some = deploy(builder, "mosaic", components=["api"])
    assert some["partial"]
    back = builder.send({"action": "rollback", "project": "mosaic"})
    assert back["restored"] == first["build_id"], back
    assert {builder.invoke(f"mosaic-{key}")["shared"] for key in ("api", "worker", "cron")} == {"one"}
    refused = builder.send({"action": "rollback", "project": "mosaic", "build": some["build_id"]})
    assert refused["error"]["code"] == "unknown_build"
    builder.forge.push("mosaic", {"shared/shared.py": "WORD = 'five'\n"})
    deploy(builder, "mosaic")
    back = builder.send({"action": "rollback", "project": "mosaic"})
    assert back["restored"] == first["build_id"], back

    # A deploy after a rollback has a row for each function, also for those that it did not change.
    builder.forge.push("mosaic", {"shared/shared.py": "WORD = 'one'\n", "functions/api/app.py": API + "# three\n"})
    third = deploy(builder, "mosaic")
    assert all(row["build_id"] for row in third["functions"]), third
    builder.forge.push("mosaic", {"shared/shared.py": "WORD = 'four'\n"})
    deploy(builder, "mosaic")
    back = builder.send({"action": "rollback", "project": "mosaic"})
    assert back["restored"] == third["build_id"], back
    assert {builder.invoke(f"mosaic-{key}")["shared"] for key in ("api", "worker", "cron")} == {"one"}


def test_a_payload_for_one_function_is_answered(builder: Builder) -> None:
    builder.forge.push("soloist", project(builder.runtime, "soloist"))
    reply = deploy(builder, "soloist", components=["worker"], invoke={"a": 1}, text=True)
    (row,) = reply["functions"]
    assert row["invoke"]["payload"] == {"who": "worker", "shared": "one"}


def test_a_function_changed_by_hand_is_noticed_though_its_files_are_the_same(builder: Builder) -> None:
    builder.forge.push("nonet", project(builder.runtime, "nonet"))
    deploy(builder, "nonet")
    client = builder.client("lambda")
    client.update_function_configuration(FunctionName="nonet-cron", MemorySize=1024)
    client.get_waiter("function_updated_v2").wait(FunctionName="nonet-cron", WaiterConfig={"Delay": 1})
    reply = deploy(builder, "nonet")
    assert states(reply) == {"api": "unchanged", "worker": "unchanged", "cron": "deployed"}
    assert client.get_function_configuration(FunctionName="nonet-cron")["MemorySize"] == 256
    client.delete_function(FunctionName="nonet-cron")
    builder.forge.push("nonet", {"functions/api/app.py": API + "# seen nowhere else\n"})
    reply = deploy(builder, "nonet")
    assert states(reply) == {"api": "deployed", "worker": "unchanged", "cron": "deployed"}
    # What stands is left out by its last build, also after builds of others.
    builder.forge.push("nonet", {"README.md": "about\n"})
    rows = {row["key"]: row for row in deploy(builder, "nonet")["functions"]}
    assert {key: row["status"] for key, row in rows.items()} == dict.fromkeys(rows, "unchanged")
    assert all(row["build_id"] and row["arn"] for row in rows.values())


def test_of_a_large_repository_only_what_is_needed_is_written(builder: Builder) -> None:
    many: dict[str, str | None] = {f"other/{number % 20}/{number}.txt": f"{number}\n" for number in range(1_200)}
    files = project(builder.runtime, "legion", **many, **{"functions/api/.env.txt": "", "helper.py": "A = 1\n"})
    builder.forge.push("legion", files)
    first = deploy(builder, "legion")
    assert first["statusCode"] == 200, first["error"]["message"]
    assert builder.invoke("legion-api") == {"who": "api", "shared": "one", "idna": "xn--bcher-kva"}
    # What is wrong is said with everything at hand: names of files that were not written.
    broken = {"functions/api/app.py": "import helper\n" + API}
    builder.forge.push("legion", broken)
    reply = deploy(builder, "legion")
    assert "helper.py is in the project, outside of function.source_dir" in str(reply["error"]), reply["error"]
    text = str(files["build.yaml"]).replace(
        "functions/worker, handler: worker.run, layers", "othr/1, handler: w.r, layers"
    )
    builder.forge.push("legion", {"functions/api/app.py": API, "build.yaml": text})
    reply = deploy(builder, "legion")
    assert "did you mean other/1?" in reply["error"]["message"], reply["error"]
    builder.forge.push("legion", {"build.yaml": str(files["build.yaml"]), "shared/shared.py": "WORD = 'two'\n"})
    assert states(deploy(builder, "legion")) == dict.fromkeys(("api", "worker", "cron"), "deployed")
    assert builder.invoke("legion-cron")["shared"] == "two"

    # A new environment knows from the store that only some files are worth fetching.
    bucket = builder.send({"action": "ping"})["settings"]["bucket"]
    store = store_in(builder.aws, bucket, prefix="lambdasmith/")
    urls = [str((read_json(store, name) or {})["url"]) for name in store.first_names("repositories", 9)]
    assert any("legion" in url for url in urls), urls
    client = builder.client("lambda")
    client.update_function_configuration(FunctionName=builder.name, Description="another environment")
    client.get_waiter("function_updated_v2").wait(FunctionName=builder.name)
    builder.forge.push("legion", {"shared/shared.py": "WORD = 'three'\n"})
    assert states(deploy(builder, "legion")) == dict.fromkeys(("api", "worker", "cron"), "deployed")
    assert builder.invoke("legion-api")["shared"] == "three"


def test_all_functions_are_built_again_and_compared(builder: Builder) -> None:
    builder.forge.push("octet", project(builder.runtime, "octet"))
    planned = {row["key"]: row["changed"] for row in deploy(builder, "octet", action="plan")["functions"]}
    # With its size, if another test has built the same.
    assert planned["api"][-1].startswith("create function octet-api")
    first = deploy(builder, "octet")
    verified = builder.send({"action": "verify", "project": "octet"})
    assert verified["verify"]["same"], verified
    names = [row["name"] for row in verified["verify"]["components"]]
    assert {name.partition("/")[0] for name in names} == {"api", "worker", "cron"}
    builder.forge.push("octet", {"functions/api/app.py": API + "# later\n"})
    deploy(builder, "octet")
    earlier = builder.send({"action": "verify", "project": "octet", "build": first["build_id"]})
    differing = [row["name"] for row in earlier["verify"]["components"] if not row["same"]]
    assert (differing, earlier["verify"]["build"]) == (["api/function"], first["build_id"])


def test_functions_are_told_in_the_order_of_the_build_file(builder: Builder) -> None:
    keys = [f"m{number}" for number in (1, 10, 2, 3)]
    listed = "".join(f"  {key}: {{name: 'septet-{{name}}'}}\n" for key in keys)
    text = f"defaults: {{runtimes: [{builder.runtime}], handler: app.handler, source_dir: src}}\nfunctions:\n{listed}"
    builder.forge.push("septet", {"build.yaml": text, "src/app.py": "def handler(e, c): ...\n"})
    first, again = deploy(builder, "septet"), deploy(builder, "septet")
    assert [row["key"] for row in first["functions"]] == [row["key"] for row in again["functions"]] == keys
    published = [phase["seconds"] for phase in first["phases"] if phase["name"] == "publish"]
    assert len(published) == 1
    assert published[0] <= first["seconds"], "what is done at once is not added up"

    builder.forge.push("septet", {"src/app.py": "import not_there\n"})
    assert deploy(builder, "septet", action="package")["statusCode"] == 400
    history = builder.send({"action": "history", "project": "septet"})["history"]
    assert [row["build_id"] for row in history] == [first["build_id"]], "packaging deploys nothing"


def test_a_project_is_told_from_functions_and_projects_of_its_name(builder: Builder) -> None:
    """A function may be called like its project, and a project like another one at a stage."""
    text = (
        f"defaults: {{runtimes: [{builder.runtime}], handler: app.handler}}\n"
        "functions: {gemini: {source_dir: one}, pollux: {source_dir: two}}\nstages: {sky: {}}\n"
    )
    files = {"build.yaml": text, "one/app.py": "def handler(e, c): return 1\n", "two/app.py": "def handler(e, c): 2\n"}
    builder.forge.push("gemini", files)
    first = deploy(builder, "gemini")
    at_a_stage = deploy(builder, "gemini", stage="sky")
    builder.forge.push(
        "gemini-sky", {**files, "build.yaml": text.replace("gemini", "castor").replace("pollux", "leda")}
    )
    namesake = deploy(builder, "gemini-sky")

    def history(**event: str) -> list[str]:
        return [row["build_id"] for row in builder.send({"action": "history", **event})["history"]]

    assert history(project="gemini") == [first["build_id"]]
    assert history(project="gemini", stage="sky") == [at_a_stage["build_id"]]
    assert history(project="gemini-sky") == [namesake["build_id"]]
    assert [build.startswith(f"{first['build_id']}.") for build in history(function="gemini")] == [True]
    wrong = builder.send({"action": "rollback", "project": "gemini-sky", "build": at_a_stage["build_id"]})
    assert wrong["error"]["message"] == f"build {at_a_stage['build_id']} is of stage sky"

    builder.forge.push("gemini", {"one/app.py": "def handler(e, c): return 3\n"})
    deploy(builder, "gemini")
    preview = builder.send({"action": "rollback", "project": "gemini", "preview": True})
    [step] = next(row["changed"] for row in preview["functions"] if row["key"] == "gemini")
    assert step.startswith("update code of gemini (0.1 kB)")


def test_a_failed_deploy_and_a_plan_say_what_and_why(builder: Builder) -> None:
    builder.forge.push("quartet", project(builder.runtime, "quartet"))
    deploy(builder, "quartet")
    changes = {"functions/api/app.py": API + "# as in no other test\n"}
    text = str(project(builder.runtime, "quartet")["build.yaml"]).replace("timeout: 300", "timeout: 200")
    builder.forge.push("quartet", {**changes, "build.yaml": text})
    lines = deploy(builder, "quartet", action="plan", text=True)["text"]["plain"].splitlines()
    api, worker = (next(line for line in lines if line.split()[0] == key) for key in ("api", "worker"))
    assert "function: app.py" in api
    assert "Timeout: 300 -> 200" in worker
    builder.forge.push("quartet", {"functions/api/app.py": "import not_there\n"})
    text = deploy(builder, "quartet", text=True)["text"]["plain"]
    assert text.splitlines()[0].endswith(": 1 failed, 1 not deployed, 1 unchanged")
