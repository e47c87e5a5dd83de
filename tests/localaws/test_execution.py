"""What a function sees and what its caller gets, on both engines, in the sandbox and as plain children."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from localaws.runtime import interpreters
from localaws.runtime.environments import OwnEnvironment
from localaws.runtime.execution import Engine, Fleet, InvokeResult, RuntimeUnavailable
from localaws.runtime.memory import below
from tests.harness import CELLS, ROOT
from tests.localaws.fleets import FOUND, MACHINE, Lab, error_of, fleet_for, lines_of


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("execution")


@pytest.fixture(scope="module", params=CELLS)
def lab(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Lab]:
    engine, isolation = str(request.param).split("-")
    fleet = fleet_for(scratch, "own" if engine == "own" else "rie", isolation)
    made = Lab(fleet=fleet, engine="own" if engine == "own" else "rie", scratch=scratch)
    try:
        fleet.prepare(made.common)
    except RuntimeUnavailable as error:
        fleet.close()
        pytest.skip(f"a package index is needed: {error}")
    yield made
    fleet.close()


@pytest.fixture(scope="module")
def own(scratch: Path) -> Iterator[Lab]:
    """Our own engine with whatever isolation there is."""
    fleet = fleet_for(scratch, "own", "auto")
    yield Lab(fleet=fleet, engine="own", scratch=scratch)
    fleet.close()


def test_function_gets_event_and_context(lab: Lab) -> None:
    request = str(uuid.uuid4())
    image = lab.common
    content = lab.answer(image, {"a": [1, "é"]}, request_id=request, invoked_arn=f"{image.arn}:live")
    assert content["event"] == {"a": [1, "é"]}
    assert content["request"] == request
    assert content["arn"] == f"{image.arn}:live"
    assert content["name"] == image.name
    assert (content["version"], content["memory"]) == ("$LATEST", "512")
    assert content["group"] == image.log_group
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", str(content["stream"]))
    assert 5000 < int(str(content["remaining"])) <= 10_000


def test_client_context_arrives_as_json_and_as_base64(lab: Lab) -> None:
    for text in ('{"custom": {"k": "v"}, "env": {"e": 1}}', "eyJjdXN0b20iOiB7ImsiOiAidiJ9LCAiZW52IjogeyJlIjogMX19"):
        assert lab.answer(lab.common, client_context=text)["client"] == [{"k": "v"}, {"e": 1}]


def test_who_asks_the_runtime_api_during_an_invocation_gets_the_same_again(lab: Lab) -> None:
    """Any process of a function can ask; its children need no more than the address."""
    asking = """
import http.client, os

def handler(event, context):
    line = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"], timeout=10)
    line.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = line.getresponse()
    same = answer.getheader("Lambda-Runtime-Aws-Request-Id") == context.aws_request_id
    said = {"same": same, "event": answer.read().decode()}
    line.close()
    return said
