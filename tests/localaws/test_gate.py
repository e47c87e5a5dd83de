"""Who is answered: programs of this machine, not web pages, under whatever name; and who may use the controls."""

from __future__ import annotations

import base64
import http.client
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localaws.testing import Server, git_server, running
from localaws.wire.origins import is_loopback, why_refused
from tests.localaws.lab import CODE, Lab, make_lab

SCOPE = "Credential=test/20260101/us-east-1/{}/aws4_request"
SIGNATURE = f"AWS4-HMAC-SHA256 {SCOPE}, SignedHeaders=host, Signature=0"


def ask(server: Server, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
    """Status and text; with headers exactly as they are given, `Host` too. Underscores are hyphens."""
    address = server.endpoint_url.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=20)
    named = {"Host": address} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    answer = connection.getresponse()
    text = answer.read().decode("utf-8", "replace")
    connection.close()
    return answer.status, text


OURS = ["127.0.0.1", "127.0.0.1:4599", "127.8.9.1", "localhost:1", "LocalHost", "localhost.", "[::1]", "[::1]:4599"]
OURS += ["bucket.localhost", "my-bucket.s3.localhost:4599"]
OTHERS = ["evil.example", "evil.example:4599", "localhost.evil.example", "127.0.0.1.evil.example", "evillocalhost"]
OTHERS += [
    "10.0.0.1",
    "0.0.0.0",
    "[::2]",
    "127.0.0.1@evil.example",
    "evil.example#.localhost",
    "evil.example/.localhost",
]
OTHERS += [
    "evil.example\\.localhost",
    "evil.example?.localhost",
    "localhost:x",
    "127.0.0.1, evil.example",
    "[::1",
    "",
    ":1",
]


@pytest.mark.parametrize("host", OURS)
def test_names_of_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", OTHERS)
def test_names_of_others(host: str) -> None:
    assert not is_loopback(host)


@given(st.text(st.characters(codec="latin-1"), max_size=30))
def test_any_text_is_a_host_of_this_machine_or_not(text: str) -> None:
    assert is_loopback(text) in (True, False)
    assert not is_loopback(f"{text}.example")
    assert why_refused({"Origin": f"https://{text}.example"}.get)


def creation(lab: Lab, name: str) -> bytes:
    code = {"ZipFile": base64.b64encode(CODE).decode()}
    request = {"FunctionName": name, "Runtime": lab.runtime, "Handler": "app.handler", "Role": lab.role, "Code": code}
    return json.dumps(request).encode()


PAGES: dict[str, dict[str, str]] = {
    "rebound name": {"Host": "evil.example:4599"},
    "name of another machine": {"Host": "192.168.1.7"},
    "page of another site": {"Origin": "https://evil.example"},
    "page without an origin": {"Origin": "null"},
    "page on another machine": {"Origin": "http://192.168.1.7:8080"},
    "program of a browser": {"Origin": "chrome-extension://abc"},
    "image or link on a page": {"Sec_Fetch_Site": "cross-site"},
    "page of an older browser": {"Referer": "http://evil.example/page"},
    "rebound page": {"Host": "evil.example", "Origin": "http://evil.example", "Sec_Fetch_Site": "same-origin"},
}


@pytest.mark.parametrize("page", PAGES)
def test_a_web_page_reaches_nothing(lab: Lab, page: str) -> None:
    headers, name = PAGES[page], lab.name("never")
    signed = {"Authorization": SIGNATURE.format("lambda")}
    requests: list[tuple[str, str, bytes, dict[str, str]]] = [
        ("POST", "/2015-03-31/functions", creation(lab, name), signed),
        ("GET", "/2015-03-31/functions", b"", signed),
        ("PUT", f"/bucket-{name}", b"", {}),
        ("PUT", f"/bucket-{name}?X-Amz-Credential=test%2F20260101%2Fus-east-1%2Fs3%2Faws4_request", b"", {}),
        ("GET", "/?Action=CreateUser&UserName=eve&Version=2010-05-08", b"", {"Authorization": SIGNATURE.format("iam")}),
        ("POST", "/moto-api/reset", b"", {}),
        ("GET", "/moto-api/data.json", b"", {}),
        ("GET", "/_localaws/health", b"", {}),
        ("POST", "/_localaws/faults", b"{}", {"Content_Type": "application/json"}),
        ("PUT", "/_localaws/rate-limits", b"", {}),
        ("OPTIONS", "/2015-03-31/functions", b"", {"Access_Control_Request_Method": "POST"}),
    ]
    for method, path, body, more in requests:
        status, text = ask(lab.server, method, path, body, **more, **headers)
        assert (status, "Forbidden" in text) == (403, True), (method, path, text)
    assert name not in {function["FunctionName"] for function in lab.client.list_functions()["Functions"]}
    assert all(bucket["Name"] != f"bucket-{name}" for bucket in lab.server.client("s3").list_buckets()["Buckets"])


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost"},
        {"Host": "[::1]:4599"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://127.0.0.1:3000", "Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "none"},
        {"Referer": "http://127.0.0.1:4599/moto-api/"},
    ],
    ids=str,
)
def test_this_machine_is_answered(lab: Lab, headers: dict[str, str]) -> None:
    assert ask(lab.server, "GET", "/_localaws/health", b"", **headers)[0] == 200
    status, _ = ask(
        lab.server, "GET", "/2015-03-31/functions", b"", Authorization=SIGNATURE.format("lambda"), **headers
    )
    assert status == 200


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "Text/Plain"])
def test_controls_take_no_forms(lab: Lab, kind: str) -> None:
    for path in ("/_localaws/faults", "/moto-api/seed?a=1"):
        status, text = ask(lab.server, "POST", path, b"{}", Content_Type=kind)
        assert (status, "content type" in text) == (403, True), path
    status, _ = ask(lab.server, "POST", "/moto-api/seed?a=1", b"")
    assert status == 200


