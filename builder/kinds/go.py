"""Builds Go commands with `go build` into static programs that have the same bytes wherever they are built.

Flags: https://pkg.go.dev/cmd/go#hdr-Compile_packages_and_dependencies. `lambda.norpc` leaves the protocol of the
retired go1.x runtime out of aws-lambda-go (its README).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from builder.errors import CommandFailed, CompilationFailed
from builder.golang import proxy as module_proxy
from builder.golang.proxy import GoProxy
from builder.network.untrusted import explained
from builder.paths import upwards
from builder.runtimes import Architecture
from builder.sources.local import select_files
from builder.spec.builds import GoBuild
from builder.system import process
from builder.toolchains import zig
from builder.toolchains.catalogue import WHEELS
from builder.workshop.kind import Files, Made, Place, Work

_ARCHITECTURES: Mapping[Architecture, str] = {"x86_64": "amd64", "arm64": "arm64"}
_RUNTIME = "provided.al2023"
_BOOTSTRAP = "bootstrap"
_TAGS = ("lambda.norpc",)
_LDFLAGS = "-s -w -buildid="
_MAIN = re.compile(r"^package main\b", re.MULTILINE)
# Places of other modules or packages on this disk: `use ./a`, `replace x => ../b`, also in parentheses.
_LOCAL = re.compile(r"(?:^|=>|\buse)\s*(?P<path>\.{1,2}(?:/[^\s)\"]*)?)(?=\s|$)", re.MULTILINE)
_SKIPPED = frozenset({"vendor", "testdata", "node_modules"})
_ELF = b"\x7fELF"
_IN_A_FILE = re.compile(r"\S+\.go:\d+:\d+: ")

# Go's messages, and what to do about them.
_HINTS: Sequence[tuple[str, str]] = (
    (
        r"missing go\.sum entry|updates to go\.(?:mod|sum) needed|no required module provides",
        "run `go mod tidy` and commit go.mod and go.sum",
    ),
    (r"inconsistent vendoring", "run `go mod vendor` and commit vendor/"),
    (
        r"requires go >= |invalid go version",
        "the builder's Go is {version}: lower the go line of go.mod, or update the builder",
    ),
    (
        r"build constraints exclude all Go files|undefined: C\.|cgo: C compiler",
        "if it needs C, set build: {{go: {{cgo: true}}}}",
    ),
    (r"checksum mismatch|SECURITY ERROR", "the module does not match go.sum; find out why before you change go.sum"),
    (
        r"410 Gone|404 Not Found|terminal prompts disabled|unrecognized import path|executable file not found",
        "a private module needs a login: a section [git HOST] in config.ini (docs/secrets.md), or vendor/",
    ),
    (
        r"dial tcp|i/o timeout|connection refused|TLS handshake",
        "the module proxy cannot be reached; try again, or commit vendor/",
    ),
)


class _Go:
    name = "go"
    format = 1
    prunes = False

    def detect(self, root: Path, name: str) -> Mapping[str, object] | None:
        if not (root / "go.mod").is_file() and not (root / "go.work").is_file():
            return None
        return {"runtimes": [_RUNTIME], "handler": _BOOTSTRAP, "build": {"go": _named(root, name)}}

    def problem(self, recipe: GoBuild, place: Place) -> str | None:
        top = _top(place)
        if top is None:
            return f"there is no go.mod in {place.source_dir} or above it; run `go mod init` and commit it"
        for package in recipe.packages.values() or ([recipe.package] if recipe.package else []):
            folder = place.base / package
            if not folder.is_dir():
                return f"{package} is not a directory{_candidates(place)}"
            if not _is_main(folder):
                return f"{package} is not a command: none of its files says `package main`{_candidates(place)}"
        if not recipe.packages and not recipe.package and len(found := _commands(place.base)) != 1:
            if not found:
                return f"no `package main` in {place.source_dir} or below it"
            return f"there are several commands; name one: go: {found[0]}{_candidates(place)}"
        return None

    def needs(self, recipe: GoBuild, place: Place) -> Sequence[str]:
        return ("go", "zig") if recipe.cgo else ("go",)

    def reads_outside(self, recipe: GoBuild, place: Place) -> bool:
        top = _top(place)
        return top is not None and not top.is_relative_to(place.root.resolve())

    def inputs(self, recipe: GoBuild, place: Place) -> Files:
        top = _top(place) or place.base
        files = select_files(top, ".", (), ("*_test.go",), to_ship=False)
        return tuple((name, path) for name, path in files if not name.startswith(".git"))

    def build(self, recipe: GoBuild, place: Place, work: Work) -> Made:
        packages = dict(recipe.packages) or {_output(place): recipe.package or _commands(place.base)[0]}
        return Made(files=_Building(recipe, place, work).files(packages))


GO = _Go()


def _output(place: Place) -> str:
    """Return the path of a single command: Lambda starts /var/task/bootstrap; in a layer it has the layer's name."""
    return _BOOTSTRAP if place.is_function else place.component


