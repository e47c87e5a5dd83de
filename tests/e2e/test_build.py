"""Builds through the embedded AWS: what is deployed, what is reused, what answers."""

from __future__ import annotations

import base64
import io
import json
import urllib.request
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.e2e.conftest import TOKEN, Builder

CODE = """
import json, pathlib
import idna
def handler(event, context):
    phrases = json.loads(pathlib.Path("/opt/words/phrases.json").read_text())
    return {"word": phrases[0], "idna": idna.encode("bücher").decode(), "n": 1}
"""


def project(runtime: str, **changes: str | None) -> dict[str, str | None]:
    files: dict[str, str | None] = {
        "build.yaml": (
            f"function:\n  runtimes: [{runtime}]\n  handler: app.handler\n  files: [app.py]\n"
            "layers:\n  dependencies: [requirements.txt]\n"
            "  words:\n    source_dir: data\n    files: [phrases.json]\n    dest_dir: words\n"
        ),
        "app.py": CODE,
        "requirements.txt": "idna\n",
        "data/phrases.json": '["hello"]',
    }
    return {**files, **changes}


def test_the_builder_is_ready(builder: Builder) -> None:
    reply = builder.send({"action": "ping"})
    assert reply["ready"]
    assert reply["versions"]["dulwich"] >= "1.2.21"


def test_a_function_is_created_answers_and_only_what_changed_is_deployed_again(builder: Builder) -> None:
    commit = builder.forge.push("web", project(builder.runtime))
    first = builder.build("web")
    assert first["statusCode"] == 200, first
    assert first["commit"] == commit
    assert {layer["name"]: layer["reused"] for layer in first["layers"]} == {"dependencies": False, "words": False}
    assert builder.invoke("web") == {"word": "hello", "idna": "xn--bcher-kva", "n": 1}

    before = builder.state("web")
    again = builder.build("web")
    assert again["statusCode"] == 200, again
    assert again["changed"] == []
    assert {row["name"]: row["action"] for row in again["artifacts"]} == dict.fromkeys(
        ("dependencies", "words", "function"), "reuse"
    )
    assert builder.state("web") == before

    builder.forge.push("web", {"app.py": CODE.replace('"n": 1', '"n": 2')})
    code_only = builder.build("web")
    assert [step.split(" of ")[0] for step in code_only["changed"]] == ["update code"]
    assert builder.invoke("web")["n"] == 2

    builder.forge.push("web", {"data/phrases.json": '["moin"]'})
    data_only = builder.build("web")
    assert {layer["name"]: layer["reused"] for layer in data_only["layers"]} == {"dependencies": True, "words": False}
    assert builder.invoke("web")["word"] == "moin"


def test_branches_tags_and_commits_build_what_they_name(builder: Builder) -> None:
    """The original deployed whatever was checked out last in a warm environment."""
    simple = project(builder.runtime, **{"requirements.txt": "idna\n"})
    main = builder.forge.push("refs", simple)
    builder.forge.push("refs", {"app.py": CODE.replace('"n": 1', '"n": 7')}, branch="feature/seven")
    for ref, expected in (("main", 1), ("feature/seven", 7), ("main", 1), (main[:10], 1)):
        reply = builder.build("refs", ref=ref)
        assert reply["statusCode"] == 200, reply
        assert builder.invoke("refs")["n"] == expected, ref


def test_versions_and_aliases(builder: Builder) -> None:
    builder.forge.push("alias", project(builder.runtime))
    first = builder.build("alias", alias="live")
    assert first["statusCode"] == 200, first
    assert first["function"]["version"] == "1"
    assert builder.build("alias", alias="live")["function"]["version"] == "1"
    builder.forge.push("alias", {"app.py": CODE.replace('"n": 1', '"n": 2')})
    assert builder.build("alias")["statusCode"] == 200
    assert builder.invoke("alias", Qualifier="live")["n"] == 1
    assert builder.invoke("alias")["n"] == 2
    assert builder.build("alias", alias="live")["function"]["version"] == "2"
    assert builder.invoke("alias", Qualifier="live")["n"] == 2


def test_the_older_event_shape(builder: Builder) -> None:
    builder.forge.push("older", project(builder.runtime))
    reply = builder.send(
        {
            "action": "build function dependencies words",
            "function": "older",
            "repo_name": "older",
            "branch": "main",
            "version": "true",
            "alias": "prod",
        }
    )
    assert reply["statusCode"] == 200, reply
    assert reply["function"]["alias"] == "prod"
    assert builder.invoke("older", Qualifier="prod")["n"] == 1


