"""A Go module proxy on loopback, for the time of one `go` command: private modules without a git binary or a token.

It stands for every entry of GOPROXY. The first serves modules from repositories that the builder's git logins can read;
one more stands for each configured proxy, adds that proxy's login if it has one and else redirects `go` there; the one
for `direct` fetches the rest. No other server learns even the name of a private module.

https://go.dev/ref/mod#goproxy-protocol
"""

from __future__ import annotations

import base64
import contextlib
import html.parser
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from builder.errors import LambdasmithError, SourceUnreachable
from builder.golang.modules import NOT_THERE, GoModules
from builder.golang.paths import Candidate, is_module_path, split_major, unescaped
from builder.network.access import GitCredentials, Network, credentials_for
from builder.network.loopback import Call, Loopback, Upstream, reaching_loopback
from builder.network.untrusted import explained
from builder.network.urls import https_spelling, url_problem
from builder.network.wire import trouble
from builder.secrets.indexes import NO_LOGINS, Indexes, login_refused
from builder.workspace.directory import Workspace

_ASKED = re.compile(
    r"(?P<path>[^@]+)/(?:@v/(?P<what>list|(?P<version>[^/]+)\.(?P<kind>info|mod|zip))|(?P<latest>@latest))"
)
_SUMS = re.compile(r"sumdb/[^/@]+/(?:supported|latest|lookup/.+|tile/.+)")
# The tags are in the head of a page.
_MAX_PAGE = 1 << 20
# Any host may be asked, also one that drops packets; `go` itself waits for the answer.
_DISCOVERY_S = 20.0


@dataclass(frozen=True, kw_only=True)
class _Question:
    """A request of `go`: `kind` is list, latest, info, mod or zip; the version is "" for the first two."""

    path: str
    version: str
    kind: str

    @classmethod
    def parse(cls, rest: str) -> _Question | None:
        """Parse the path of a URL; None if it is not about a module."""
        match = _ASKED.fullmatch(unquote(rest))
        if match is None:
            return None
        try:
            path, version = unescaped(match["path"]), unescaped(match["version"] or "")
        except ValueError:
            return None
        kind = "latest" if match["latest"] else match["kind"] or "list"
        return cls(path=path, version=version, kind=kind) if is_module_path(path) else None


