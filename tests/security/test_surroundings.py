"""Logins in the builder's own environment: a proxy's, an index's. Children work with them and never see them."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from builder.network.relay import relay
from builder.secrets.logins import IndexLogin
from builder.secrets.masking import Masker
from builder.secrets.surroundings import Surroundings, secrets_of
from tests.index import serving
from tests.python.locking import BACKEND
from tests.security.conftest import Lab
from tests.wheelhouse import make_sdist, make_wheel

PROXY_PASSWORD, INDEX_PASSWORD = "pw-canary/4e81@proxy", "pw-canary-77ff-index"


@dataclass
class Proxy:
    """A forward proxy that wants a login and knows where the test's hosts are; `asked` is what it was asked for."""

    hosts: dict[str, int]
    url: str = ""
    asked: list[str] = field(default_factory=list)
    refused: int = 0

    @property
    def with_login(self) -> str:
        return self.url.replace("://", "://worker:pw-canary%2F4e81%40proxy@")


@contextmanager
def proxying(hosts: dict[str, int]) -> Iterator[Proxy]:
    proxy = Proxy(hosts=hosts)
    wanted = "Basic " + base64.b64encode(f"worker:{PROXY_PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def may(self) -> bool:
            proxy.asked.append(f"{self.command} {self.path}")
            if self.headers.get("Proxy-Authorization") == wanted:
                return True
            proxy.refused += 1
            self.send_response(407)
            self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return False

        def do_GET(self) -> None:
            if not self.may():
                return
            parts = urlsplit(self.path)
            connection = http.client.HTTPConnection("127.0.0.1", proxy.hosts[parts.hostname or ""])
            headers = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
            connection.request("GET", parts.path, headers=headers)
            answer = connection.getresponse()
            body = answer.read().replace(f"127.0.0.1:{connection.port}".encode(), (parts.hostname or "").encode())
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            connection.close()

        def do_CONNECT(self) -> None:
            if not self.may():
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            with socket.create_connection(("127.0.0.1", proxy.hosts[self.path.partition(":")[0]])) as there:
                while data := self.connection.recv(1000):
                    there.sendall(data)
                    self.connection.sendall(there.recv(1000))
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield proxy
    server.shutdown()
    server.server_close()
    thread.join()


SPY = """
import glob, os
_honest = build_wheel

def build_wheel(directory, config_settings=None, metadata_directory=None):
    import subprocess
    lines = [repr(dict(os.environ))]
    for place in glob.glob("/proc/[0-9]*"):
        try:
            command, environ = (open(place + "/" + what).read() for what in ("cmdline", "environ"))
        except OSError:
            continue  # another user's, or ended since it was listed
        if command.split(chr(0))[1:3] != ["-m", "builder"]:
            # the builder's own environment is concealed in Lambda, and the user's own on a workstation
            lines += [command, environ]
    with open("seen.py", "w") as file:
        file.write("SEEN = " + repr(lines))
    return _honest(directory, config_settings, metadata_directory)
"""


def test_a_build_behind_a_proxy_with_a_login_and_an_index_with_one(tmp_path: Path) -> None:
    files, project = tmp_path / "files", tmp_path / "project"
    files.mkdir()
    project.mkdir()
    make_wheel(files, "seed", "1.5", files={"seed.py": ""})
    system = '[build-system]\nrequires = ["seed"]\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    backend = BACKEND.format(name="spied", version="1.0", requires=("seed",)) + SPY
    make_sdist(files, "spied", "1.0", files={"pyproject.toml": system, "backend.py": backend, "spied.py": ""})
    (project / "requirements.txt").write_text("spied\n")
    (project / "lambda_function.py").write_text("def lambda_handler(event, context):\n    return 'ok'\n")
    runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
    commands = "env > made.txt; cat /proc/$PPID/cmdline >> made.txt"
    (project / "build.yaml").write_text(
        f"function: {{runtimes: [{runtime}], handler: lambda_function.lambda_handler, files: [lambda_function.py]}}\n"
        f"layers:\n  dependencies: [requirements.txt]\n"
        f"  data:\n    preinstall: [{json.dumps(commands)}]\n    files: [made.txt]\n"
    )
    with serving(files) as index, proxying({"index.test": urlsplit(index.url).port or 0}) as proxy:
        index.login = ("reader", INDEX_PASSWORD)
        environment = {
            **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
            "HTTP_PROXY": proxy.with_login,
            "http_proxy": proxy.with_login,
            "ALL_PROXY": proxy.with_login,
            "UV_DEFAULT_INDEX": f"http://reader:{INDEX_PASSWORD}@index.test/simple",
            "PIP_INDEX_URL": f"http://reader:{INDEX_PASSWORD}@index.test/simple",
            "GOPROXY": f"https://me:{INDEX_PASSWORD}@go.test/x,https://proxy.golang.org",
            "npm_config_registry": f"https://:{INDEX_PASSWORD}@npm.test/",
        }
        done = subprocess.run(
            [sys.executable, "-m", "builder", "build", str(project), "-o", str(tmp_path / "out"), "--cache",
             str(tmp_path / "cache")],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert any("index.test/simple/spied" in asked for asked in proxy.asked)
        assert proxy.refused == 0
        assert {"", *index.logins_seen} >= {"Basic " + base64.b64encode(f"reader:{INDEX_PASSWORD}".encode()).decode()}
    shutil.unpack_archive(tmp_path / "out/layers/dependencies.zip", tmp_path / "unpacked", "zip")
    shutil.unpack_archive(tmp_path / "out/layers/data.zip", tmp_path / "unpacked", "zip")
    seen = (tmp_path / "unpacked/python/seen.py").read_text()
    made = (tmp_path / "unpacked/made.txt").read_text()
    assert "http_proxy" in seen
    assert "GOPROXY=https://go.test/x,https://proxy.golang.org" in made
    assert "PIP_INDEX_URL=http://index.test/simple" in made
    for text in (said, seen, made):
        for secret in ("pw-canary", base64.b64encode(f"worker:{PROXY_PASSWORD}".encode()).decode()):
            assert secret not in text
    for path in tmp_path.rglob("*"):
        inside = path.is_file() and not path.is_relative_to(files)
        assert not inside or b"pw-canary" not in path.read_bytes(), path


def test_a_login_in_the_builders_environment_is_in_no_reply(lab: Lab) -> None:
    functions, name = lab.client("lambda"), lab.builder.name
    own = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    more = {"HTTPS_PROXY": "http://worker:pw4t@proxy.test:3128", "SHOP": "postgres://me:S3cret-canary@db.test/shop"}

    def become(variables: dict[str, str]) -> None:
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
        functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})

    become({**own, **more})
    try:
        reply = lab.builder.send({"action": "build", "function": "x/S3CRET-canary/pw4t", "repo_name": "none"})
    finally:
        become(own)
    assert reply["statusCode"] == 400
    assert "x/***/***" in json.dumps(reply)
    assert "canary" not in json.dumps(reply)