def test_clients_of_the_original_implementation(builder: Builder) -> None:
    """Its build files name no handler; its client shows the end of the log alone; its `setup` names the builder."""
    text = str(project(builder.runtime)["build.yaml"]).replace("  handler: app.handler\n", "")
    files = {"build.yaml": "---\n" + text.replace("app.py", "lambda_function.py")}
    files["lambda_function.py"] = CODE.replace("def handler", "def lambda_handler")
    builder.forge.push("ancestral", project(builder.runtime, **files))
    event = {"action": "build", "function": "ancestral", "repo_name": "ancestral", "branch": "main"}
    assert builder.send(event)["statusCode"] == 200
    assert builder.invoke("ancestral")["n"] == 1
    answer = builder.client("lambda").invoke(
        FunctionName=builder.name, Payload=json.dumps({**event, "branch": "no-such"}), LogType="Tail"
    )
    error = json.loads(answer["Payload"].read())["error"]
    log = base64.b64decode(answer["LogResult"]).decode()
    assert error["message"] in log
    assert error["hint"] in log
    assert builder.send({"function": builder.name, "action": "setup"})["statusCode"] == 200


def test_configuration_is_set_where_named_and_left_where_not(builder: Builder) -> None:
    named = str(project(builder.runtime)["build.yaml"]).replace(
        "  files: [app.py]\n",
        "  files: [app.py]\n  memory: 300\n  timeout: 7\n  environment: {MODE: quiet}\n  description: greets\n"
        "  ephemeral_storage: 600\n  tags: {team: a}\n",
    )
    builder.forge.push("conf", project(builder.runtime, **{"build.yaml": named}))
    reply = builder.build("conf")
    assert reply["statusCode"] == 200, reply
    answer = builder.client("lambda").get_function(FunctionName="conf")
    configuration = answer["Configuration"]
    assert (configuration["MemorySize"], configuration["Timeout"]) == (300, 7)
    assert configuration["Environment"]["Variables"] == {"MODE": "quiet"}
    assert configuration["EphemeralStorage"]["Size"] == 600
    assert answer["Tags"] == {"team": "a"}
    builder.forge.push("conf", {"build.yaml": str(project(builder.runtime)["build.yaml"])})
    assert builder.build("conf")["changed"] == []
    assert builder.client("lambda").get_function(FunctionName="conf")["Configuration"]["MemorySize"] == 300


def test_preinstall_runs_with_the_dependencies_and_without_credentials(builder: Builder) -> None:
    script = (
        "import idna, json, os, pathlib\n"
        "pathlib.Path('made').mkdir()\n"
        "pathlib.Path('made/env.json').write_text(json.dumps(dict(os.environ)))\n"
        "pathlib.Path('made/idna.txt').write_text(idna.__version__)\n"
    )
    build_file = (
        f"function:\n  runtimes: [{builder.runtime}]\n  handler: app.handler\n  files: [app.py]\n"
        "layers:\n  dependencies: [requirements.txt]\n"
        '  made:\n    preinstall: ["python make.py"]\n    files: [made]\n'
    )
    app = (
        "import json, pathlib\n"
        "def handler(event, context):\n"
        "    return {p.name: p.read_text() for p in pathlib.Path('/opt/made').iterdir()}\n"
    )
    builder.forge.push(
        "pre", {"build.yaml": build_file, "app.py": app, "make.py": script, "requirements.txt": "idna\n"}
    )
    reply = builder.build("pre")
    assert reply["statusCode"] == 200, reply
    answer = builder.invoke("pre")
    assert answer["idna.txt"]
    environment = json.loads(answer["env.json"])
    # Whose certificates count is no credential.
    assert not {name for name in environment if name.startswith(("AWS_", "LAMBDASMITH"))} - {"AWS_CA_BUNDLE"}
    assert TOKEN not in answer["env.json"]


def test_a_sub_directory_is_a_project(builder: Builder) -> None:
    files = {f"services/one/{name}": content for name, content in project(builder.runtime).items()}
    builder.forge.push("mono", files)
    reply = builder.build("mono", path="services/one", function="mono-one")
    assert reply["statusCode"] == 200, reply
    assert builder.invoke("mono-one")["n"] == 1


def test_one_component_alone(builder: Builder) -> None:
    builder.forge.push("single", project(builder.runtime))
    assert builder.build("single")["statusCode"] == 200
    builder.forge.push("single", {"app.py": CODE.replace('"n": 1', '"n": 3'), "data/phrases.json": '["nope"]'})
    reply = builder.build("single", components=["function"])
    assert [row["name"] for row in reply["artifacts"]] == ["function"]
    assert builder.invoke("single") == {"word": "hello", "idna": "xn--bcher-kva", "n": 3}


