"""Node.js functions: what they see and what their caller gets, with every engine and isolation."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from localaws.runtime import directories, network, nodes
from localaws.runtime.directories import RuntimeDirs
from localaws.runtime.execution import Engine, Fleet, FunctionImage, RuntimeUnavailable
from tests.harness import CELLS
from tests.localaws.fleets import Files, Lab, error_of, fleet_for, lines_of

_APP = """
    import { createRequire } from "node:module";
    import shared from "./shared.cjs";
    console.log("initialised");
    let count = 0;
    const own = ["functionName", "functionVersion", "invokedFunctionArn", "memoryLimitInMB", "awsRequestId"];

    export const handler = async (event, context) => {
        console.log("got", event);
        console.error("first\\nsecond");
        if (event.raise) throw new RangeError("no good");
        if (event.exit) process.exit(3);
        if (event.large) return "x".repeat(event.large);
        return {
            event, count: ++count, env: process.env, version: process.versions.node, cwd: process.cwd(), shared,
            layer: createRequire(import.meta.url)("in-a-layer"), context: own.map((name) => context[name]),
            imported: (await import("in-a-layer")).default,
            group: context.logGroupName, stream: context.logStreamName, client: context.clientContext?.custom,
            remaining: context.getRemainingTimeInMillis(), task: process.argv[1], uid: process.getuid(),
        };
    };
