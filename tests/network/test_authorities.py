"""Whose certificates are believed: by every client and every tool the same, and told where one is not."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from builder.errors import UntrustedCertificate
from builder.network import authorities
from builder.network.access import Network
from builder.network.untrusted import explained
from builder.python.asking import get, save
from builder.python.inputs import read_inputs
from builder.python.offered import listing
from builder.python.origins import check_pins
from builder.python.pylock import Locked
from builder.secrets.github_app import installation_token
from builder.secrets.indexes import Indexes
from builder.secrets.logins import GitLogin, IndexLogin
from builder.sources.lfs import fill
from tests.network.certificates import NAME, ORGANISATION, Certified, certified
from tests.sources.forge import Front

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = next(iter(filter(os.path.isfile, authorities._SYSTEM)), "")
ISSUER = f'"{NAME}" of "{ORGANISATION}"'


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return certified(tmp_path_factory.mktemp("certificates"))


def blocks(path: str) -> set[str]:
    return set(
        re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", Path(path).read_text(), re.DOTALL)
    )


def test_the_systems_authorities_count_where_nobody_says_anything() -> None:
    if not SYSTEM:
        pytest.skip("this system has no file of authorities: apt-get install ca-certificates")
    environment = {"HOME": "/nonexistent"}
    authorities.settle(environment)
    named = {value for name, value in environment.items() if name != "HOME"}
    assert {blocks(value) >= blocks(SYSTEM) for value in named} == {True}
    assert {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO", "CARGO_HTTP_CAINFO"} < set(environment)


def _pips(place: str, folder: Path) -> dict[str, str]:
    (folder / ".config/pip").mkdir(parents=True)
    (folder / ".config/pip/pip.conf").write_text(f"[global]\ncert = {place}\n")
    return {"HOME": str(folder)}


@pytest.mark.parametrize(
    "variable",
    [
        *(name for name in authorities.VARIABLES if name != "SSL_CERT_DIR"),
        "LAMBDASMITH_CA_BUNDLE",
        "text",
        "pip",
        "folder",
    ],
)
@pytest.mark.parametrize("on_lambda", [False, True])
def test_whatever_names_an_authority_names_it_for_all(
    variable: str, on_lambda: bool, ours: Certified, tmp_path: Path
) -> None:
    place = str(ours.authority)
    environment = {variable: place}
    if variable == "text":
        environment = {"LAMBDASMITH_CA_BUNDLE": ours.authority.read_text()}
    elif variable == "folder":
        (tmp_path / "authorities").mkdir()
        (tmp_path / "authorities/ab12cd34.0").symlink_to(ours.authority)
        environment = {"SSL_CERT_DIR": str(tmp_path / "authorities")}
    elif variable == "pip":
        environment = _pips(place, tmp_path)
        if on_lambda:
            pytest.skip("nobody configures pip there")
    environment = {"HOME": "/nonexistent", **environment}
    authorities.settle(environment, on_lambda=on_lambda)
    child = authorities.for_child(environment, tmp_path)
    for found in (environment, child):
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO"):
            assert blocks(found[name]) >= blocks(place), name
            assert variable == "SSL_CERT_FILE" or not SYSTEM or blocks(found[name]) > blocks(place), "and the system's"
    if variable.startswith(("AWS", "npm", "NPM")):
        assert blocks(child[variable]) >= blocks(place)
    assert child["NODE_OPTIONS"] == "--use-openssl-ca"
    assert "LAMBDASMITH_CA_BUNDLE" not in child
    assert "/proc/self" not in "".join(child.values()), "a child has files of its own"


def test_what_is_joined_on_lambda_cannot_be_changed(ours: Certified) -> None:
    environment = {"LAMBDASMITH_CA_BUNDLE": str(ours.authority), "SSL_CERT_FILE": str(ours.server)}
    authorities.settle(environment, on_lambda=True)
    place = environment["SSL_CERT_FILE"]
    file = os.open(place, os.O_RDWR)
    with pytest.raises(PermissionError):
        os.write(file, b"x")
    os.close(file)
    before = Path(place).read_text()
    again = dict(environment)
    authorities.settle(again, on_lambda=True)
    assert again == environment, "a second time changes nothing"
    assert "PRIVATE" not in before


def test_files_that_are_not_there_are_passed_over(tmp_path: Path) -> None:
    environment = {"HOME": "/nonexistent", "REQUESTS_CA_BUNDLE": "/no/such.pem", "SSL_CERT_FILE": "/no/other.pem"}
    authorities.settle(environment)
    assert not SYSTEM or Path(environment["REQUESTS_CA_BUNDLE"]).is_file()
    # Where a system has nothing at all, nothing is touched.
    assert authorities.for_child({"SSL_CERT_FILE": "/no/such.pem"}, tmp_path) == {"SSL_CERT_FILE": "/no/such.pem"}


# --- every client ----------------------------------------------------------------------------------------------------

_SHA = "1" * 40
_CLIENTS = """
import json, os, shutil, subprocess, sys
from pathlib import Path
from builder.network import authorities
from builder.system import process
from builder.errors import LambdasmithError
authorities.settle(os.environ)
url, scratch, only, found = sys.argv[1], Path(sys.argv[2]), sys.argv[3:], {}