def test_a_plan_says_what_would_happen_and_changes_nothing(builder: Builder) -> None:
    fresh = project(
        builder.runtime,
        **{"requirements.txt": "idna<3.5\n", "data/phrases.json": '["planned"]', "app.py": CODE + "# planned\n"},
    )
    builder.forge.push("planned", fresh)
    reply = builder.send({"action": "plan", "function": "planned", "repo_name": "planned"})
    assert reply["statusCode"] == 200, reply
    assert {row["name"]: row["action"] for row in reply["plan"]["components"]} == dict.fromkeys(
        ("dependencies", "words", "function"), "build"
    )
    assert builder.state("planned") is None
    assert builder.build("planned")["statusCode"] == 200
    assert builder.send({"action": "plan", "function": "planned", "repo_name": "planned"})["plan"]["publish"] == []


def test_the_same_build_id_is_built_once(builder: Builder) -> None:
    builder.forge.push("once", project(builder.runtime))
    build_id = uuid.uuid4().hex
    replies: list[dict[str, Any]]
    with ThreadPoolExecutor(3) as pool:
        replies = list(pool.map(lambda _: builder.build("once", build_id=build_id), range(3)))
    assert min(reply["statusCode"] for reply in replies) == 200
    assert {reply["statusCode"] for reply in replies} <= {200, 202}
    ended = builder.send({"action": "status", "build_id": build_id})["build"]
    assert ended["state"] == "succeeded"
    assert builder.build("once", build_id=build_id) == ended["reply"]
    assert [row["build_id"] for row in builder.send({"action": "history", "function": "once"})["history"]] == [build_id]


def test_the_artifact_is_deterministic_and_holds_no_time(builder: Builder) -> None:
    builder.forge.push("same", project(builder.runtime))
    first = builder.build("same")
    forced = builder.build("same", force=True)
    assert forced["statusCode"] == 200, forced
    assert {row["name"]: row["sha256"] for row in first["artifacts"]} == {
        row["name"]: row["sha256"] for row in forced["artifacts"]
    }
    assert forced["changed"] == []
    location = builder.client("lambda").get_function(FunctionName="same")["Code"]["Location"]
    with urllib.request.urlopen(location) as answer, zipfile.ZipFile(io.BytesIO(answer.read())) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_nothing_of_a_build_stays_in_tmp_but_the_caches(builder: Builder) -> None:
    """A preinstall command of a later, warm build sees what earlier ones left."""
    walker = (
        "import os, json, pathlib\n"
        "seen = [os.path.join(d, f) for d, _, fs in os.walk('/tmp') for f in fs]\n"
        "seen = [s for s in seen if '/cache/' not in s and '/scratch/' not in s]\n"
        "pathlib.Path('seen').mkdir(exist_ok=True); pathlib.Path('seen/list.json').write_text(json.dumps(seen))\n"
    )
    build_file = (
        f"function:\n  runtimes: [{builder.runtime}]\n  handler: app.handler\n  files: [app.py]\n"
        'layers:\n  seen:\n    preinstall: ["python walk.py"]\n    files: [seen]\n'
    )
    app = "def handler(event, context):\n    return open('/opt/seen/list.json').read()\n"
    builder.forge.push("clean", {"build.yaml": build_file, "app.py": app, "walk.py": walker})
    assert builder.build("clean")["statusCode"] == 200
    reply = builder.build("clean", force=True)
    assert reply["statusCode"] == 200, reply
    left = json.loads(builder.invoke("clean"))
    assert [path for path in left if "lambdasmith" in path] == []


def test_a_project_of_layers_says_what_it_cannot_do(builder: Builder) -> None:
    build_file = f"layers:\n  words:\n    runtimes: [{builder.runtime}]\n    files: [words.txt]\n"
    builder.forge.push("shelf", {"build.yaml": build_file, "words.txt": "one\n"})
    reply = builder.build("shelf", invoke={}, alias="live")
    assert reply["statusCode"] == 200, reply
    assert [layer["name"] for layer in reply["layers"]] == ["words"]
    assert "the project has no function: alias, invoke of the event have no effect" in reply["warnings"]
    assert builder.state("shelf") is None


def test_the_token_is_nowhere(builder: Builder) -> None:
    """Logs, stored objects, the function's environment, records: all bytes are searched for the git token."""
    builder.forge.push("canary", project(builder.runtime))
    assert builder.build("canary")["statusCode"] == 200
    assert builder.build("canary-missing")["statusCode"] == 404
    s3, logs = builder.client("s3"), builder.client("logs")
    needles = [TOKEN.encode()]
    bucket = builder.client("lambda").get_function(FunctionName=builder.name)["Configuration"]["Environment"][
        "Variables"
    ]["LAMBDASMITH_BUCKET"]
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page["Contents"]:
            body = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            assert not [needle for needle in needles if needle in body], entry["Key"]
    events = logs.filter_log_events(logGroupName=f"/aws/lambda/{builder.name}")["events"]
    assert events
    assert TOKEN not in json.dumps(events)
    assert TOKEN not in json.dumps(builder.client("lambda").get_function(FunctionName=builder.name), default=str)