"""
    image = lab.image({"app.py": asking})
    for number in range(2):
        assert lab.answer(image, {"number": number}) == {"same": True, "event": json.dumps({"number": number})}


def test_raised_error_has_lambdas_shape(lab: Lab) -> None:
    result = lab.invoke(lab.common, {"do": "raise"}, request_id="11111111-2222-3333-4444-555555555555")
    content = error_of(result)
    assert content["errorMessage"] == "no good"
    assert content["errorType"] == "ValueError"
    assert content["requestId"] == "11111111-2222-3333-4444-555555555555"
    assert any("app.py" in line for line in list(content["stackTrace"]))  # type: ignore[call-overload]
    assert any("[ERROR] ValueError: no good\nTraceback" in line for line in lines_of(result))


def test_returned_error_look_alike_is_an_answer(lab: Lab) -> None:
    image = lab.image({"app.py": "def handler(e, c): return {'errorType': 'E', 'errorMessage': 'm'}"})
    assert lab.answer(image) == {"errorType": "E", "errorMessage": "m"}


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        pytest.param(
            "import missing_thing", "Runtime.ImportModuleError", "No module named 'missing_thing'", id="import"
        ),
        pytest.param("x = 1", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'", id="handler"),
        pytest.param("def handler(:", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app'", id="syntax"),
        pytest.param("raise KeyError('k')", "KeyError", "'k'", id="raise"),
    ],
)
def test_failing_initialisation_is_the_answer(lab: Lab, source: str, kind: str, message: str) -> None:
    result = lab.invoke(lab.image({"app.py": source}))
    content = error_of(result)
    assert content["errorType"] == kind
    assert message in str(content["errorMessage"])
    assert any(line.startswith("[ERROR]") for line in lines_of(result))
    if lab.engine == "own":
        reports = [line for line in lines_of(result) if line.startswith("INIT_REPORT")]
        assert [line.split("\t")[1:] for line in reports] == [
            ["Phase: init", "Status: error", f"Error Type: {kind}"],
            ["Phase: invoke", "Status: error", f"Error Type: {kind}"],
        ]
        assert "Init Duration" not in lines_of(result)[-1]


def test_exit_while_initialising(lab: Lab) -> None:
    content = error_of(lab.invoke(lab.image({"app.py": "raise SystemExit(1)"})))
    assert content["errorType"] == "Runtime.ExitError"
    assert str(content["errorMessage"]).endswith("Error: Runtime exited with error: exit status 1")


def test_timeout_then_works_again(lab: Lab) -> None:
    image = replace(lab.image(), timeout_s=1)
    lab.answer(image)
    result = lab.invoke(image, {"do": "sleep", "seconds": 30})
    content = error_of(result)
    assert content["errorType"] == "Sandbox.Timedout"
    assert content["errorMessage"] == f"RequestId: {result.request_id} Error: Task timed out after 1.00 seconds"
    lines = lines_of(result)
    assert any(line.endswith(f"{result.request_id} Task timed out after 1.00 seconds\n") for line in lines)
    assert lines[-1].endswith("\tStatus: timeout\t")
    assert lab.answer(image)["count"] == 1


def test_too_much_memory_then_works_again(lab: Lab) -> None:
    image = replace(lab.image(), memory_mb=128)
    result = lab.invoke(image, {"do": "memory", "mb": 300})
    content = error_of(result)
    assert content["errorType"] == "Runtime.OutOfMemory"
    assert str(content["errorMessage"]).endswith("Error: Runtime exited with error: signal: killed")
    report = re.sub(r"Init Duration: [\d.]+ ms\t", "", lines_of(result)[-1])
    assert report.endswith("\tMax Memory Used: 128 MB\tStatus: error\tError Type: Runtime.OutOfMemory\t")
    assert lab.answer(image)["count"] == 1


def test_too_much_memory_is_noticed_while_it_is_used(lab: Lab) -> None:
    image = replace(lab.image(), memory_mb=128, timeout_s=3)
    content = error_of(lab.invoke(image, {"do": "memory", "mb": 300, "seconds": 9}))
    assert content["errorType"] == "Runtime.OutOfMemory"


def test_exit_in_the_handler_keeps_tmp(lab: Lab) -> None:
    image = lab.image()
    assert lab.answer(image)["count"] == 1
    content = error_of(lab.invoke(image, {"do": "exit"}))
    assert content["errorType"] == "Runtime.ExitError"
    assert str(content["errorMessage"]).endswith("Error: Runtime exited with error: exit status 3")
    again = lab.answer(image)
    assert (again["count"], again["tmp"]) == (1, ["kept"])


def test_environment_is_reused_until_the_revision_changes(lab: Lab) -> None:
    image = lab.image()
    first, second = lab.answer(image), lab.answer(image)
    assert (first["count"], second["count"]) == (1, 2)
    assert first["stream"] == second["stream"]
    changed = lab.answer(replace(image, revision="changed"))
    assert changed["count"] == 1
    assert changed["stream"] != first["stream"]
    published = lab.answer(replace(image, revision="changed", version="1"))
    assert (published["count"], published["version"]) == (1, "1")


def test_variables_are_lambdas(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "x")
    image = replace(lab.image(), environment={"STAGE": "test", "TZ": "Europe/Berlin"})
    content = lab.answer(image)
    env = content["env"]
    assert isinstance(env, dict)
    python = str(image.runtime)
    expected = {
        "STAGE": "test",
        "TZ": "Europe/Berlin",
        "LANG": "en_US.UTF-8",
        "_HANDLER": "app.handler",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "ASIA1",
        "AWS_SECRET_ACCESS_KEY": "hidden",
        "AWS_SESSION_TOKEN": "token",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{python}",
        "AWS_LAMBDA_FUNCTION_NAME": image.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": image.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": content["stream"],
    }
    assert {name: env.get(name) for name in expected} == expected
    assert env["LAMBDA_TASK_ROOT"] == content["cwd"] == env["PWD"]
    assert not {"HOME", "SECRET_OF_THE_SERVER"} & env.keys()
    assert not [name for name in env if "LOCALAWS" in name or name.startswith("_LAMBDA_TELEMETRY")]
    if lab.sandboxed:
        assert env["PATH"] == "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"
        assert env["LD_LIBRARY_PATH"].startswith("/var/lang/lib:/lib64:/usr/lib64:/var/runtime:")
        assert content["prefix"] == "/var/lang"


def test_module_search_order(lab: Lab) -> None:
    layers = [{f"python/lib/{lab.common.runtime}/site-packages/a.py": ""}]
    content = lab.answer(lab.image(layers=layers))
    path, env = content["path"], content["env"]
    assert isinstance(path, list)
    assert isinstance(env, dict)
    opt = "/opt" if lab.sandboxed else env["PATH"].split(":")[-1].removesuffix("/bin")
    python = lab.common.runtime
    assert path[:3] == [content["cwd"], f"{opt}/python/lib/{python}/site-packages", f"{opt}/python"]
    assert path[-1] == env["LAMBDA_RUNTIME_DIR"]
    assert all("dist-packages" not in one for one in path)


def test_layers_are_merged_in_order(lab: Lab) -> None:
    app = """
        import both, one, two, subprocess
        def handler(event, context):
            tool = subprocess.run(["tool"], capture_output=True, text=True, check=True).stdout.strip()
            return [both.VALUE, one.VALUE, two.VALUE, tool]
    """
    layers = [
        {"python/both.py": "VALUE = 1", "python/one.py": "VALUE = 'one'", "bin/tool": "#!/bin/sh\necho first"},
        {"python/both.py": "VALUE = 2", "python/two.py": "VALUE = 'two'"},
    ]
    image = lab.image({"app.py": app}, layers)
    result = lab.invoke(image)
    assert json.loads(result.payload) == [2, "one", "two", "first"], result.log_lines
    assert json.loads(lab.invoke(replace(image, layers=image.layers[::-1], revision="2")).payload)[0] == 1


def test_package_wins_over_layer_and_runtime(lab: Lab) -> None:
    app = "import boto3\ndef handler(e, c): return boto3.__file__"
    image = lab.image({"app.py": app, "boto3.py": ""}, [{"python/boto3.py": ""}])
    task, layer = image.code, image.layers[0]
    wins = json.loads(lab.invoke(image).payload)
    assert wins == ("/var/task/boto3.py" if lab.sandboxed else f"{task}/boto3.py")
    layered = json.loads(lab.invoke(replace(image, code=lab.tree({"app.py": app}), revision="2")).payload)
    assert layered == ("/opt/python/boto3.py" if lab.sandboxed else f"{layer}/python/boto3.py")
    bare = json.loads(lab.invoke(replace(image, code=lab.tree({"app.py": app}), layers=(), revision="3")).payload)
    assert re.search(r"/(var/)?runtime/", bare)


def test_log_is_complete_and_in_order(lab: Lab) -> None:
    image = lab.image()
    cold = lab.invoke(image, {"do": "log", "lines": 3000})
    lines = lines_of(cold)
    start = lines.index(f"START RequestId: {cold.request_id} Version: $LATEST")
    assert lines[0].startswith("INIT_START Runtime Version: python:")
    assert "initialised" in lines
    assert "unfinished" in lines[start + 1] or "unfinished" in lines[start + 2]
    assert any("[WARNING]" in line and "first" in line for line in lines)
    assert lines.index("to stderr") < lines.index("ééééé") < lines.index("line 0")
    assert [line for line in lines if line.startswith("line ")] == [f"line {number}" for number in range(3000)]
    assert lines[-2] == f"END RequestId: {cold.request_id}"
    assert re.fullmatch(
        rf"REPORT RequestId: {cold.request_id}\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 512 MB"
        r"\tMax Memory Used: \d+ MB\t(Init Duration: [\d.]+ ms\t)?",
        lines[-1],
    )
    if lab.engine == "own":
        assert any(line.endswith("first\nsecond") for line in lines), "one logging call is one event"
        assert "Init Duration" in lines[-1]
    stamps = [stamp for stamp, _ in cold.log_lines]
    assert abs(stamps[-1] - time.time() * 1000) < 60_000
    warm = lab.invoke(image)
    assert lines_of(warm)[0] == f"START RequestId: {warm.request_id} Version: $LATEST"
    assert "Init Duration" not in lines_of(warm)[-1]
    assert warm.log_stream == cold.log_stream


def test_log_of_every_invocation_is_its_own(lab: Lab) -> None:
    image = lab.image({"app.py": "def handler(event, context): print('number', event)"})
    for number in range(60):
        assert f"number {number}" in lines_of(lab.invoke(image, number))


def test_used_memory_is_measured(lab: Lab) -> None:
    def used(result: InvokeResult) -> int:
        return int(re.findall(r"Max Memory Used: (\d+) MB", lines_of(result)[-1])[0])

    image = lab.image()
    small, large = used(lab.invoke(image)), used(lab.invoke(image, {"do": "memory", "mb": 150}))
    assert small < 100
    assert 150 <= large < 300


def test_answer_over_the_limit(lab: Lab) -> None:
    content = error_of(lab.invoke(lab.common, {"do": "large", "bytes": 6_500_000}))
    assert content == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }
    assert len(lab.invoke(lab.common, {"do": "large", "bytes": 6_000_000}).payload) == 6_000_002


def test_parallel_invokes_have_environments_of_their_own(lab: Lab) -> None:
    """Each waits for the others, so that only real parallel running can end."""
    image, number = lab.image(), 3
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(number) as pool:
        server.settimeout(20)
        event = {"do": "meet", "port": server.getsockname()[1]}
        jobs = [pool.submit(lab.answer, image, event) for _ in range(number)]
        peers = [server.accept()[0] for _ in range(number)]
        streams = {peer.recv(200).decode() for peer in peers}
        for peer in peers:
            peer.sendall(b"go")
            peer.close()
        assert {str(job.result()["stream"]) for job in jobs} == streams
    assert len(streams) == number
    assert lab.answer(image)["stream"] in streams


_BOOTSTRAP = """\
    #!/bin/bash
    api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
    headers=${TMPDIR:-/tmp}/headers
    while true; do
        event=$(curl -sS -D "$headers" "$api/invocation/next") || exit 1
        id=$(sed -n 's/^lambda-runtime-aws-request-id: *//Ip' "$headers" | tr -d '\\r')
        echo "handling $_HANDLER"
        case $event in
            *fail*) curl -sS -o /dev/null -d '{"errorMessage": "m", "errorType": "Mine"}' \
                -H 'Lambda-Runtime-Function-Error-Type: Mine' "$api/invocation/$id/error" ;;
            *) curl -sS -o /dev/null -d "{\\"got\\": $event, \\"env\\": \\"$AWS_EXECUTION_ENV\\"}" \
                "$api/invocation/$id/response" ;;
        esac
    done