class GoProxy:
    """The running proxy. `refusals` says in our words why `go` could not have what it asked for."""

    def __init__(self, modules: GoModules, proxies: str, indexes: Indexes) -> None:
        self._modules, self._indexes = modules, indexes
        # With `off` go would report only that, whatever was said before it.
        parts = re.split(r"([,|])", re.sub(r"(^|[,|])off\b.*", "", proxies))
        self._proxies, self._separators = [part.rstrip("/") for part in parts[::2] if part], ["", *parts[1::2]]
        self._upstream = Upstream(authorization=indexes.authorization)
        self._refused: dict[tuple[str, str], LambdasmithError] = {}
        self._lock = threading.Lock()
        self._loopback = Loopback(self._answer)
        self._loopback.start()

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a `go` command that asks here and nowhere else.

        Raises:
            LambdasmithError: the builder's git logins cannot be read.
        """
        root = self._loopback.root
        entries = [f"{between or ','}{root}/{number}" for number, between in enumerate(self._separators)]
        return {
            **environment,
            **reaching_loopback(environment),
            "GOPROXY": "".join([f"{root}/own", *entries[: len(self._proxies)]]),
            # Private modules also come from here, but no checksum database knows them.
            "GONOPROXY": "none",
            "GONOSUMDB": ",".join(home.prefix for home in self._modules.homes) or "none",
            "GOPRIVATE": "",
            # Nothing may come in other ways, nor with other logins.
            "GOVCS": "*:off",
            "GOAUTH": "off",
        }

    def real(self, text: str) -> str:
        """Return `text` of go's with the real servers instead of this one."""
        root = re.escape(self._loopback.root)

        def replaced(match: re.Match[str]) -> str:
            proxy = self._proxies[int(match[1])] if match[1].isdigit() else "direct"
            if proxy != "direct":
                return proxy + match[2]
            asked = _Question.parse(match[2].lstrip("/"))
            return " ".join(filter(None, (asked.path, asked.version))) if asked else "git"

        return re.sub(rf"{root}/(own|\d+)((?:/[^\s\"'`:)]*)?)", replaced, text)

    @property
    def refusals(self) -> list[LambdasmithError]:
        """Reasons why modules could not be had, unknown ones last."""
        with self._lock:
            found = list(self._refused.values())
        return sorted(found, key=lambda error: isinstance(error, NOT_THERE))

    def close(self) -> None:
        self._loopback.close()
        self._modules.close()

    # --- answers ----------------------------------------------------------------------------------------------------

    def _answer(self, call: Call) -> None:
        entry, _, rest = call.rest.partition("/")
        asked = _Question.parse(rest)
        proxy = "own" if entry == "own" else self._proxies[int(entry)] if self._is_entry(entry) else ""
        if not proxy or (asked is None and not _SUMS.fullmatch(unquote(rest))):
            call.send(404)
        elif asked is None:
            # The checksum database: through a proxy, if that offers it.
            call.send(404) if proxy in ("own", "direct") else self._pass_on(call, proxy, rest)
        elif self._modules.home(asked.path) is not None:
            # A private path never reaches another server, not even as a question.
            self._give(call, asked) if proxy == "own" else self._say_again(call, asked)
        elif proxy == "own":
            call.send(404)
        elif proxy == "direct":
            self._give(call, asked)
        else:
            self._pass_on(call, proxy, rest, asked)

    def _is_entry(self, entry: str) -> bool:
        return entry.isdigit() and int(entry) < len(self._proxies)

    def _give(self, call: Call, asked: _Question) -> None:
        """Answer from a repository."""
        modules = self._modules
        try:
            if asked.kind == "zip":
                path = modules.zip(asked.path, asked.version)
                with path.open("rb") as file:
                    call.send_stream(file, path.stat().st_size, {"Content-Type": "application/zip"})
                return
            kind, body = "application/json", b""
            if asked.kind == "list":
                kind, body = "text/plain", "".join(f"{one}\n" for one in modules.versions(asked.path)).encode()
            elif asked.kind == "mod":
                kind, body = "text/plain", modules.go_mod(asked.path, asked.version)
            else:
                is_latest = asked.kind == "latest"
                info = modules.latest(asked.path) if is_latest else modules.info(asked.path, asked.version)
                body = json.dumps(info.as_json()).encode()
            call.send(200, body, {"Content-Type": f"{kind}; charset=utf-8"})
        except LambdasmithError as error:
            self._refuse(call, asked, error)

    def _refuse(self, call: Call, asked: _Question, error: LambdasmithError) -> None:
        with self._lock:
            self._refused[asked.path, asked.version] = error
        # With 404 go asks for the module around a package of that path; with other codes it stops.
        call.send(404 if isinstance(error, NOT_THERE) else error.status, *_words(error))

    def _say_again(self, call: Call, asked: _Question) -> None:
        """Repeat the earlier error of a private module, since go shows what its last proxy says."""
        with self._lock:
            error = self._refused.get((asked.path, asked.version))
        call.send(404, *(_words(error) if error else ()))

    def _pass_on(self, call: Call, proxy: str, rest: str, asked: _Question | None = None) -> None:
        url = f"{proxy}/{rest}"
        # Redirected, since `go` can fetch it itself: the builder need not pass every module through.
        if not self._indexes.covers(url):
            call.redirect(url)
            return
        what = f"module {asked.path}" if asked else "the checksum database"
        try:
            with self._upstream.ask(url, {"Accept-Encoding": "identity"}, call.method) as answer:
                if answer.status not in (401, 403):
                    call.pass_on(answer)
                    return
                status = answer.status
        except (OSError, HTTPException) as error:
            failure = explained(error, url) or SourceUnreachable(
                f"{what}: {urlsplit(proxy).netloc} cannot be reached: {trouble(error).words}",
                hint="try again; check go_proxy",
            )
            self._refuse_as(call, asked, failure)
            return
        self._refuse_as(call, asked, login_refused(what, url, status, self._indexes))

    def _refuse_as(self, call: Call, asked: _Question | None, error: LambdasmithError) -> None:
        self._refuse(call, asked or _Question(path="sumdb", version="", kind="list"), error)


