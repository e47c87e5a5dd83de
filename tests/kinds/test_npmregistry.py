"""Packages of private npm registries, through a real npm that has no token."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from builder.npm import registry as npm_registry
from builder.npm.registry import Registries
from builder.secrets.indexes import Indexes
from builder.secrets.logins import IndexLogin

TOKEN = "tok-canary-7d20-npm"
SPY = """
const fs = require('fs');
let seen = {environ: JSON.stringify(process.env), cmdline: ''};
for (const pid of fs.readdirSync('/proc').filter(name => /^[0-9]+$/.test(name)))
  try {
    const environ = fs.readFileSync(`/proc/${pid}/environ`, 'latin1');
    seen.environ += environ + '\\n';
    // Of this npm alone: others on the machine may well name an address.
    if (environ.includes(process.env.HOME)) seen.cmdline += fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1') + '\\n';
  } catch (error) {}
fs.writeFileSync('seen.txt', seen.environ + seen.cmdline);
fs.writeFileSync('cmdlines.txt', seen.cmdline);
"""


@dataclass
class Registry:
    """An npm registry below /npm, whose packages are `packages`; `asked` has path and login of each request."""

    packages: dict[str, bytes]
    login: str
    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)

    def description(self, name: str) -> bytes:
        content = self.packages[name]
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
        file = f"{self.url}/npm/{name}/-/{name.rpartition('/')[2]}-1.0.0.tgz"
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            inside = archive.extractfile("package/package.json")
            assert inside is not None
            version = {**json.load(inside), "dist": {"tarball": file, "integrity": integrity}}
        return json.dumps({"name": name, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}).encode()

    def answer(self, path: str, login: str) -> tuple[int, bytes]:
        self.asked.append((path, login))
        if login != self.login:
            return 401, b"{}"
        name, _, file = unquote(path).removeprefix("/npm/").partition("/-/")
        if name not in self.packages:
            return 404, b"{}"
        return 200, self.packages[name] if file else self.description(name)


def package(name: str, files: dict[str, str], **more: object) -> bytes:
    out = io.BytesIO()
    files = {"package.json": json.dumps({"name": name, "version": "1.0.0", **more}), **files}
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path, content in files.items():
            info = tarfile.TarInfo(f"package/{path}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content.encode()))
    return out.getvalue()


@pytest.fixture
def registry() -> Iterator[Registry]:
    packages = {
        "@my_corp/mine": package(
            "@my_corp/mine", {"index.js": "module.exports = 1\n"}, dependencies={"plain": "^1.0.0"}
        ),
        "plain": package("plain", {"spy.js": SPY}, scripts={"install": "node spy.js"}),
    }
    found = Registry(packages=packages, login=f"Bearer {TOKEN}")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = found.answer(self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


def run(npm: Path, folder: Path, *arguments: str, environment: dict[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        [npm, *arguments, "--no-audit", "--no-fund", "--no-update-notifier"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_what_npm_installs_from_private_registries(tmp_path: Path, registry: Registry, npm: Path) -> None:
    login = IndexLogin(name="corp", url=f"{registry.url}/npm", token="ssm:/x")
    indexes = Indexes(logins=(login,), read=lambda _: ("", TOKEN))
    registries = Registries.parse(f"{registry.url}/npm").with_npmrc(f"@my_corp:registry={registry.url}/npm/\n")
    project = tmp_path / "project"
    project.mkdir()
    (project / "package.json").write_text(json.dumps({"name": "app", "dependencies": {"@my_corp/mine": "1.0.0"}}))
    npmrc = f"@my_corp:registry={registry.url}/npm/\n"
    here = {
        "PATH": f"{npm.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "npm_config_cache": str(tmp_path / "cache"),
    }
    with npm_registry.opened(registries, indexes) as gateway:
        environment = gateway.environment(here)
        (project / ".npmrc").write_text(gateway.npmrc(npmrc))
        code, text = run(npm, project, "install", "--package-lock-only", environment=environment)
        assert code == 0, text
        lock = gateway.real((project / "package-lock.json").read_text())
    resolved = {one.get("resolved") for one in json.loads(lock)["packages"].values()}
    files = {f"{registry.url}/npm/@my_corp/mine/-/mine-1.0.0.tgz", f"{registry.url}/npm/plain/-/plain-1.0.0.tgz"}
    assert resolved - {None} == files
    # As it is in many repositories: locked at npm's own registry.
    lock = lock.replace(f"{registry.url}/npm/plain", "https://registry.npmjs.org/plain")
    with npm_registry.opened(registries, indexes) as gateway:
        (project / "package-lock.json").write_text(gateway.lock(lock))
        environment = gateway.environment(here)
        (project / ".npmrc").write_text(gateway.npmrc(npmrc))
        code, text = run(npm, project, "ci", environment=environment)
        assert code == 0, text
        hidden = gateway.real((project / "node_modules/.package-lock.json").read_text())
        assert {one["resolved"] for one in json.loads(hidden)["packages"].values()} == files
        assert "PATH" in (project / "node_modules/plain/seen.txt").read_text(), "the spy saw nothing"
        cmdlines = (project / "node_modules/plain/cmdlines.txt").read_text()
        assert "npm" in cmdlines
        assert "127.0.0.1" not in cmdlines, "a registry's word stands in argv"
    assert {login for _, login in registry.asked} == {f"Bearer {TOKEN}"}
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path
    with npm_registry.opened(registries, replace(indexes, read=lambda _: ("", "old"))) as gateway:
        environment = gateway.environment(here)
        (project / ".npmrc").write_text(gateway.npmrc(npmrc))
        code, text = run(npm, project, "view", "@my_corp/mine", "--prefer-online", environment=environment)
        assert code != 0
        assert "127.0.0.1" not in gateway.real(text).replace(registry.url, "")
        [refusal] = gateway.refusals
        assert "refuses the login of [index corp] (401)" in refusal.message


def test_registries_without_a_login_are_asked_directly() -> None:
    registries = Registries.parse("https://npm.example.com/all/, @corp=https://corp.example.com")
    assert registries.of("@corp") == "https://corp.example.com"
    with npm_registry.opened(registries.with_npmrc("registry = https://other.example.com/\n"), Indexes()) as gateway:
        assert gateway.environment({"A": "b"}) == {
            "A": "b",
            "npm_config_registry": "https://other.example.com/",
            "npm_config_replace_registry_host": "never",
        }
        npmrc = "save=false\nregistry = https://other.example.com/\n@corp:registry=https://old.example.com\n"
        assert gateway.npmrc(npmrc) == "save=false\n@corp:registry=https://corp.example.com/\n"
        url = "https://registry.npmjs.org/a/-/a-1.tgz"
        assert gateway.lock(f'"resolved": "{url}"') == '"resolved": "https://other.example.com/a/-/a-1.tgz"'
    with npm_registry.opened(Registries(), Indexes()) as gateway:
        assert gateway.lock(url) == url
