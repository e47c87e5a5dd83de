"""What functions do when invoked, the same on every engine and with every isolation."""

from __future__ import annotations

import base64
import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.localaws.lab import Lab, refused, wait_until


def call(lab: Lab, name: str, event: Any = None, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Invoke and return the parsed payload and the answer."""
    answer = lab.client.invoke(FunctionName=name, Payload=json.dumps(event).encode(), **options)
    body = answer["Payload"].read()
    return (json.loads(body) if body else None), answer


def test_an_event_comes_back(any_lab: Lab) -> None:
    payload, answer = call(any_lab, any_lab.function(), {"a": [1, "ü", None]})
    assert payload == {"a": [1, "ü", None]}
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in answer
    assert "LogResult" not in answer


CONTEXT = """
import os, sys
def handler(event, context):
    return {
        "request_id": context.aws_request_id, "arn": context.invoked_function_arn, "name": context.function_name,
        "version": context.function_version, "memory": context.memory_limit_in_mb,
        "left": context.get_remaining_time_in_millis(), "group": context.log_group_name,
        "env": dict(os.environ), "path": sys.path[0],
    }
"""


def test_context_and_environment(any_lab: Lab) -> None:
    name = any_lab.function(CONTEXT, Environment={"Variables": {"MINE": "yes"}}, MemorySize=192, Timeout=7)
    found, answer = call(any_lab, name)
    assert found["request_id"] == answer["ResponseMetadata"]["RequestId"]
    assert found["arn"] == f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
    assert (found["name"], found["version"], int(found["memory"])) == (name, "$LATEST", 192)
    assert 0 < found["left"] <= 7000
    assert found["group"] == f"/aws/lambda/{name}"
    environment = found["env"]
    assert environment["MINE"] == "yes"
    assert environment["AWS_REGION"] == environment["AWS_DEFAULT_REGION"] == "us-east-1"
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == name
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "192"
    assert environment["_HANDLER"] == "app.handler"
    assert environment["TZ"] == ":UTC"
    assert "HOME" not in environment
    assert environment["AWS_ACCESS_KEY_ID"].startswith("ASIA")


def test_the_identity_is_the_role(any_lab: Lab) -> None:
    source = "import boto3\ndef handler(e, c): return boto3.client('sts').get_caller_identity()['Arn']\n"
    name = any_lab.function(source, Timeout=30, MemorySize=512)
    found, _ = call(any_lab, name)
    role = any_lab.role.rsplit("/", 1)[-1]
    assert found == f"arn:aws:sts::123456789012:assumed-role/{role}/{name}"


def test_a_raised_exception(any_lab: Lab) -> None:
    name = any_lab.function("def handler(e, c): raise ValueError('no luck')\n")
    payload, answer = call(any_lab, name)
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert (payload["errorType"], payload["errorMessage"]) == ("ValueError", "no luck")
    assert "app.py" in payload["stackTrace"][0]


def test_an_error_shaped_answer_is_no_error(any_lab: Lab) -> None:
    name = any_lab.function("def handler(e, c): return {'errorType': 'X', 'errorMessage': 'y'}\n")
    payload, answer = call(any_lab, name)
    assert "FunctionError" not in answer
    assert payload == {"errorType": "X", "errorMessage": "y"}


@pytest.mark.parametrize(
    ("source", "handler", "kind"),
    [
        ("raise RuntimeError('at import')\n", "app.handler", "RuntimeError"),
        ("import nowhere\n", "app.handler", "Runtime.ImportModuleError"),
        ("", "app.handler", "Runtime.HandlerNotFound"),
        ("def handler(e, c: pass\n", "app.handler", "Runtime.UserCodeSyntaxError"),
    ],
    ids=["raises", "import", "no handler", "syntax"],
)
def test_errors_of_the_init_phase(any_lab: Lab, source: str, handler: str, kind: str) -> None:
    payload, answer = call(any_lab, any_lab.function(source, Handler=handler, Timeout=10))
    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorType"] == kind


def test_a_timeout_and_the_invoke_after_it(any_lab: Lab) -> None:
    name = any_lab.function("import time\ndef handler(e, c):\n    time.sleep(e)\n    return 'done'\n", Timeout=1)
    payload, answer = call(any_lab, name, 20)
    assert answer["FunctionError"] == "Unhandled"
    assert re.search(r"Task timed out after 1\.00 seconds", payload["errorMessage"])
    assert call(any_lab, name, 0)[0] == "done"


def test_a_process_that_exits(any_lab: Lab) -> None:
    name = any_lab.function("import os\ndef handler(e, c): os._exit(3) if e else None\n", Timeout=10)
    payload, answer = call(any_lab, name, 1)
    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorType"] == "Runtime.ExitError"
    assert "FunctionError" not in call(any_lab, name, 0)[1]


def test_warm_reuse_keeps_globals_until_the_code_changes(any_lab: Lab) -> None:
    source = "n = 0\ndef handler(e, c):\n    global n\n    n += 1\n    return n\n"
    name = any_lab.function(source)
    assert [call(any_lab, name)[0] for _ in range(3)] == [1, 2, 3]
    any_lab.client.update_function_configuration(FunctionName=name, Description="new")
    any_lab.settle(name)
    assert call(any_lab, name)[0] == 1


def test_parallel_invokes_get_environments_of_their_own(any_lab: Lab) -> None:
    source = "import os, time\ndef handler(e, c):\n    time.sleep(0.5)\n    return os.urandom(8).hex()\n"
    name = any_lab.function(source, Timeout=20)
    begin = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: call(any_lab, name)[0], range(3)))
    assert len(set(answers)) == 3
    assert time.monotonic() - begin < 1.5 + 3  # one after another would take as long on an idle machine only


def test_versions_and_aliases_run_their_own_code(any_lab: Lab) -> None:
    from localaws.testing import zip_of

    name = any_lab.function("def handler(e, c): return 1, c.function_version, c.invoked_function_arn\n")
    any_lab.client.publish_version(FunctionName=name)
    new = zip_of({"app.py": "def handler(e, c): return 2, c.function_version, c.invoked_function_arn\n"})
    any_lab.client.update_function_code(FunctionName=name, ZipFile=new)
    any_lab.settle(name)
    any_lab.client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    arn = f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
    assert call(any_lab, name)[0] == [2, "$LATEST", arn]
    payload, answer = call(any_lab, name, Qualifier="live")
    assert payload == [1, "1", f"{arn}:live"]
    assert answer["ExecutedVersion"] == "1"
    assert call(any_lab, f"{arn}:1")[0][0] == 1


def test_layers_are_merged_in_order_into_opt(any_lab: Lab) -> None:
    low = any_lab.layer({"python/which.py": "NAME = 'low'\n", "python/only_low.py": "", "data/low.txt": "l"})
    high = any_lab.layer(
        {"python/which.py": "NAME = 'high'\n", "data/high.txt": "h", "bin/tool": "#!/bin/sh\necho run\n"}
    )
    source = (
        "import os, subprocess, sys, which, only_low\n"
        "def handler(e, c):\n"
        "    opt = os.path.dirname(os.path.dirname(which.__file__))\n"
        "    run = subprocess.run(['tool'], capture_output=True, text=True).stdout\n"
        "    return which.NAME, sorted(os.listdir(opt + '/data')), run\n"
    )
    name = any_lab.function(source, Layers=[low, high], Timeout=10)
    found, answer = call(any_lab, name)
    assert "FunctionError" not in answer, found
    assert found == ["high", ["high.txt", "low.txt"], "run\n"]


def test_code_is_read_only_and_tmp_is_not(any_lab: Lab) -> None:
    if any_lab.server.ready_line.find("isolation plain") >= 0 and os.geteuid() == 0:
        pytest.skip("plain child processes of root can write everywhere: run as another user, or install bubblewrap")
    source = (
        "import os, tempfile\n"
        "def handler(e, c):\n"
        "    with tempfile.NamedTemporaryFile('w') as f: f.write('x')\n"
        "    try:\n"
        "        open(os.environ['LAMBDA_TASK_ROOT'] + '/x', 'w')\n"
        "    except OSError as error:\n"
        "        return error.strerror\n"
    )
    assert call(any_lab, any_lab.function(source))[0] in ("Read-only file system", "Permission denied")


def test_the_tail_of_the_log(any_lab: Lab) -> None:
    name = any_lab.function("def handler(e, c):\n    print('x' * 5000)\n    print('the end')\n")
    _, answer = call(any_lab, name, LogType="Tail")
    tail = base64.b64decode(answer["LogResult"])
    assert len(tail) == 4096
    assert b"the end\n" in tail
    request_id = answer["ResponseMetadata"]["RequestId"].encode()
    assert b"END RequestId: " + request_id in tail
    assert re.search(
        rb"REPORT RequestId: .*\tBilled Duration: \d+ ms\tMemory Size: 128 MB\tMax Memory Used: \d+ MB", tail
    )


def test_logs_reach_cloudwatch(any_lab: Lab) -> None:
    name = any_lab.function("import sys\ndef handler(e, c):\n    print('out')\n    print('err', file=sys.stderr)\n")
    _, answer = call(any_lab, name)
    logs = any_lab.server.client("logs")
    events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    text = "".join(event["message"] for event in events)
    assert f"START RequestId: {answer['ResponseMetadata']['RequestId']} Version: $LATEST" in text
    assert "out\n" in text
    assert "err\n" in text
    streams = logs.describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"]
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", streams[0]["logStreamName"])


def test_a_log_group_of_ones_own(any_lab: Lab) -> None:
    group = any_lab.name("group")
    name = any_lab.function(LoggingConfig={"LogGroup": group})
    call(any_lab, name)
    groups = any_lab.server.client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert [found["logGroupName"] for found in groups] == [group]


def test_an_event_invoke_answers_at_once_and_runs(any_lab: Lab) -> None:
    name = any_lab.function("def handler(e, c):\n    print('ran', e)\n")
    payload, answer = call(any_lab, name, {"k": 1}, InvocationType="Event")
    assert (payload, answer["StatusCode"]) == (None, 202)
    assert "ExecutedVersion" not in answer
    logs = any_lab.server.client("logs")
    wait_until(lambda: "ran {'k': 1}" in _log_text(logs, name), "the event to run")


def _log_text(logs: Any, name: str) -> str:
    try:
        return "".join(
            event["message"] for event in logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        )
    except logs.exceptions.ResourceNotFoundException:
        return ""


def test_a_dry_run_runs_nothing(any_lab: Lab) -> None:
    name = any_lab.function("def handler(e, c):\n    print('ran')\n")
    assert call(any_lab, name, InvocationType="DryRun")[1]["StatusCode"] == 204
    assert _log_text(any_lab.server.client("logs"), name) == ""


def test_client_context(any_lab: Lab) -> None:
    name = any_lab.function("def handler(e, c): return c.client_context.custom\n")
    context = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
    assert call(any_lab, name, ClientContext=context)[0] == {"k": "v"}


def test_a_response_stream(any_lab: Lab) -> None:
    name = any_lab.function()
    answer = any_lab.client.invoke_with_response_stream(FunctionName=name, Payload=b'{"a": 1}')
    events = list(answer["EventStream"])
    assert json.loads(b"".join(e["PayloadChunk"]["Payload"] for e in events if "PayloadChunk" in e)) == {"a": 1}
    assert "InvokeComplete" in events[-1]


def test_a_custom_runtime(any_lab: Lab) -> None:
    bootstrap = (
        "#!/bin/sh\nset -eu\nwhile :; do\n"
        '  base="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"\n'
        '  headers=$(mktemp)\n  event=$(curl -sS -D "$headers" "$base/next")\n'
        "  id=$(grep -i lambda-runtime-aws-request-id \"$headers\" | tr -d '\\r' | cut -d' ' -f2)\n"
        '  curl -sS -o /dev/null -X POST "$base/$id/response" -d "{\\"got\\": $event}"\ndone\n'
    )
    from localaws.testing import zip_of

    name = any_lab.function(
        Runtime="provided.al2023", Handler="any", Code={"ZipFile": zip_of({"bootstrap": bootstrap})}, Timeout=10
    )
    payload, answer = call(any_lab, name, {"a": 1})
    assert "FunctionError" not in answer, payload
    assert payload == {"got": {"a": 1}}


def test_payload_rules(lab: Lab) -> None:
    name = lab.function("def handler(e, c): return 'x' * e if isinstance(e, int) else e\n", MemorySize=512, Timeout=20)
    with refused("InvalidRequestContentException", "Could not parse request body into json", 400):
        lab.client.invoke(FunctionName=name, Payload=b"{not json")
    with refused("RequestTooLargeException", "smaller than 6291456 bytes", 413):
        lab.client.invoke(FunctionName=name, Payload=b'"' + b"x" * 6_291_456 + b'"')
    with refused("RequestTooLargeException", "smaller than 1048576 bytes", 413):
        lab.client.invoke(FunctionName=name, InvocationType="Event", Payload=b'"' + b"x" * 1_048_576 + b'"')
    assert json.loads(lab.client.invoke(FunctionName=name)["Payload"].read()) == {}
    payload, answer = call(lab, name, 6_300_000)
    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorType"] == "Function.ResponseSizeTooLarge"


def test_unknown_functions_and_qualifiers(lab: Lab) -> None:
    with refused("ResourceNotFoundException", "Function not found", 404):
        lab.client.invoke(FunctionName="nobody")
    name = lab.function()
    with refused("ResourceNotFoundException", f":{name}:nope", 404):
        lab.client.invoke(FunctionName=name, Qualifier="nope")


def test_an_unknown_runtime_interpreter_is_told(lab: Lab) -> None:
    name = lab.function(Runtime="java21")
    with refused("InvalidRuntimeException", "java21", 502):
        lab.client.invoke(FunctionName=name)


def test_old_code_runs_while_an_update_is_in_progress(slow_lab: Lab) -> None:
    from tests.localaws.lab import OTHER

    name = slow_lab.function()
    slow_lab.client.update_function_code(FunctionName=name, ZipFile=OTHER)
    assert call(slow_lab, name, "old")[0] == "old"
    slow_lab.settle(name)
    assert call(slow_lab, name, "old")[0] == 2


def test_routing_weights_split_the_traffic(lab: Lab) -> None:
    from tests.localaws.lab import OTHER

    name = lab.function()
    lab.client.publish_version(FunctionName=name)
    lab.client.update_function_code(FunctionName=name, ZipFile=OTHER, Publish=True)
    lab.settle(name)
    weights = {"AdditionalVersionWeights": {"2": 0.5}}
    lab.client.create_alias(FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig=weights)
    versions = {call(lab, name, Qualifier="live")[1]["ExecutedVersion"] for _ in range(40)}
    assert versions == {"1", "2"}


URL_SOURCE = """
import json
def handler(event, context):
    return {"statusCode": 201, "headers": {"Content-Type": "application/json", "X-Mine": "1"},
            "cookies": ["a=b", "c=d"], "body": json.dumps(event)}
"""


def open_url(lab: Lab, name: str) -> str:
    """A URL that everybody may call; the policy needs two statements for that."""
    url: str = lab.client.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
    everybody = {"FunctionName": name, "Principal": "*"}
    for statement in (
        {"StatementId": "url", "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
        {"StatementId": "invoke", "Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
    ):
        forbidden = requests.get(url, timeout=20)
        assert (forbidden.status_code, "Forbidden" in forbidden.text) == (403, True)
        lab.client.add_permission(**everybody, **statement)
    return url


def test_a_function_url_is_executed(lab: Lab) -> None:
    name = lab.function(URL_SOURCE)
    url = open_url(lab, name)
    answer = requests.post(f"{url}some/path?x=1&x=2", json={"k": "v"}, headers={"Cookie": "s=1"}, timeout=20)
    assert (answer.status_code, answer.headers["X-Mine"]) == (201, "1")
    assert answer.headers["Set-Cookie"] == "a=b, c=d"
    event = answer.json()
    assert (event["version"], event["rawPath"], event["rawQueryString"]) == ("2.0", "/some/path", "x=1&x=2")
    assert event["queryStringParameters"] == {"x": "1,2"}
    assert event["requestContext"]["http"]["method"] == "POST"
    assert (json.loads(event["body"]), event["isBase64Encoded"]) == ({"k": "v"}, False)
    assert event["cookies"] == ["s=1"]
    binary = requests.put(url, data=b"\xff\x00", headers={"Content-Type": "application/x-thing"}, timeout=20).json()
    assert (base64.b64decode(binary["body"]), binary["isBase64Encoded"]) == (b"\xff\x00", True)


def test_a_function_url_answers_plain_values_errors_and_strangers(lab: Lab) -> None:
    name = lab.function("def handler(e, c):\n    if e['rawPath'] == '/fail': raise ValueError\n    return {'a': 1}\n")
    url = open_url(lab, name)
    assert requests.get(url, timeout=20).json() == {"a": 1}
    assert requests.get(f"{url}fail", timeout=20).status_code == 502
    lab.client.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    assert requests.get(url, timeout=20).status_code == 403
    assert requests.get(f"{lab.server.endpoint_url}/_localaws/url/{'0' * 32}/", timeout=20).status_code == 404