"""
_FILES: Files = {"app.mjs": _APP, "shared.cjs": "module.exports = 'é';"}
_LAYERS: list[Files] = [
    {"nodejs/node_modules/in-a-layer/index.js": "module.exports = 'for all';"},
    {"nodejs/node24/node_modules/in-a-layer/package.json": '{"main": "x.js"}'},
    {"nodejs/node24/node_modules/in-a-layer/x.js": "module.exports = 'for 24';"},
]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nodejs")


def _lab(scratch: Path, engine: Engine, isolation: str, runtime: str) -> Lab:
    """A lab that has what the runtime needs."""
    lab = Lab(fleet=fleet_for(scratch, engine, isolation), engine=engine, scratch=scratch)
    try:
        lab.fleet.prepare(_image(lab, {"app.js": ""}, runtime))
    except RuntimeUnavailable as error:
        lab.fleet.close()
        pytest.skip(f"a package index and an npm registry are needed: {error}")
    return lab


def _image(lab: Lab, files: Files, runtime: str = "nodejs24.x", handler: str = "app.handler") -> FunctionImage:
    return replace(lab.image(files, _LAYERS), runtime=runtime, handler=handler)


@pytest.fixture(scope="module", params=CELLS)
def lab(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Lab]:
    engine, isolation = str(request.param).split("-")
    made = _lab(scratch, "own" if engine == "own" else "rie", isolation, "nodejs24.x")
    yield made
    made.fleet.close()


@pytest.fixture(scope="module")
def own(scratch: Path) -> Iterator[Lab]:
    """Our own engine with whatever isolation there is, for Node.js 22."""
    made = _lab(scratch, "own", "auto", "nodejs22.x")
    yield made
    made.fleet.close()


def test_function_event_context_and_surroundings(lab: Lab) -> None:
    image = _image(lab, _FILES)
    first = lab.invoke(
        image, {"a": ["é"]}, request_id="r-1", invoked_arn=f"{image.arn}:live", client_context='{"custom": {"k": 1}}'
    )
    said = json.loads(first.payload)
    assert first.function_error is None, first
    assert said["event"] == {"a": ["é"]}
    assert said["context"] == [image.name, "$LATEST", f"{image.arn}:live", "512", "r-1"]
    assert (said["group"], said["stream"], said["client"]) == (image.log_group, first.log_stream, {"k": 1})
    assert 5000 < said["remaining"] <= 10_000
    assert (said["version"].split(".")[0], said["shared"], said["layer"]) == ("24", "é", "for 24")
    assert said["imported"] == "for 24"
    env, opt, runtime = said["env"], "/opt", "/var/runtime"
    if lab.sandboxed:
        assert (said["uid"], said["cwd"], said["task"]) == (993, "/var/task", "/var/runtime/index.mjs")
    else:
        opt, runtime = env["PATH"].split(":")[-1].removesuffix("/bin"), env["LAMBDA_RUNTIME_DIR"]
    assert env["NODE_PATH"].split(":") == [
        *(f"{opt}/nodejs/node24/node_modules", f"{opt}/nodejs/node_modules", f"{runtime}/node_modules", runtime),
        said["cwd"],
    ]
    assert env["AWS_EXECUTION_ENV"] == "AWS_Lambda_nodejs24.x"
    assert not [name for name in env if "LOCALAWS" in name or "TELEMETRY" in name or name == "HOME"]
    lines = lines_of(first)
    assert lines[0].startswith("INIT_START Runtime Version: nodejs:24.local\t")
    stamp = r"\d{4}-\d\d-\d\dT[\d:.]+Z"
    assert any(re.fullmatch(rf"{stamp}\t-\tINFO\tinitialised", line) for line in lines)
    assert any(re.fullmatch(rf"{stamp}\tr-1\tINFO\tgot {{ a: \[ 'é' \] }}", line) for line in lines)
    assert any(re.fullmatch(rf"{stamp}\tr-1\tERROR\tfirst[\n]second", line) for line in lines), lines
    assert [lab.answer(image)["count"] for _ in range(2)] == [2, 3], "the environment is warm"


def test_function_is_told_its_tenant(lab: Lab) -> None:
    image = _image(lab, {"app.mjs": "export const handler = async (event, c) => [c.tenantId, c.invokedFunctionArn];"})
    found = [json.loads(lab.invoke(replace(image, tenant_id=who)).payload) for who in ("a b", "c", None)]
    assert found == [["a b", image.arn], ["c", image.arn], [None, image.arn]]


def test_errors_of_the_handler(lab: Lab) -> None:
    image = _image(lab, _FILES)
    result = lab.invoke(image, {"raise": True}, request_id="r-2")
    content = error_of(result)
    trace = content.pop("trace")
    assert content == {"errorType": "RangeError", "errorMessage": "no good"}
    assert isinstance(trace, list)
    assert trace[0] == "RangeError: no good"
    assert "app.mjs" in trace[1]
    assert any('\tr-2\tERROR\tInvoke Error \t{"errorType":"RangeError"' in line for line in lines_of(result))
    assert lab.answer(image)["count"] == 1, "an error ends nothing"
    gone = error_of(lab.invoke(image, {"exit": True}))
    assert (gone["errorType"], lab.answer(image)["count"]) == ("Runtime.ExitError", 1)
    assert error_of(lab.invoke(image, {"large": 6_500_000}))["errorType"] == "Function.ResponseSizeTooLarge"
    alike = _image(lab, {"app.js": "exports.handler = async () => ({errorType: 'E', errorMessage: 'm'});"})
    assert lab.answer(alike) == {"errorType": "E", "errorMessage": "m"}


@pytest.mark.parametrize(
    ("files", "handler", "kind", "message"),
    [
        ({"app.js": "require('absent')"}, "app.handler", "Runtime.ImportModuleError", "Cannot find module 'absent'"),
        ({"a.js": ""}, "app.handler", "Runtime.ImportModuleError", "Cannot find module 'app'"),
        ({"app.js": "exports.a = 1;"}, "app.a", "Runtime.HandlerNotFound", "app.a is not a function"),
        ({"app.js": ""}, "app.b.c", "Runtime.HandlerNotFound", "app.b.c is undefined or not exported"),
        ({"app.js": "exports = {"}, "app.handler", "Runtime.UserCodeSyntaxError", "SyntaxError: "),
        ({"app.js": "throw new TypeError('t')"}, "app.handler", "TypeError", "t"),
        ({"app.js": "exports.h = (e, c, callback) => callback();"}, "app.h", "Runtime.CallbackHandlerDeprecated", "24"),
    ],
    ids=["import", "module", "not-a-function", "not-exported", "syntax", "raise", "callback"],
)
def test_failing_initialisation_is_the_answer(lab: Lab, files: Files, handler: str, kind: str, message: str) -> None:
    result = lab.invoke(_image(lab, files, handler=handler))
    content = error_of(result)
    assert content["errorType"] == kind
    assert message in str(content["errorMessage"])
    if lab.engine == "own":
        assert any(line.endswith(f"\tPhase: init\tStatus: error\tError Type: {kind}") for line in lines_of(result))


_OLD = """
    const later = (ms) => new Promise((done) => setTimeout(done, ms));
    const inner = { back: (event, context, callback) => {
        context.callbackWaitsForEmptyEventLoop = !event.hurry;
        if (event.hurry) setTimeout(() => {}, 60_000);
        if (event.waits) later(300).then(() => console.log("was waited for"));
        if (event.uncaught) return void setTimeout(() => { throw new RangeError("late"); });
        if (event.rejected) return void Promise.reject(new RangeError("nobody catches"));
        if (event.nothing) return "is not an answer";
        callback(event.fails ? new RangeError("called back") : null, { called: event });
        if (event.exit) process.exit(4);
    } };
    exports.deep = { inner };
    exports.stream = awslambda.streamifyResponse(async (event, stream) => {
        stream.setContentType("text/plain");
        stream.write("one,");
        await later(5);
        stream.end("two");
    });