def test_a_relay_adds_the_login_to_tunnels_and_to_every_request() -> None:
    with socket.create_server(("127.0.0.1", 0)) as echo:

        def answer() -> None:
            there, _ = echo.accept()
            with there:
                while data := there.recv(100):
                    there.sendall(data.upper())

        threading.Thread(target=answer, daemon=True).start()
        with proxying({"tls.test": echo.getsockname()[1]}) as proxy:
            address = urlsplit(relay(proxy.with_login))
            word = base64.b64encode(f"relay:{address.password}".encode())
            with socket.create_connection((address.hostname or "", address.port or 0)) as client:
                client.sendall(b"CONNECT tls.test:443 HTTP/1.1\r\nProxy-Authorization: Basic eA==\r\n\r\n")
                assert client.recv(1000).startswith(b"HTTP/1.1 407"), "who does not know the word is not let through"
            with socket.create_connection((address.hostname or "", address.port or 0)) as client:
                client.sendall(b"CONNECT tls.test:443 HTTP/1.1\r\nProxy-Authorization: Basic " + word + b"\r\n\r\n")
                assert client.recv(1000).startswith(b"HTTP/1.0 200")
                for said in (b"hello", b"again"):
                    client.sendall(said)
                    assert client.recv(100) == said.upper()
            assert proxy.asked == ["CONNECT tls.test:443"]
            assert proxy.refused == 0
    closed = urlsplit(relay("http://a:secret@127.0.0.1:9"))
    connection = http.client.HTTPConnection(closed.hostname or "", closed.port)
    word = base64.b64encode(f"relay:{closed.password}".encode())
    connection.request("GET", "http://x.test/", headers={"Proxy-Authorization": f"Basic {word.decode()}"})
    assert connection.getresponse().status == 502
    connection.close()


@pytest.mark.parametrize(
    ("name", "value", "cleaned", "secrets"),
    [
        ("PIP_INDEX_URL", "https://u:s3cr3t%21@h/simple", "https://h/simple", {"s3cr3t!", "s3cr3t%21"}),
        ("PIP_INDEX_URL", "https://tok3n-tok3n@h/simple", "https://h/simple", {"tok3n-tok3n"}),
        ("UV_INDEX_URL", "https://h/simple/@scope", "https://h/simple/@scope", set()),
        ("GOPROXY", "https://a:one111@x|https://b:two222@y/z,off", "https://x|https://y/z,off", {"one111", "two222"}),
        ("HTTPS_PROXY", "socks5h://u:s3cr3t@h:1080", "socks5h://h:1080", {"s3cr3t"}),
        ("ANYTHING", "postgres://u:p@ssword@h/db", "postgres://h/db", {"p@ssword"}),
        ("MAIL", "me@example.com", "me@example.com", set()),
        ("https_proxy", "http://h:3128", "http://h:3128", set()),
    ],
)  # fmt: skip
def test_what_is_taken_out_of_a_variable(name: str, value: str, cleaned: str, secrets: set[str]) -> None:
    assert Surroundings.of({name: value}).environment[name] == cleaned
    assert set(secrets_of({name: value})) == secrets