def _top(place: Place) -> Path | None:
    """Return the directory around everything: the module's, its workspace's, or the repository if these reach out."""
    repository = place.repository.resolve()
    module = next(
        (folder for folder in upwards(place.base.resolve(), repository) if (folder / "go.mod").is_file()), None
    )
    work = next(
        (folder for folder in upwards(place.base.resolve(), repository) if (folder / "go.work").is_file()), None
    )
    top = work or module
    if top is None:
        return None
    # A replacement outside of the module (`=> ../lib`) is an input as well, and then the whole repository counts.
    for file in ((top / "go.work"), *((module / "go.mod",) if module else ())):
        for local in _local_places(file):
            if not local.is_relative_to(top):
                return repository if local.is_relative_to(repository) else top
    return top


def _local_places(file: Path) -> Iterator[Path]:
    if file.is_file():
        for match in _LOCAL.finditer(file.read_text(errors="replace")):
            yield (file.parent / match["path"]).resolve()


def _is_main(folder: Path) -> bool:
    sources = (path for path in sorted(folder.glob("*.go")) if not path.name.endswith("_test.go"))
    return any(_MAIN.search(path.read_text(errors="replace")) for path in sources)


def _commands(base: Path) -> list[str]:
    """Return a module's commands, as Go names packages: the directory itself if it is one, else all below it."""
    if _is_main(base):
        return ["."]
    folders = sorted({path.parent for path in base.rglob("*.go")})
    found = []
    for folder in folders:
        parts = folder.relative_to(base).parts
        if not any(part in _SKIPPED or part.startswith((".", "_")) for part in parts) and _is_main(folder):
            found.append("./" + "/".join(parts))
    return found


def _candidates(place: Place) -> str:
    found = _commands(place.base)
    return f"; there are {', '.join(found[:8])}" if found else ""


def _named(root: Path, name: str) -> str | None:
    """Return the one of several commands that has the function's name."""
    found = _commands(root)
    return next((package for package in found if len(found) > 1 and PurePosixPath(package).name == name), None)