"""


def test_before_24_callbacks_and_what_ends_the_process(own: Lab) -> None:
    image = _image(own, {"src/app.cjs": _OLD}, "nodejs22.x", "src/app.deep.inner.back")
    assert own.answer(image, {}) == {"called": {}}
    assert own.answer(image, {"hurry": 1}) == {"called": {"hurry": 1}}
    assert json.loads(own.invoke(replace(image, revision="2"), {"nothing": 1}).payload) is None
    waited = own.invoke(image, {"waits": 1})
    assert any(line.endswith("INFO\twas waited for") for line in lines_of(waited))
    assert error_of(own.invoke(image, {"fails": 1}))["errorMessage"] == "called back"
    # These two end the process, and its last words have to arrive before that.
    assert error_of(own.invoke(image, {"uncaught": 1}))["errorMessage"] == "late"
    rejected = error_of(own.invoke(image, {"rejected": 1}))
    assert rejected["errorType"] == "Runtime.UnhandledPromiseRejection"
    assert "nobody catches" in str(rejected["errorMessage"])
    assert own.answer(image, {"exit": 1, "hurry": 1}) == {"called": {"exit": 1, "hurry": 1}}
    assert own.answer(image, {}) == {"called": {}}
    streaming = replace(image, handler="src/app.stream", revision="3")
    assert own.invoke(streaming).payload == b"one,two"


@pytest.mark.parametrize("major", nodes.MAJORS)
def test_every_node_runs_every_kind_of_module(scratch: Path, major: str) -> None:
    runtime = f"nodejs{major}.x"
    lab = _lab(scratch, "own", "auto", runtime)
    try:
        assert lab.fleet.runtimes[runtime].startswith(f"Node.js {major}.")
        typed = {"app.js": "export const h = async () => process.versions.node;", "package.json": '{"type": "module"}'}
        assert json.loads(lab.invoke(_image(lab, typed, runtime, "app.h")).payload).split(".")[0] == major
        # The syntax alone does not make a module of it before 24, on Lambda, nor is one found by require.
        untyped: Files = {"app.js": typed["app.js"]}
        mixed: Files = {"m.mjs": "export const x = 1;", "app.js": "exports.h = async () => require('./m.mjs').x;"}
        for files in (untyped, mixed):
            failed = lab.invoke(_image(lab, files, runtime, "app.h")).function_error is not None
            assert failed == (major != "24"), (files, major)
        asked = replace(
            _image(lab, mixed, runtime, "app.h"), environment={"NODE_OPTIONS": "--experimental-require-module"}
        )
        assert lab.invoke(asked).payload == b"1"
    finally:
        lab.fleet.close()


def test_another_node_instead_is_said(
    own: Lab, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node = next((scratch / "node").glob("22-*"), None)
    if node is None:
        pytest.skip("the Node.js 22 of this machine was used: nothing was installed that could stand in for another")
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "runtime").symlink_to(scratch / "runtime")
    monkeypatch.setenv("PATH", f"{node}:/usr/bin:/bin" if not shutil.which("node", path="/usr/bin:/bin") else str(node))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in {"UV_OFFLINE": "1", "UV_CACHE_DIR": f"{tmp_path}/uv", "PIP_NO_INDEX": "1"}.items():
        monkeypatch.setenv(name, value)
    _lab(scratch, "own", "plain", "nodejs24.x").fleet.close()
    fleet = Fleet(cache=cache, isolation="plain")
    lab = Lab(fleet=fleet, engine="own", scratch=scratch)
    try:
        assert fleet.runtimes["nodejs24.x"] == "a Node.js 24, to be installed at first use"
        with caplog.at_level(logging.WARNING):
            source = "exports.handler = async () => process.versions.node;"
            assert json.loads(lab.invoke(_image(lab, {"app.js": source})).payload).startswith("22.")
        assert re.fullmatch(r"Node\.js 22\.\S+ at \S+, instead of a Node\.js 24", fleet.runtimes["nodejs24.x"])
        assert re.search(r"functions for Node\.js 24 run on Node\.js 22\.\S+ at \S+: could not install", caplog.text)
        monkeypatch.setenv("PATH", "/nonexistent")
        bare = Fleet(cache=cache, isolation="plain")
        with pytest.raises(RuntimeUnavailable, match=r"no Node\.js 24 was found, and could not install"):
            bare.prepare(_image(lab, {"app.js": ""}))
        bare.close()
    finally:
        fleet.close()


def test_runtime_client_is_fetched_without_an_npm_and_only_as_it_was(
    own: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    runtime = RuntimeDirs(tmp_path).nodejs_runtime("24")
    assert {path.name for path in runtime.iterdir()} == {"index.mjs", "node_path.mjs", "ric"}
    assert {path.name for path in (runtime / "ric").iterdir()} == {
        "index.mjs",
        "rapid-client.node",
        "LICENSE",
        "NOTICE",
    }
    monkeypatch.undo()
    with pytest.raises(RuntimeUnavailable, match=r"aws-lambda-ric@3\.3\.0 .* is not what it was: sha512 9p06T"):
        directories._npm_pack("aws-lambda-ric@3.3.0", "other", tmp_path)


def test_a_node_of_a_distribution_is_not_taken(tmp_path: Path) -> None:
    """Its libraries are not in the sandbox, and it finds modules that are installed on the host."""
    fake = tmp_path / "node"
    for shares, found in (("true", False), ("false", True)):
        answer = json.dumps(["node", "22.1.0", str(fake), shares == "true", []])
        fake.write_text(f"#!/bin/sh\necho '{answer}'\n")
        fake.chmod(0o755)
        assert ("22" in nodes.find({"PATH": str(tmp_path)})) is found


def test_network_settings_come_from_variables_and_the_files_of_tools(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / ".config/pip/pip.conf").write_text("[global]\ncert = /etc/pips.pem\nindex-url = https://x:secret@x\n")
    goenv = tmp_path / "goenv"
    goenv.write_text(
        "GOPROXY=https://mirror.example/go,direct\nGOPRIVATE=corp.example\nGOSUMDB=https://me:x@sum.example\n"
    )
    (tmp_path / ".npmrc").write_text(
        "registry=https://npm.example/\ncafile=/etc/own.pem\nhttps-proxy=http://me:secret@proxy.example/\n"
        "//npm.example/:_authToken=secret\n"
    )
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GOENV": str(goenv),
        "NODE_EXTRA_CA_CERTS": "/etc/extra.pem",
        "CARGO_REGISTRIES_MINE_INDEX": "sparse+https://crates.example/",
        "CARGO_REGISTRIES_MINE_TOKEN": "secret",
        "NPM_CONFIG__AUTH": "secret",
        "GONOPROXY": "own.example",
    }
    with caplog.at_level(logging.WARNING):
        found = network.settings(environ)
    expected = {name: environ[name] for name in ("NODE_EXTRA_CA_CERTS", "CARGO_REGISTRIES_MINE_INDEX", "GONOPROXY")}
    expected["PIP_CERT"] = "/etc/pips.pem"
    if shutil.which("go"):
        expected |= {"GOPROXY": "https://mirror.example/go,direct", "GOPRIVATE": "corp.example"}
        found.pop("GONOSUMDB", None)  # what GOPRIVATE says of it
    if shutil.which("npm"):
        expected |= {"npm_config_registry": "https://npm.example/", "npm_config_cafile": "/etc/own.pem"}
        assert "npm_config_https_proxy is not handed to functions: it contains a login" in caplog.text
    assert found == expected
    assert "secret" not in caplog.text
    none = {"PATH": "/nonexistent", "PIP_CONFIG_FILE": os.devnull, "AWS_REGION": "x"}
    assert network.settings({**none, "GOPROXY": "off"}) == {"GOPROXY": "off"}