CONTROLS = [
    ("GET", "/moto-api/data.json"),
    ("POST", "/moto-api/reset"),
    ("POST", "/moto-api/reset-auth"),
    ("GET", "/_localaws/faults"),
    ("GET", "/_localaws/calls"),
    ("DELETE", "/_localaws/calls"),
    ("PUT", "/_localaws/rate-limits"),
    ("DELETE", "/_localaws/rate-limits"),
]


@pytest.mark.parametrize(("method", "path"), CONTROLS)
def test_with_iam_controls_are_the_operators(enforcing_localaws: Server, method: str, path: str) -> None:
    operator = {"Authorization": SIGNATURE.format("iam")}
    for headers in ({}, {"X_Localaws_Token": "guess"}, {"X_Localaws_Token": ""}, operator):
        status, text = ask(enforcing_localaws, method, path, b"", **headers)
        assert (status, "only the operator may" in text) == (403, True)


def test_with_iam_the_operator_has_a_token(tmp_path: Path) -> None:
    with running(enforce_iam=True, state=tmp_path) as server:
        file = tmp_path / "operator-token"
        assert f"operator token in {file}" in server.ready_line
        assert server.operator_token not in server.ready_line
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.read_text() == server.operator_token
        assert server.calls() == []
        with server.rate_limits():
            pass
        status, _ = ask(server, "GET", "/moto-api/data.json", X_Localaws_Token=server.operator_token)
        assert status == 200
        first = server.operator_token
        assert ask(server, "GET", "/_localaws/health")[0] == 200
    assert not file.exists()
    file.symlink_to(tmp_path / "elsewhere")
    with running(enforce_iam=True, state=tmp_path) as server:
        assert server.operator_token not in ("", first)
        assert not (tmp_path / "elsewhere").exists()


# What hostile code in a function tries from inside.
INTRUDER = """
import glob, os, urllib.request, urllib.error
def handler(event, context):
    found = []
    for path in glob.glob("/tmp/localaws-*/operator-token"):
        found.append(open(path).read())
    request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"] + event["path"], b"", event["headers"])
    try:
        return [urllib.request.urlopen(request).status, found]
    except urllib.error.HTTPError as error:
        return [error.code, found]
"""


def test_a_function_does_not_reset_the_account(enforcing_localaws: Server) -> None:
    lab = make_lab(enforcing_localaws)
    if "isolation plain" in enforcing_localaws.ready_line:
        pytest.skip("plain child processes are the operator's own: install bubblewrap")
    name = lab.function(INTRUDER, Timeout=20)
    for path in ("/moto-api/reset", "/moto-api/reset-auth", "/_localaws/faults"):
        event: dict[str, Any] = {"path": path, "headers": {"Content-Type": "application/json"}}
        answer = lab.client.invoke(FunctionName=name, Payload=json.dumps(event).encode())
        assert json.load(answer["Payload"]) == [403, []], path
    assert lab.client.get_function(FunctionName=name)


def test_repositories_are_not_for_web_pages_either(tmp_path: Path) -> None:
    (tmp_path / "r.git").mkdir()
    (tmp_path / "r.git" / "HEAD").write_text("ref: refs/heads/main\n")
    with git_server(tmp_path) as forge:
        port = forge.url.rsplit(":", 1)[-1]
        for headers in PAGES.values():
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("GET", "/r/info/refs?service=git-upload-pack", headers=named)
            assert connection.getresponse().status == 403, headers
            connection.close()