@pytest.mark.parametrize("value", ["http://worker:pw-canary-1@h:3128", "worker:pw-canary-1@h:3128"])
def test_a_proxy_becomes_a_relay(value: str) -> None:
    around = Surroundings.of({"HTTPS_PROXY": value, "https_proxy": value})
    assert around.environment["HTTPS_PROXY"] == around.environment["https_proxy"]
    assert around.environment["HTTPS_PROXY"].startswith("http://relay:")
    masker = Masker()
    for secret in secrets_of({"HTTPS_PROXY": value}):
        masker.add(secret)
    assert masker.mask(f"cannot connect to {value}") == f"cannot connect to {value.replace('pw-canary-1', '***')}"


def test_an_index_of_the_environment_is_one_with_a_login() -> None:
    around = Surroundings.of({"PIP_INDEX_URL": "https://me:pw%21@pypi.test/simple/"})
    assert dict(around.indexes) == {IndexLogin(name="$PIP_INDEX_URL", url="https://pypi.test/simple"): ("me", "pw!")}


@pytest.mark.parametrize(
    ("said", "default", "extra"),
    [
        ({"PIP_INDEX_URL": "https://p/s"}, "https://p/s", None),
        ({"PIP_INDEX_URL": "https://p/s", "UV_INDEX_URL": "https://u/s"}, "https://u/s", None),
        ({"PIP_INDEX_URL": "https://p/s", "UV_DEFAULT_INDEX": "https://d/s"}, "https://d/s", None),
        ({"PIP_EXTRA_INDEX_URL": " https://a/s\nhttps://u:pw@b/s "}, None, "https://a/s\nhttps://b/s"),
        ({"PIP_EXTRA_INDEX_URL": "https://a/s", "UV_EXTRA_INDEX_URL": "https://b/s"}, None, "https://b/s"),
        ({"UV_DEFAULT_INDEX": "", "PIP_INDEX_URL": ""}, "", None),
    ],
)  # fmt: skip
def test_pips_variables_count_where_uvs_say_nothing(
    said: dict[str, str], default: str | None, extra: str | None
) -> None:
    environment = Surroundings.of(said).environment
    assert environment.get("UV_DEFAULT_INDEX") == default
    assert environment.get("UV_EXTRA_INDEX_URL") == extra


@pytest.mark.parametrize("variables", [("PIP_INDEX_URL",), ("PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX")])
def test_who_sets_pips_variables_alone_gets_nothing_from_elsewhere(tmp_path: Path, variables: tuple[str, ...]) -> None:
    """The name is one that the public index has, too."""
    files, other, project = tmp_path / "files", tmp_path / "other", tmp_path / "project"
    for folder in (files, other, project):
        folder.mkdir()
    make_wheel(files, "six", "0.0.1", files={"six.py": "OURS = 1\n"})
    make_wheel(other, "seed", "1.0", files={"seed.py": ""})
    make_wheel(other, "six", "99.0", files={"six.py": "OURS = 0\n"})
    (project / "requirements.txt").write_text("six\n" + "seed\n" * (len(variables) - 1))
    (project / "build.yaml").write_text(
        "function: {runtimes: [python3.13], handler: app.handler}\ntry: none\n"
        "layers: {dependencies: [requirements.txt]}\n"
    )
    (project / "app.py").write_text("def handler(event, context):\n    return 'ok'\n")
    ignored = ("UV_", "PIP_")
    around = {name: value for name, value in os.environ.items() if not name.startswith(ignored)}
    command = [sys.executable, "-m", "builder", "build", str(project), "-o", str(tmp_path / "out"), "--cache",
               str(tmp_path / "cache")]  # fmt: skip
    with serving(files) as index, serving(other) as second:
        index.login = ("reader", INDEX_PASSWORD)
        urls = [index.simple.replace("://", f"://reader:{INDEX_PASSWORD}@"), second.simple]
        given = around | dict(zip(variables, urls, strict=False))
        done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        unread = subprocess.run(
            command, env={**given, "PIP_NO_INDEX": "1"}, capture_output=True, text=True, check=False
        )
        assert unread.returncode == 2
        assert "write --no-index in the requirements file, and unset PIP_NO_INDEX" in unread.stderr
    assert "pw-canary" not in done.stdout + done.stderr
    with zipfile.ZipFile(tmp_path / "out/layers/dependencies.zip") as made:
        assert made.read("python/six.py") == b"OURS = 1\n"
