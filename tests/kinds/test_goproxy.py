"""Private Go modules, through a real `go` that has no git and no token."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from builder.errors import AuthenticationFailed, RefNotFound, RepositoryNotFound
from builder.golang import proxy as module_proxy
from builder.golang.proxy import GoProxy
from builder.network.access import GitCredentials, Network
from builder.secrets.indexes import Indexes
from builder.secrets.logins import IndexLogin
from builder.workspace.directory import Workspace
from localaws.testing import git_server
from tests.sources.forge import Work, git

TOKEN = "tok-canary-51c0de-go"
PASSWORD = "pw-canary-90f1-proxy"
NEW = "\ngo 1.24\n"
HELLO = 'package {name}\n\nfunc Hello() string {{ return "hello from {name}" }}\n'


@dataclass(frozen=True)
class Forge:
    """A private git server; `commits` by name of the repository `acme/lib`."""

    url: str
    root: Path
    commits: dict[str, str]


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    if shutil.which("git") is None:
        pytest.skip("git is not here; install git")
    scratch = tmp_path_factory.mktemp("gomodules")
    root = scratch / "served"
    (root / "acme" / "group").mkdir(parents=True)
    commits = make_lib(Work(scratch / "lib", root / "acme" / "lib.git"))
    tools = Work(scratch / "tools", root / "acme" / "Tools.git")
    tools.commit({"tools.go": HELLO.format(name="tools")})  # without a go.mod, as in old days
    git(tools.directory, "tag", "v1.0.0")
    tools.commit({"new.go": "package tools\n"})
    git(tools.directory, "tag", "v2.1.0")
    git(tools.directory, "push", "-q", "origin", "--tags")
    deep = Work(scratch / "deep", root / "acme" / "group" / "deep.git")
    path = "git.acme.example/acme/group/deep"
    deep.commit({"go.mod": f"module {path}\n", "a.go": HELLO.format(name="deep")})
    git(deep.directory, "tag", "-a", "v0.3.0", "-m", "annotated")
    git(deep.directory, "push", "-q", "origin", "--tags")
    with git_server(root, TOKEN) as server:
        yield Forge(url=server.url, root=root, commits=commits)


def make_lib(work: Work) -> dict[str, str]:
    """Modules at the root, in a directory, and of version 2 in two ways; and whatever zips leave out."""
    git(work.directory, "config", "core.autocrlf", "false")
    module = "github.com/acme/lib"
    commits = {}
    files = {
        "go.mod": f"module {module}\n\ngo 1.20\n",
        "lib.go": HELLO.format(name="lib"),
        "LICENSE": "mine\n",
        "größe.txt": "x",
        "run.bat": "echo 1\necho 2\n",
        "binary.bat.png": "a\nb\0\n",
        ".gitattributes": "*.bat text eol=crlf\nLICENSE export-ignore\nlib.go export-subst\n*.png binary\n",
        "vendor/modules.txt": "# x\n",
        "vendor/example.com/x/x.go": "package x\n",
        "pkg/vendor/vendor.go": "package vendor\n",
        "pkg/vendor/deep/x.go": "package deep\n",
        "sub/go.mod": f"module {module}/sub\n{NEW}",
        "sub/sub.go": HELLO.format(name="sub"),
        "sub/vendor/modules.txt": "# x\n",
        "sub/pkg/vendor/vendor.go": "package vendor\n",
        "sub/.gitattributes": "*.txt text eol=crlf\n",
        "sub/notes.txt": "one\ntwo\r\n",
        "v2/go.mod": f"module {module}/v2\n",
        "v2/lib.go": HELLO.format(name="lib"),
    }
    (work.directory / "link.go").symlink_to("lib.go")
    commits["first"] = work.commit(files)
    for tag in ("v1.0.0", "sub/v0.1.0", "v2.0.0", "v1.1.0-rc.1", "v1.2", "nonsense"):
        git(work.directory, "tag", tag)
    commits["second"] = work.commit({"lib.go": HELLO.format(name="lib") + "\n// two\n"})
    commits["third"] = work.commit({"lib.go": HELLO.format(name="lib") + "\n// three\n"})
    git(work.directory, "checkout", "-q", "-b", "v3")
    commits["v3"] = work.commit({"go.mod": f"module {module}/v3\n{NEW}", "v3.go": "package lib\n"})
    git(work.directory, "tag", "v3.0.0")
    git(work.directory, "push", "-q", "origin", "--tags")
    return commits


class Lab:
    """A `go` of its own, with and without the proxy."""

    def __init__(self, tmp_path: Path, forge: Forge, go: Path) -> None:
        self.go = str(go)
        self.forge = forge
        self.root = tmp_path
        self.workspace = Workspace(tmp_path / "workspace")
        self.credentials: Sequence[GitCredentials] = (
            GitCredentials(username="me", token=TOKEN, base=forge.url, modules=("git.acme.example",)),
            GitCredentials(username="me", token=TOKEN, base=f"{forge.url}/acme", modules=("github.com/acme",)),
        )
        self.seen: list[str] = []
        self.options: dict[str, Any] = {"proxies": "off"}

    def environment(self, name: str) -> dict[str, str]:
        folder = self.root / name
        (folder / "home").mkdir(parents=True, exist_ok=True)
        return {
            "HOME": str(folder / "home"),
            "PATH": str(self.root / "no-such-directory"),
            "GOMODCACHE": str(folder / "modules"),
            "GOCACHE": str(folder / "cache"),
            "GOFLAGS": "-mod=mod -modcacherw",
            "GOTOOLCHAIN": "local",
            "GOENV": "off",
            "GOSUMDB": "sum.golang.org",
            "CGO_ENABLED": "0",
        }

    def directly(self) -> dict[str, str]:
        """What a developer's machine has: git, its login, and no proxy."""
        address = self.forge.url.replace("://", f"://me:{TOKEN}@")
        rules = {f"url.{address}/acme/.insteadOf": "https://github.com/acme/"}
        values = {"GIT_CONFIG_COUNT": str(len(rules)), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        for number, (key, value) in enumerate(rules.items()):
            values |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        environment = self.environment("direct") | values
        return environment | {"PATH": os.environ["PATH"], "GOPROXY": "direct", "GONOSUMDB": "*"}

    @contextlib.contextmanager
    def proxy(self) -> Iterator[GoProxy]:
        scratch = self.root / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        with module_proxy.opened(
            credentials=lambda: self.credentials,
            network=Network(),
            workspace=self.workspace,
            scratch=scratch,
            **self.options,
        ) as proxy:
            yield proxy

    def run(self, environment: dict[str, str], *arguments: str, cwd: Path | None = None) -> tuple[int, str]:
        """Exit code and all that was printed; for children of ours the token is nowhere."""
        if cwd is None:
            cwd = self.root / "empty"
            cwd.mkdir(exist_ok=True)
            (cwd / "go.mod").write_text("module example.com/empty\n\ngo 1.21\n")
        done = subprocess.run(
            [self.go, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )
        if environment["GOPROXY"] != "direct":
            self.seen += [done.stdout, done.stderr, json.dumps(environment)]
        return done.returncode, done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def sums(self, environment: dict[str, str], *modules: str) -> dict[str, tuple[str, str]]:
        code, text = self.run(environment, "mod", "download", "-json", *modules)
        assert code == 0, text
        decoder, found = json.JSONDecoder(), {}
        while text := text.strip():
            value, end = decoder.raw_decode(text)
            found[f"{value['Path']}@{value['Version']}"] = value["Sum"], value["GoModSum"]
            text = text[end:]
        return found

    def assert_nowhere(self, *secrets: str) -> None:
        for secret in secrets:
            assert not [text for text in self.seen if secret in text]
            for path in self.root.rglob("*"):
                if path.is_file() and "direct" not in path.relative_to(self.root).parts:
                    assert secret.encode() not in path.read_bytes(), path


@pytest.fixture
def lab(tmp_path: Path, forge: Forge, go: Path) -> Lab:
    return Lab(tmp_path, forge, go)


def stamp(forge: Forge, commit: str) -> str:
    return f"20231114221523-{forge.commits[commit][:12]}"


def test_modules_are_the_same_as_by_go_and_git_themselves(lab: Lab, forge: Forge) -> None:
    modules = [
        "github.com/acme/lib@v1.0.0",
        "github.com/acme/lib@v1.1.0-rc.1",
        f"github.com/acme/lib@v1.0.1-0.{stamp(forge, 'second')}",
        "github.com/acme/lib/sub@v0.1.0",
        "github.com/acme/lib/v2@v2.0.0",
        "github.com/acme/lib/v3@v3.0.0",
        "github.com/acme/Tools@v1.0.0",
        "github.com/acme/Tools@v2.1.0+incompatible",
    ]
    queries = ("github.com/acme/lib", "github.com/acme/lib/v3", "github.com/acme/lib/sub", "github.com/acme/Tools")
    named = [f"github.com/acme/lib@{name}" for name in ("trunk", "v1.2", forge.commits["second"][:9], "latest")]
    with lab.proxy() as proxy:
        ours = proxy.environment(lab.environment("ours"))
        assert lab.sums(ours, *modules) == lab.sums(lab.directly(), *modules)
        for query in (*[f"-versions {path}" for path in queries], *named):
            asked = ["list", "-m", "-f", "{{.Path}} {{.Version}} {{.Versions}} {{.Time}}", *query.split()]
            assert lab.run(ours, *asked) == lab.run(lab.directly(), *asked), query
        assert proxy.refusals == []
    lab.assert_nowhere(TOKEN)


def project(lab: Lab, *requirements: str, main: str = "") -> Path:
    folder = lab.root / "project"
    folder.mkdir()
    lines = "".join(f"\t{requirement}\n" for requirement in requirements)
    (folder / "go.mod").write_text(f"module example.com/app\n\ngo 1.21\n\nrequire (\n{lines})\n")
    (folder / "main.go").write_text(main)
    return folder


MAIN = """package main

import (
	"fmt"

	"git.acme.example/acme/group/deep"
	"github.com/acme/lib"
	"github.com/acme/lib/sub"
)

func main() { fmt.Println(lib.Hello(), sub.Hello(), deep.Hello()) }
"""


def test_a_build_and_the_next_one(lab: Lab, forge: Forge) -> None:
    required = (
        "github.com/acme/lib v1.0.0",
        "github.com/acme/lib/sub v0.1.0",
        "git.acme.example/acme/group/deep v0.3.0",
    )
    folder = project(lab, *required, main=MAIN)
    with lab.proxy() as proxy:
        ours = proxy.environment(lab.environment("ours"))
        code, text = lab.run(ours, "list", "-deps", "-f", "{{with .Module}}{{.}}{{end}}", cwd=folder)
        assert code == 0, text
        assert set(required) <= set(text.splitlines())
        assert lab.run(ours, "mod", "verify", cwd=folder) == (0, "all modules verified\n")
        # Imports that no requirement has yet: go asks for every beginning of the path.
        assert lab.run(ours, "mod", "tidy", cwd=folder)[0] == 0
    lab.assert_nowhere(TOKEN)
    # Another warm build: what was made is there, and the server is asked who may have it.
    zips = {path: path.stat().st_ino for path in (lab.workspace.cache / "modules").iterdir()}
    assert len(zips) == 3
    shutil.rmtree(lab.root / "ours")
    with lab.proxy() as proxy:
        ours = proxy.environment(lab.environment("ours"))
        assert lab.run(ours, "list", "-mod=readonly", "-deps", "-f", "{{.Error}}", cwd=folder)[0] == 0
        assert not list((lab.root / "scratch").rglob("*.pack")), "something was fetched again"
    assert {path: path.stat().st_ino for path in zips} == zips
    # With another token, what the first one opened is not given away.
    lab.credentials = tuple(replace(each, token="stolen") for each in lab.credentials)
    shutil.rmtree(lab.root / "ours")
    with lab.proxy() as proxy:
        assert lab.run(proxy.environment(lab.environment("ours")), "mod", "download", cwd=folder)[0] != 0


def test_what_cannot_be_had_is_told_with_the_module_and_the_repository(lab: Lab, forge: Forge) -> None:
    def refused(module: str) -> tuple[GoProxy, str]:
        with lab.proxy() as proxy:
            code, text = lab.run(proxy.environment(lab.environment("ours")), "mod", "download", module)
            assert code != 0
            text = proxy.real(text)
            assert "http://127.0.0.1" not in text.replace(forge.url, "")
            return proxy, text

    proxy, text = refused("github.com/acme/lib@v1.9.0")
    assert isinstance(proxy.refusals[0], RefNotFound)
    assert f"module github.com/acme/lib@v1.9.0: {forge.url}/acme/lib.git has no tag v1.9.0" in text
    assert "v1.0.0" in proxy.refusals[0].hint
    proxy, text = refused("github.com/acme/nothing@v1.0.0")
    assert isinstance(proxy.refusals[0], RepositoryNotFound)
    assert f"{forge.url}/acme/nothing.git: no such repository" in text
    proxy, text = refused("github.com/acme/lib@v1.0.1-0.20231114221523-0123456789ab")
    assert "has no commit 0123456789ab in its branches and tags" in text
    proxy, text = refused(f"github.com/acme/lib@v1.0.1-0.20200101000000-{forge.commits['second'][:12]}")
    assert "is of 20231114221523, not of 20200101000000" in text
    lab.credentials = tuple(replace(each, token=f"{TOKEN}-old") for each in lab.credentials)
    proxy, text = refused("github.com/acme/lib@v1.0.0")
    assert isinstance(proxy.refusals[0], AuthenticationFailed)
    assert f"module github.com/acme/lib@v1.0.0: {forge.url}/acme/lib.git: the server refuses" in text
    lab.assert_nowhere(TOKEN)


class Proxies:
    """A server of module proxies below /open, and below /corp one that wants a login."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        content = {"list": b"v1.0.0\n", "v1.0.0.info": b'{"Version":"v1.0.0","Time":"2024-01-01T00:00:00Z"}'}
        content["v1.0.0.mod"] = b"module example.com/open\n"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                login = self.headers.get("Authorization", "")
                outer.asked.append((self.path, login))
                body = content.get(self.path.rpartition("/")[2])
                status = 404 if body is None or "/example.com/open/" not in self.path else 200
                if self.path.startswith("/corp") and login != f"Bearer {PASSWORD}":
                    status = 401
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body or b"" if status == 200 else b"no")

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def proxies() -> Iterator[Proxies]:
    found = Proxies()
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_configured_proxies_get_their_login_and_never_a_private_name(lab: Lab, proxies: Proxies) -> None:
    login = IndexLogin(name="corp", url=f"{proxies.url}/corp", token="ssm:/x")
    indexes = Indexes(logins=(login,), read=lambda _: ("", PASSWORD))
    lab.options = {"proxies": f"{proxies.url}/corp,off", "indexes": indexes}
    asked = ["list", "-m", "-f", "{{.Version}}", "example.com/open@latest"]
    with lab.proxy() as proxy:
        ours = proxy.environment(lab.environment("ours"))
        assert lab.run(ours, *asked) == (0, "v1.0.0\n")
        code, text = lab.run(ours, "mod", "download", "github.com/acme/secret@v1.0.0")
        assert code != 0
        assert "secret.git: no such repository" in text
    assert {login for _, login in proxies.asked} == {f"Bearer {PASSWORD}"}
    assert not [path for path, _ in proxies.asked if "acme" in path]
    lab.assert_nowhere(PASSWORD, TOKEN)
    lab.options["indexes"] = replace(indexes, read=lambda _: ("", "old"))
    with lab.proxy() as proxy:
        code, text = lab.run(proxy.environment(lab.environment("ours")), *asked)
        assert code != 0
        assert isinstance(proxy.refusals[0], AuthenticationFailed)
        assert "module example.com/open: 127.0.0.1" in proxy.refusals[0].message
        assert "refuses the login of [index corp] (401)" in proxy.real(text)
    proxies.asked.clear()
    lab.options = {"proxies": f"{proxies.url}/open,direct"}
    with lab.proxy() as proxy:
        assert lab.run(proxy.environment(lab.environment("ours2")), *asked) == (0, "v1.0.0\n")
    assert {login for _, login in proxies.asked} == {""}


def test_the_proxy_gives_nothing_but_modules(lab: Lab, forge: Forge) -> None:
    import urllib.error
    import urllib.request

    with lab.proxy() as proxy:
        root = proxy.environment({})["GOPROXY"].partition("/own")[0]

        def status(path: str) -> int:
            try:
                with urllib.request.urlopen(f"{root}{path}") as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return error.code

        assert status("/own/github.com/acme/lib/@v/v1.0.0.mod") == 200
        assert status("/own/github.com/acme/!tools/@v/v1.0.0.mod") == 200
        refused = ("/own/github.com/acme/Tools/@v/v1.0.0.mod", "/own/github.com/other/lib/@v/list", "/own/", "/")
        more = ("/own/github.com/acme/../acme/lib/@v/list", "/9/github.com/acme/lib/@v/list", "/own/x", "/../own/x")
        assert {status(path) for path in (*refused, *more)} == {404}
