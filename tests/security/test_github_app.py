"""A GitHub App's token, from a server that checks the JWT as GitHub does, with another implementation of RSA."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from builder.errors import AuthenticationFailed, InvalidConfiguration, SourceUnreachable
from builder.flow import credentials
from builder.secrets.github_app import installation_token
from builder.secrets.logins import GitLogin, Logins
from localaws.testing import Server
from tests.security.test_references import context

TOKEN = "ghs_1234_" + "x.y-z_" * 90
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
NO_ENCRYPTION = serialization.NoEncryption()


def pem(key: Any, form: serialization.PrivateFormat) -> str:
    return str(key.private_bytes(serialization.Encoding.PEM, form, NO_ENCRYPTION).decode())


PKCS1 = pem(KEY, serialization.PrivateFormat.TraditionalOpenSSL)


@dataclass
class GitHub:
    """A running server. It gives `TOKEN` to whoever has signed with `KEY`, or answers `status`."""

    url: str = ""
    status: int = 201
    asked: int = 0
    problems: list[str] = field(default_factory=list)


def check(path: str, authorization: str, body: bytes) -> None:
    """Raise if GitHub would not take it."""
    assert path == "/api/v3/app/installations/77/access_tokens"
    head, claims, signature = authorization.removeprefix("Bearer ").split(".")

    def decoded(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    KEY.public_key().verify(decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    assert json.loads(decoded(head)) == {"alg": "RS256", "typ": "JWT"}
    said, now = json.loads(decoded(claims)), time.time()
    assert said["iss"] == "1234"
    assert said["iat"] <= now < said["exp"] <= now + 600
    assert json.loads(body) == {"permissions": {"contents": "read"}}


@pytest.fixture
def github() -> Iterator[GitHub]:
    state = GitHub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.asked += 1
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                check(self.path, self.headers["Authorization"], body)
            except Exception as error:
                state.problems.append(repr(error))
            status = 401 if state.problems else state.status
            answer = json.dumps({"token": TOKEN} if status == 201 else {"message": "no"}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def login(url: str) -> GitLogin:
    return GitLogin(base=url, app_id="1234", installation_id="77", private_key="ssm:app")


@pytest.mark.parametrize("form", ["TraditionalOpenSSL", "PKCS8"])
def test_a_token_for_the_installation(github: GitHub, form: str) -> None:
    text = pem(KEY, getattr(serialization.PrivateFormat, form))
    assert installation_token(login(github.url), text) == TOKEN
    assert installation_token(login(github.url), text.replace("\n", "\r\n")) == TOKEN
    assert not github.problems


@pytest.mark.parametrize(
    ("status", "error"), [(401, AuthenticationFailed), (404, AuthenticationFailed), (503, SourceUnreachable)]
)
def test_a_refusal_names_the_app_and_not_the_key(github: GitHub, status: int, error: type[Exception]) -> None:
    github.status = status
    with pytest.raises(error, match=r"GitHub App 1234, installation 77") as caught:
        installation_token(login(github.url), PKCS1)
    assert PKCS1.splitlines()[3] not in str(caught.value)


def test_a_server_that_does_not_answer() -> None:
    with pytest.raises(SourceUnreachable, match="the server cannot be reached: the connection is refused"):
        installation_token(login("http://127.0.0.1:9"), PKCS1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not a key",
        PKCS1[:400] + PKCS1[-40:],
        PKCS1.replace("M", "N", 3),
        PKCS1.replace("RSA PRIVATE", "PRIVATE"),
        pem(ec.generate_private_key(ec.SECP256R1()), serialization.PrivateFormat.PKCS8),
        pem(rsa.generate_private_key(public_exponent=65537, key_size=1024), serialization.PrivateFormat.PKCS8),
        KEY.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode(),
    ],
    ids=["empty", "words", "cut", "damaged", "misnamed", "elliptic", "short", "public"],
)
def test_what_is_not_the_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(InvalidConfiguration, match=r"ssm:app is not the private key") as caught:
        installation_token(login("http://127.0.0.1:9"), text)
    assert not text or text not in str(caught.value)


def test_the_token_is_the_forges_login_and_is_asked_for_once(
    github: GitHub, localaws: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", localaws.endpoint_url)
    localaws.client("ssm").put_parameter(Name="/security/app", Value=PKCS1, Type="SecureString")
    configured = GitLogin(base=github.url, app_id="1234", installation_id="77", private_key="ssm:/security/app")
    there = context(localaws, tmp_path, Logins(git=(configured,)))
    for _ in range(2):
        (found,) = credentials.git_credentials(there)
    assert (found.username, found.token, found.base) == ("x-access-token", TOKEN, github.url)
    assert github.asked == 1
    line = PKCS1.splitlines()[5]
    assert there.secrets.mask(f"{TOKEN} {line}") == "*** ***"