class _Building:
    """One run of `go build` per command, with what they share."""

    def __init__(self, recipe: GoBuild, place: Place, work: Work) -> None:
        self._recipe, self._place, self._work, self._workshop = recipe, place, work, work.workshop
        self._go = self._workshop.toolbox.get("go")
        self._cache = self._workshop.cache("go", self._go.identity, place.target.label, f"{recipe.cgo}")

    def files(self, packages: Mapping[str, str]) -> Files:
        self._cache.restore()
        work, workshop, made = self._work, self._workshop, []
        environment = self._environment()
        with module_proxy.opened(
            credentials=workshop.credentials,
            network=workshop.network,
            workspace=workshop.workspace,
            scratch=work.scratch,
            repository=workshop.repository,
            proxies=workshop.go_proxy or environment.get("GOPROXY") or self._default_proxies(),
            indexes=workshop.indexes,
        ) as proxy:
            environment = proxy.environment(environment)
            for output, package in sorted(packages.items()):
                self._compile(package, work.out / output, environment, proxy)
                made.append((output, work.out / output))
        # After all commands: they share the cache, and it is stored once.
        self._cache.keep(self._fingerprint())
        return tuple(made)

    def _default_proxies(self) -> str:
        """Return the proxies that Go itself asks by default."""
        text = (self._go.root / "go" / "go.env").read_text()
        found = re.search(r"^GOPROXY=(\S+)", text, re.MULTILINE)
        return found[1] if found else "direct"

    def _compile(self, package: str, out: Path, environment: Mapping[str, str], proxy: GoProxy) -> None:
        what = f"{self._place.label}: go build {package}"
        listen = self._work.listen
        try:
            process.run(
                [str(self._go.bins[0] / "go"), "build", *self._flags(), "-o", str(out), package],
                cwd=self._place.base,
                environment=environment,
                timeout_s=self._workshop.deadline.check(what),
                what=what,
                memory_mb=self._workshop.memory_mb,
                listen=lambda line: listen(f"compiling {line}") if "/" in line and " " not in line else None,
            )
        except CommandFailed as error:
            # An error in a source file has nothing to do with modules, even if one was refused on the way.
            if proxy.refusals and not any(_IN_A_FILE.match(line) for line in error.log_tail):
                raise proxy.refusals[0] from error
            said = "\n".join(map(proxy.real, error.log_tail))
            raise explained(said) or self._failed(error, what, proxy) from error
        with out.open("rb") as file:
            if file.read(len(_ELF)) != _ELF:
                raise CompilationFailed(f"{self._place.label}: {package} is not a command: it is not `package main`")

    @staticmethod
    def _failed(error: CommandFailed, what: str, proxy: GoProxy) -> CompilationFailed:
        tail = [proxy.real(line) for line in error.log_tail if not _is_progress(line)]
        text = "\n".join(tail)
        hint = next((hint for pattern, hint in _HINTS if re.search(pattern, text)), "its output is above")
        first = next((line for line in tail if line and not line.startswith("#")), error.message)
        return CompilationFailed(
            f"{what} fails: {first}", hint=hint.format(version=WHEELS["go"].version), log_tail=tail
        )

    def _flags(self) -> list[str]:
        recipe = self._recipe
        ldflags = " ".join(filter(None, (_LDFLAGS, recipe.ldflags)))
        tags = ",".join((*_TAGS, *recipe.tags))
        return [
            "-v",
            "-trimpath",
            "-buildvcs=false",
            f"-p={self._workshop.jobs}",
            f"-tags={tags}",
            f"-ldflags={ldflags}",
        ]

    def _environment(self) -> dict[str, str]:
        work, workshop, cache = self._work, self._workshop, self._cache.folder
        home = work.scratch / "home"
        home.mkdir()
        path = [str(self._go.bins[0]), workshop.environment.get("PATH", "")]
        environment = {
            **workshop.environment,
            "HOME": str(home),
            "TMPDIR": str(home),
            "GOROOT": str(self._go.root / "go"),
            "GOOS": "linux",
            "GOARCH": _ARCHITECTURES[self._place.target.architecture],
            "GOCACHE": str(cache / "build"),
            "GOPATH": str(cache / "path"),
            "GOMODCACHE": str(cache / "modules"),
            "GOFLAGS": "-modcacherw",
            # Settings of the machine's user must not change what is built.
            "GOENV": "off",
            # Another toolchain would be downloaded, and give other bytes.
            "GOTOOLCHAIN": "local",
            "GOTELEMETRY": "off",
            "CGO_ENABLED": "0",
            "SOURCE_DATE_EPOCH": str(work.commit_time),
        }
        # Each of the parallel compilers has its own collector, and so has `go` itself: together they stay below the
        # limit.
        if workshop.memory_mb is not None:
            environment["GOMEMLIMIT"] = f"{workshop.memory_mb // (workshop.jobs + 1)}MiB"
        if self._recipe.cgo:
            environment |= zig.compiler(self._place.target, work.scratch, workshop.toolbox, debug=True)
            environment["CGO_ENABLED"] = "1"
            # Kept with this project's cache, like everything else that it compiles.
            environment |= dict.fromkeys(("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"), str(cache / "zig"))
            path.insert(0, str(zig.programs(work.scratch)))
        return environment | {"PATH": ":".join(filter(None, path))}

    def _fingerprint(self) -> str:
        """Hash the modules that were compiled: those change rarely, the project's own packages at every build."""
        digest = hashlib.sha256()
        top = _top(self._place) or self._place.base
        for name in ("go.mod", "go.sum", "go.work", "go.work.sum"):
            for path in sorted(top.rglob(name)):
                digest.update(path.read_bytes())
        return digest.hexdigest()


def _is_progress(line: str) -> bool:
    """Tell whether it is one of the package names that -v prints."""
    return bool(re.fullmatch(r"[\w.~/-]+", line)) or line.startswith("go: downloading ")