def attempt(name, call):
    try:
        found[name] = [True, str(call())]
    except LambdasmithError as error:
        found[name] = [False, error.code + ": " + error.message + " / " + error.hint]
    except Exception as error:
        found[name] = [False, repr(error)]

def git():
    from builder.sources.git import resolve
    return resolve(url + "/project.git", None).commit
def upstream():
    from builder.network.loopback import Upstream
    return Upstream(authorization=lambda _: None).ask(url + "/", {}).status
def wheel():
    from builder.python.pylock import LockedWheel
    from builder.python.wheels import download
    one = LockedWheel(name="thing", version="1.0", filename="thing-1.0-py3-none-any.whl", url=url + "/thing.whl",
                      sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    return download([one], scratch)
def aws():
    from builder.aws import aws_errors, connect
    os.environ["AWS_ENDPOINT_URL"] = url
    with aws_errors("listing"):
        clients = connect(region="us-east-1", access_key_id="a", secret_access_key="b")
        return clients.secretsmanager.list_secrets()["SecretList"]

for call in (git, upstream, wheel, aws):
    if not only or call.__name__ in only:
        attempt(call.__name__, call)

child = process.base_environment(os.environ, home=scratch)
(scratch / "in.txt").write_text("thing")
tools = {
    "uv": [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--no-config", "--no-cache", "in.txt", "-q",
           "--index-url", url + "/simple"],
    "npm": ["npm", "view", "thing", "version", "--registry", url + "/npm/", "--fetch-retries=0"],
    "node": ["node", "-e", "fetch(process.argv[1]).catch(e => { console.log(e.cause); process.exit(1) })", url + "/"],
    "go": ["go", "list", "-m", "-versions", "example.com/thing"],
    "git-itself": ["git", "ls-remote", url + "/project.git"],
    "curl": ["curl", "-sS", "--fail", url + "/"],
    "python": [sys.executable, "-c", "import sys, urllib.request; urllib.request.urlopen(sys.argv[1])", url + "/"],
}
# As the builder has it: nobody's settings of npm and go but its own.
child |= {"npm_config_globalconfig": str(scratch / "none.npmrc"), "GOPROXY": url + "/go", "GONOSUMDB": "*"}
child |= {"GOFLAGS": "-mod=mod", "GOENV": "off", "GOTOOLCHAIN": "local"}
for name, command in tools.items():
    if shutil.which(command[0]) and (not only or name in only):
        done = subprocess.run(command, cwd=scratch, env=child, capture_output=True, text=True)
        found[name] = [done.returncode == 0, done.stdout + done.stderr]
print(json.dumps(found))
"""


def packets(*lines: str) -> bytes:
    return b"".join(f"{len(line) + 4:04x}{line}".encode() if line else b"0000" for line in lines)


def answer(path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
    """A forge, a package index, two registries and AWS, as far as anybody asks here."""
    kind, body = "text/plain", b""
    if "/info/refs" in path:
        kind = "application/x-git-upload-pack-advertisement"
        body = packets("# service=git-upload-pack\n", "", f"{_SHA} HEAD\0symref=HEAD:refs/heads/main\n")
        body += packets(f"{_SHA} refs/heads/main\n", "")
    elif path.startswith("/simple/"):
        kind = "text/html"
        body = b'<a href="/thing-1.0-py3-none-any.whl#sha256=%b" data-core-metadata="true">thing</a>' % (b"0" * 64)
    elif path.endswith(".metadata"):
        body = b"Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n"
    elif path.startswith("/npm/"):
        versions = {"1.0.0": {"name": "thing", "version": "1.0.0"}}
        body = json.dumps({"name": "thing", "dist-tags": {"latest": "1.0.0"}, "versions": versions}).encode()
        kind = "application/json"
    elif path.startswith("/go/"):
        body = b"v1.0.0\n" if path.endswith("list") else b'{"Version": "v1.0.0"}'
    elif "x-amz-target" in headers:
        kind, body = "application/x-amz-json-1.1", b'{"SecretList": []}'
    return 200, {"Content-Type": kind}, body


@pytest.fixture(scope="module")
def server(ours: Certified) -> Iterator[Front]:
    with Front(answer, "", tls=ours.server) as front:
        yield front


def ask(url: str, scratch: Path, *only: str, **variables: str) -> dict[str, tuple[bool, str]]:
    environment = {
        **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
        "HOME": str(scratch),
        "PYTHONPATH": str(ROOT),
        "GIT_CONFIG_NOSYSTEM": "1",
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-c", _CLIENTS, url, str(scratch), *only],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name: (bool(went), said) for name, (went, said) in json.loads(done.stdout).items()}


def test_every_client_and_tool_believes_an_authority_that_one_variable_names(
    server: Front, ours: Certified, tmp_path: Path
) -> None:
    found = ask(server.url, tmp_path, REQUESTS_CA_BUNDLE=str(ours.authority))
    assert {name: said for name, (went, said) in found.items() if not went} == {}
    assert {"git", "upstream", "wheel", "aws", "uv", "python"} <= set(found)
    assert found["git"][1] == _SHA


def test_none_believes_another_and_ours_say_who_issued_it(server: Front, tmp_path: Path) -> None:
    found = ask(server.url, tmp_path, "git", "upstream", "wheel", "aws", "uv", "npm", "node", "go")
    assert {name: said for name, (went, said) in found.items() if went} == {}
    host = server.url.removeprefix("https://")
    for name in ("git", "wheel", "aws"):
        assert found[name][1].startswith(
            f"untrusted_certificate: {host}: the certificate is issued by {ISSUER}, an "
        ), name
        assert "ca_bundle in config.ini" in found[name][1]
    for name in {"uv", "npm", "node", "go"} & set(found):
        error = explained(found[name][1], server.url)
        assert error is not None, found[name][1]
        assert ISSUER in error.message
        assert not error.retryable


def _page(url: str, folder: Path) -> None:
    listing("thing", f"{url}/simple")


def _index_of_each(url: str, folder: Path) -> None:
    package: Locked = {"name": "thing", "wheels": [{"url": f"{url}/thing.whl"}]}
    logins = (IndexLogin(name="corp", url=f"{url}/simple", username="", password="", only="thing"),)
    check_pins([package], read_inputs([], folder), Indexes(logins=logins))


def _archive(url: str, folder: Path) -> None:
    get(f"{url}/tool.zip", lambda answer: save(answer, folder / "tool.zip", "tool"), what="toolchain tool")


def _lfs(url: str, folder: Path) -> None:
    (folder / "big").write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'1' * 64}\nsize 1\n")
    fill(
        folder,
        ["big"],
        url=f"{url}/project.git",
        ref="",
        lfs_url="",
        credentials=(),
        network=Network(),
        scratch=folder,
        max_bytes=None,
        link=lambda sha256, path: False,
    )


def _github(url: str, folder: Path) -> None:
    key = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, text=True, check=True).stdout
    installation_token(GitLogin(base=f"{url}/", app_id="1", installation_id="2", private_key="secretsmanager:app"), key)


@pytest.mark.parametrize("client", [_page, _index_of_each, _archive, _lfs, _github])
def test_who_is_patient_with_trouble_is_not_with_a_certificate(
    client: Callable[[str, Path], None], server: Front, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(UntrustedCertificate) as caught:
        client(server.url, tmp_path)
    host = server.url.removeprefix("https://")
    assert caught.value.message == f"{host}: the certificate is issued by {ISSUER}, an authority that is not known here"
    assert "trying again" not in caplog.text


def test_other_faults_of_certificates_are_told_apart(ours: Certified, tmp_path: Path) -> None:
    for name, options, expected in (
        ("old", {"days": -1}, "has expired"),
        ("other", {"host": "elsewhere.example"}, "another name"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        made = certified(folder, **options)
        with Front(answer, "", tls=made.server) as front:
            found = ask(front.url, folder, "git", "wheel", "aws", "uv", "go", SSL_CERT_FILE=str(made.authority))
            for client in ("git", "wheel", "aws"):
                assert expected in found[client][1], found[client]
                assert "untrusted_certificate" in found[client][1]
            for tool in {"uv", "go"} & set(found):
                error = explained(found[tool][1], front.url)
                assert error is not None, found[tool][1]
                assert expected in error.message


def test_an_authority_in_the_place_of_a_server_is_named_with_what_helps(tmp_path: Path) -> None:
    """What `openssl req -x509` makes; uv believes none of these, whatever it trusts."""
    made = certified(tmp_path, itself=True)
    with Front(answer, "", tls=made.server) as front:
        found = ask(front.url, tmp_path, "uv", SSL_CERT_FILE=str(made.authority))
        if "uv" not in found:
            pytest.skip("no uv here; install uv")
        error = explained(found["uv"][1], front.url)
    assert error is not None, found
    assert error.message == (
        f"{front.url.removeprefix('https://')}: the server presents the certificate of {ISSUER} itself, as only an "
        "authority may use it"
    )
    assert "CA:FALSE" in error.hint
    assert "ca_bundle in config.ini" in error.hint


@pytest.mark.parametrize(
    "said", ["connection refused", "certificate of /etc", "HTTP 502"], ids=["refused", "file", "502"]
)
def test_other_troubles_are_not_taken_for_that(said: str) -> None:
    assert explained(said, "https://127.0.0.1:9/") is None


def test_the_server_is_found_in_what_tools_say() -> None:
    verify = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired (_ssl.c:1006)"
    for said, host in (
        (
            f"HTTPSConnectionPool(host='index.example', port=8443): Max retries exceeded ({verify})",
            "index.example:8443",
        ),
        ('Get "https://me:secret@go.example/x": tls: x509: certificate has expired or is not yet valid', "go.example"),
        (verify, "a server"),
    ):
        error = explained(said)
        assert error is not None
        assert error.message.startswith(f"{host}: the certificate has expired")
