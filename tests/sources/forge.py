"""Repositories that are made for a test, and a server in front of them that misbehaves."""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from builder.sources.git import GitCredentials

TOKEN = "t0ken-WhichMustNotLeak"
MINE = GitCredentials(username="me", token=TOKEN)
GIT_ENVIRONMENT = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    "GIT_AUTHOR_DATE": "1700000000 +0100",
    "GIT_COMMITTER_DATE": "1700000123 +0100",
}


def git(directory: Path, *arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=directory,
        check=True,
        capture_output=True,
        text=True,
        env=GIT_ENVIRONMENT,
        input=stdin,
    )
    return done.stdout.strip()


class Work:
    """A working tree whose commits are pushed to a bare repository that the servers serve."""

    def __init__(self, directory: Path, bare: Path) -> None:
        self.directory, self.bare = directory, bare
        directory.mkdir(parents=True)
        git(directory.parent, "init", "-q", "--bare", "-b", "trunk", str(bare))
        git(directory, "init", "-q", "-b", "trunk")
        git(directory, "remote", "add", "origin", str(bare))

    def commit(self, files: dict[str, str], *, message: str = "change") -> str:
        """Write files, commit and push the present branch. Returns the commit."""
        for name, content in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return self.push(message)

    def push(self, message: str = "change") -> str:
        git(self.directory, "add", "-A")
        git(self.directory, "commit", "-q", "--allow-empty", "-m", message)
        git(self.directory, "push", "-q", "origin", "HEAD")
        return git(self.directory, "rev-parse", "HEAD")


@dataclass(frozen=True, kw_only=True)
class Host:
    """Two servers of the same repositories, one of which wants the token; `commits` of the repository `project`."""

    root: Path
    public: str
    private: str
    commits: dict[str, str]

    def work(self, tmp_path: Path, name: str) -> tuple[Work, str]:
        bare = self.root / f"{name}.git"
        shutil.rmtree(bare, ignore_errors=True)
        return Work(tmp_path / f"work-{name}", bare), f"{self.public}/{name}.git"


def make_project(scratch: Path, root: Path) -> dict[str, str]:
    work = Work(scratch / "project", root / "project.git")
    commits = {"first": work.commit({"handler.py": "VERSION = 1\n"})}
    git(work.directory, "tag", "light")
    (work.directory / "run.sh").write_text("#!/bin/sh\n")
    (work.directory / "run.sh").chmod(0o755)
    (work.directory / "pkg").mkdir()
    (work.directory / "pkg" / "data.txt").write_text("data\n")
    (work.directory / "link").symlink_to("pkg/data.txt")
    (work.directory / "pkg" / "up").symlink_to("..")
    (work.directory / "größe.txt").write_text("x")
    commits["second"] = work.commit({"handler.py": "VERSION = 2\n"})
    git(work.directory, "tag", "-a", "v1.0", "-m", "one")
    git(work.directory, "tag", "-a", "nested", "-m", "tag of a tag", "v1.0")
    commits["third"] = work.commit({"handler.py": "VERSION = 3\n"})
    git(work.directory, "checkout", "-q", "-b", "feature/deep/x")
    commits["feature"] = work.commit({"handler.py": "VERSION = 4\n"})
    git(work.directory, "branch", "both", commits["first"])
    git(work.directory, "tag", "both", commits["second"])
    git(work.directory, "branch", "same", commits["first"])
    git(work.directory, "tag", "same", commits["first"])
    git(work.directory, "push", "-q", "origin", "--tags", "refs/heads/both", "refs/heads/same")
    return commits


Answer = tuple[int, dict[str, str], bytes | Iterable[bytes]]
"""Status, header fields and content; the pieces of a content may come slowly, or not all of them."""
HANGS_UP: Answer = (0, {}, b"")
"""The connection ends without an answer."""


@dataclass
class Front:
    """A server of its own origin that answers as `behave` says, or else as the one `behind` it.

    `asked` is what it was sent, `bodies` what came with that; `tls` is the path of a certificate with its key,
    `port` 0 for a free one.
    """

    behave: Callable[[str, dict[str, str]], Answer | None]
    behind: str
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    tls: Path | None = None
    url: str = ""
    port: int = 0

    def __enter__(self) -> Front:
        front = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer()

            def do_POST(self) -> None:
                self.answer()

            def do_CONNECT(self) -> None:
                front.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                self.send_error(502)

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                front.asked.append((self.path, dict(headers)))
                front.bodies.append(body)
                status, fields, content = front.behave(self.path, headers) or front.forward(
                    self.command, self.path, headers, body
                )
                if (status, fields, content) == HANGS_UP:
                    return
                self.send_response(status)
                for name, value in fields.items():
                    self.send_header(name, value)
                if "Content-Length" not in fields and isinstance(content, bytes):
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                try:
                    for piece in [content] if isinstance(content, bytes) else content:
                        self.wfile.write(piece)
                except OSError:  # who asked has had enough
                    pass

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.url = self.url.replace("http:", "https:")
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        address = urlsplit(self.behind)
        connection = http.client.HTTPConnection(address.hostname or "", address.port)
        passed = {name: headers[name] for name in headers if name not in ("host", "connection", "content-length")}
        connection.request(method, path, body=body or None, headers=passed)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, {"Content-Type": response.getheader("Content-Type", "")}, content


def self_signed(path: Path) -> Path:
    """A certificate for 127.0.0.1 that nobody else has signed, with its key, as a PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a forge of our own")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(certificate.public_bytes(encoding) + private)
    return path