def _words(error: LambdasmithError) -> tuple[bytes, dict[str, str]]:
    """Return the text of an error that go shows."""
    text = f"{error.message}; {error.hint}" if error.hint else error.message
    return text.encode(), {"Content-Type": "text/plain; charset=utf-8"}


@contextlib.contextmanager
def opened(
    *,
    credentials: Callable[[], Sequence[GitCredentials]],
    network: Network,
    workspace: Workspace,
    scratch: Path,
    repository: str = "",
    proxies: str,
    indexes: Indexes = NO_LOGINS,
) -> Iterator[GoProxy]:
    """Run a proxy for the time of the block.

    Args:
        credentials: of git servers, read once. network: what these may reach, and for how long.
        workspace: its cache keeps modules. scratch: an existing directory for fetches.
        repository: the project's own URL: modules beside it are as private as it is.
        proxies: in the form of GOPROXY. indexes: those among them that want a login.
    """
    modules = GoModules(credentials, network, repository, workspace, scratch)
    modules.discover = _Discovery(modules)
    proxy = GoProxy(modules, proxies, indexes)
    try:
        yield proxy
    finally:
        proxy.close()


class _Discovery:
    """Asks the host at the beginning of a module's path for its repository: https://go.dev/ref/mod#vcs-find."""

    def __init__(self, modules: GoModules) -> None:
        def authorization(url: str) -> str | None:
            theirs = credentials_for(url, modules.credentials)
            if theirs is None or theirs.base is None:
                return None
            return f"Basic {base64.b64encode(f'{theirs.username}:{theirs.token}'.encode()).decode()}"

        self._upstream = Upstream(authorization=authorization, timeout_s=_DISCOVERY_S)

    def __call__(self, path: str) -> Candidate | None:
        try:
            with self._upstream.ask(f"https://{quote(path)}?go-get=1", {"Accept": "text/html"}) as answer:
                return found_in(imports_in(answer.read(_MAX_PAGE)), path)
        except (OSError, HTTPException, ValueError):
            return None


def imports_in(page: bytes) -> list[str]:
    """Return the contents of a page's go-import tags.

    Raises:
        ValueError: it is not HTML.
    """
    reader = _Imports()
    try:
        reader.feed(page.decode("utf-8", "replace"))
    except AssertionError as error:  # from html.parser, for an unknown declaration
        raise ValueError(f"no HTML: {error}") from error
    return reader.tags


def found_in(tags: Sequence[str], path: str) -> Candidate | None:
    """Return the git repository that go-import tags name for a module; None if there is none, or several."""
    prefix, _ = split_major(path)
    found = []
    for tag in tags:
        root, kind, url, *more = [*tag.split(), "", "", ""][: max(3, len(tag.split()))]
        if kind == "git" and f"{path}/".startswith(f"{root}/") and not url_problem(https_spelling(url)):
            inside = prefix.removeprefix(root).strip("/") if root != path else ""
            directory = "/".join(filter(None, [inside, more[0].strip("/") if more else ""]))
            found.append(Candidate(url=https_spelling(url), root=root, directory=directory))
    return found[0] if len(found) == 1 else None


class _Imports(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "meta" and given.get("name") == "go-import":
            self.tags.append(given.get("content", ""))