"""


@pytest.mark.parametrize("runtime", ["provided.al2", "provided.al2023"])
def test_custom_runtime_in_shell(lab: Lab, runtime: str) -> None:
    if not Path("/usr/bin/curl").exists():
        pytest.skip("no curl: install curl")
    image = replace(lab.image({"bootstrap": _BOOTSTRAP}), runtime=runtime, handler="my.handler")
    result = lab.invoke(image, {"n": 1})
    assert json.loads(result.payload) == {"got": {"n": 1}, "env": ""}, result.log_lines
    assert "handling my.handler" in lines_of(result)
    assert error_of(lab.invoke(image, "fail")) == {"errorMessage": "m", "errorType": "Mine"}
    in_layer = replace(lab.image({"data": ""}, [{"bootstrap": _BOOTSTRAP}]), runtime=runtime)
    assert json.loads(lab.invoke(in_layer, 7).payload)["got"] == 7


def test_custom_runtime_without_bootstrap(lab: Lab) -> None:
    content = error_of(lab.invoke(replace(lab.image({"data": ""}), runtime="provided.al2023")))
    assert content["errorType"] == "Runtime.InvalidEntrypoint"
    assert "Couldn't find valid bootstrap(s)" in str(content["errorMessage"])
    plain = error_of(
        lab.invoke(replace(lab.image({"sub/x": "", "bootstrap": "echo no interpreter"}), runtime="provided.al2"))
    )
    assert str(plain["errorMessage"]).endswith("bootstrap: exec format error")


@pytest.mark.parametrize("engine", ["own", "rie"])
def test_program_for_another_machine_is_never_said_to_run(scratch: Path, engine: Engine) -> None:
    """Lambda runs an arm64 program in an arm64 function; whoever tries it here has to hear that it was not tried."""
    other = {"x86_64": "arm64", "arm64": "x86_64"}[MACHINE]
    program = b"\x7fELF\2\1\1" + bytes(11) + {"x86_64": 62, "arm64": 183}[other].to_bytes(2, "little") + bytes(44)
    fleet = fleet_for(scratch, engine, "auto")
    try:
        lab = Lab(fleet=fleet, engine=engine, scratch=scratch)
        image = replace(lab.image({"bootstrap": program}), runtime="provided.al2023")
        assert str(error_of(lab.invoke(image))["errorMessage"]).endswith("bootstrap: exec format error")
        for foreign in (image, replace(lab.image({"a": ""}, [{"bootstrap": program}]), runtime="provided.al2023")):
            with pytest.raises(
                RuntimeUnavailable, match=f"is a program for {other}: Lambda would run it, this {MACHINE}"
            ):
                lab.invoke(replace(foreign, architecture=other, revision="2"))
        script = replace(lab.image({"bootstrap": _BOOTSTRAP}), runtime="provided.al2023", architecture=other)
        assert json.loads(lab.invoke(script, 1).payload)["got"] == 1, "a script runs anywhere, with a warning"
        plain = lab.tree({"bootstrap": _BOOTSTRAP}, executable=())
        refused = error_of(lab.invoke(replace(script, code=plain, revision="2")))
        assert str(refused["errorMessage"]).endswith("bootstrap: permission denied")
    finally:
        fleet.close()


def test_process_that_hangs_on_does_not_outlive_its_environment(lab: Lab) -> None:
    mark = f"9{uuid.uuid4().int % 10**8}"
    image = lab.image()
    lab.answer(image, {"do": "detach", "mark": mark})
    _until(lambda: _running(mark))
    lab.fleet.discard(image.arn)
    _until(lambda: not _running(mark))


@pytest.mark.parametrize("isolation", ["bwrap", "plain"])
def test_a_runtime_that_is_stopped_is_gone(scratch: Path, isolation: str) -> None:
    """Killed is not gone: what still listens would take the calls of the successor."""
    many = "#!/bin/sh\nfor n in $(seq 300); do sleep 99 & done\nwait\n"
    fleet = fleet_for(scratch, "own", isolation)
    try:
        lab = Lab(fleet=fleet, engine="own", scratch=scratch)
        image = replace(lab.image({"bootstrap": many}), runtime="provided.al2023")
        with fleet._pool.environment(image) as environment:
            assert isinstance(environment, OwnEnvironment)
            sandbox = environment._sandbox
            sandbox.start()
            _until(lambda: len(below(sandbox.pid)) >= 300)
            sandbox.stop()
            assert len(below(sandbox.pid)) <= 2  # bubblewrap and the supervisor
    finally:
        fleet.close()


class TestSandbox:
    """What only bubblewrap can give."""

    @pytest.fixture(autouse=True)
    def _only_sandboxed(self, lab: Lab) -> None:
        if not lab.sandboxed:
            pytest.skip("plain children have no sandbox")

    def test_user_root_and_tools(self, lab: Lab) -> None:
        checks = {
            "id -u; id -g; id -un": "993\n990\nsbx_user1051\n",
            "echo ${HOME-unset}": "unset\n",
            "readlink -f /bin/sh": "/usr/bin/bash\n",
            "touch /x /var/task/x /opt/x /usr/x /var/x /dev/x /dev/shm/x 2>/dev/null || ls /tmp/x 2>/dev/null": "",
            "for t in git ssh gcc cc make tar unzip zip find xargs perl; do command -v $t; done": "",
            "ls /home /root 2>/dev/null": "",
            "command -v python python3": "/var/lang/bin/python\n/var/lang/bin/python3\n",
            "python3 -c 'import sys; print(sys.prefix)'": "/var/lang\n",
            "ulimit -n": "1024\n",
            "ls /var/task": "app.py\n",
        }
        script = "; echo ===; ".join(f"( {command} )" for command in checks)
        _, output = lab.shell(lab.common, script)
        assert dict(zip(checks, output.split("===\n"), strict=True)) == checks

    def test_neither_processes_nor_secrets_of_the_host_are_seen(self, lab: Lab) -> None:
        _, output = lab.shell(lab.common, "cat /proc/[0-9]*/cmdline /proc/[0-9]*/comm | tr '\\0' '\\n'")
        assert "pytest" not in output
        assert "hidden" not in output
        assert "hidden" not in "".join(_command_lines())

    def test_tmp_has_the_configured_size(self, lab: Lab) -> None:
        image = replace(lab.image(), ephemeral_mb=520)
        code, _ = lab.shell(image, "truncate -s 1M /tmp/a && df -m /tmp | tail -1 | awk '{exit $2 != 520}'")
        assert code == 0
        code, output = lab.shell(image, "dd if=/dev/zero of=/tmp/b bs=1M count=530 2>&1")
        assert (code, "No space left on device" in output) == (1, True)

    def test_installed_packages_of_the_host_are_hidden(self, lab: Lab) -> None:
        _, output = lab.shell(lab.common, "ls /var/lang/lib/python3*/site-packages 2>/dev/null")
        assert {name.split("-")[0] for name in output.split()} <= {"pip"}

    def test_system_is_amazon_linux(self, lab: Lab) -> None:
        _, output = lab.shell(lab.common, ". /etc/os-release; echo $ID $VERSION_ID")
        version = int(lab.common.runtime.split(".")[1])
        assert output == ("amzn 2023\n" if version >= 12 else "amzn 2\n")


@pytest.mark.parametrize("version", interpreters.VERSIONS)
def test_every_python_runs(own: Lab, version: str) -> None:
    if version not in FOUND:
        pytest.skip(f"no CPython {version}: install it, for example with `uv python install {version}`")
    assert own.fleet.runtimes[f"python{version}"] == str(FOUND[version])
    content = own.answer(replace(own.image(), runtime=f"python{version}"))
    assert content["python"] == [int(part) for part in version.split(".")]
    sdk = own.image({"app.py": "import boto3\ndef handler(e, c): return boto3.__version__"})
    assert json.loads(own.invoke(replace(sdk, runtime=f"python{version}")).payload).startswith("1.42")


def test_runtime_that_is_not_here(own: Lab) -> None:
    with pytest.raises(RuntimeUnavailable, match=r"ruby3\.4 cannot run here"):
        own.invoke(replace(own.image(), runtime="ruby3.4"))
    absent = [version for version in interpreters.VERSIONS if version not in FOUND]
    if absent:
        with pytest.raises(RuntimeUnavailable, match=f"no CPython {absent[0]} was found"):
            own.invoke(replace(own.image(), runtime=f"python{absent[0]}"))


def test_slow_initialisation_is_begun_again_under_the_functions_timeout(own: Lab) -> None:
    image = own.image({"app.py": "import time\ntime.sleep(0.6)\ndef handler(e, c): return 1"})
    fleet = own.fleet
    environment = OwnEnvironment(
        image, fleet._guest(image), fleet._isolator, fleet._memory, forwarded={}, init_limit_s=0.3
    )
    try:
        result = environment.invoke(b"{}", request_id="r", invoked_arn=image.arn, client_context=None)
    finally:
        environment.close()
    assert (result.payload, result.function_error) == (b"1", None)
    init = [line for line in lines_of(result) if line.startswith("INIT_REPORT")]
    assert len(init) == 1
    assert init[0].endswith("Phase: init\tStatus: timeout")
    assert int(re.findall(r"Duration: (\d+)", lines_of(result)[-1])[0]) >= 600


def test_closing_ends_running_invocations(scratch: Path) -> None:
    lab = Lab(fleet=fleet_for(scratch, "own", "auto"), engine="own", scratch=scratch)
    image = lab.image()
    lab.answer(image)
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(lab.invoke, image, {"do": "sleep", "seconds": 9})
        time.sleep(0.2)
        begun = time.monotonic()
        lab.fleet.close()
        assert error_of(job.result(5))["errorType"] == "Runtime.ExitError"
        assert time.monotonic() - begun < 5


def test_warm_reuse_does_not_depend_on_the_calling_thread(own: Lab) -> None:
    """The kernel kills a sandbox with the thread that started it; requests come on threads that end."""
    image, counts = own.image(), []

    def once() -> None:
        counts.append(own.answer(image)["count"])

    for _ in range(3):
        thread = threading.Thread(target=once)
        thread.start()
        thread.join()
        time.sleep(0.05)
    assert counts == [1, 2, 3]


@pytest.mark.parametrize("isolation", ["bwrap", "plain"])
def test_nothing_survives_the_server(scratch: Path, isolation: str) -> None:
    """Not even when it is killed, and not even what detached itself."""
    fleet_for(scratch, "own", isolation).close()
    mark = f"9{uuid.uuid4().int % 10**8}"
    program = f"""
        import sys
        sys.path[:0] = {[str(ROOT), str(ROOT / "localaws/src")]!r}
        from pathlib import Path
        from tests.localaws.fleets import Lab, Fleet
        scratch = Path({str(scratch)!r})
        lab = Lab(fleet=Fleet(cache=scratch, isolation={isolation!r}), engine="own", scratch=scratch)
        lab.answer(lab.image(), {{"do": "detach", "mark": "{mark}"}})
        print("running", flush=True)
        lab.invoke(lab.image(), {{"do": "sleep", "seconds": 9}})
    """
    server = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    with server:
        assert server.stdout is not None
        for line in server.stdout:
            if line == "running\n":
                break
        assert _running(mark)
        server.send_signal(signal.SIGKILL)
    _until(lambda: not _running(mark))


def test_forwarded_variables_and_the_certificates_they_name(scratch: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "own ca.pem"
    bundle.write_text("certificates")
    private = tmp_path / "private"
    private.write_text("private")
    variables = {
        "npm_config_cafile": str(bundle),
        "PIP_INDEX_URL": "https://index.example/simple",
        "SOME_FILE": str(private),
    }
    fleet = fleet_for(scratch, "own", "auto", variables)
    try:
        lab = Lab(fleet=fleet, engine="own", scratch=scratch)
        code, output = lab.shell(lab.image(), 'cat "$npm_config_cafile"; echo " $PIP_INDEX_URL"; cat "$SOME_FILE"')
    finally:
        fleet.close()
    assert output.startswith("certificates https://index.example/simple\n")
    if fleet.isolation == "bwrap":
        assert code != 0, "only certificates become visible"


def test_auto_falls_back_with_the_reason(scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = tmp_path / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    fleet = Fleet(cache=scratch, isolation="auto")
    fleet.close()
    assert fleet.isolation == "plain"
    assert fleet.why == "bubblewrap does not work here: setting up uid map: Permission denied"
    with pytest.raises(RuntimeUnavailable, match="setting up uid map"):
        Fleet(cache=scratch, isolation="bwrap")


def _command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue


def _running(mark: str) -> bool:
    return any(line.startswith(f"sleep {mark}") for line in _command_lines())


def _until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)
