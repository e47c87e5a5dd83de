"""The parsers of outside input, and how each is called: with the bytes that came, in a directory that is its own."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from bootstrap.config.read import read_config
from builder.cloudformation.request import StackRequest, event_of
from builder.errors import CommandFailed, LambdasmithError
from builder.event import read as event
from builder.flow.order import Order
from builder.flow.workers import error_in, parsed
from builder.golang import paths as gopaths
from builder.golang import proxy as goproxy
from builder.jsontext import read_json
from builder.kinds import advice, bundle
from builder.making.product import Product
from builder.making.project import SeveralFunctions, read_project
from builder.natives import elf
from builder.npm import lockfile, refusals
from builder.npm.registry import Registries, with_files
from builder.python import inputs, lock, offered, origins, pages, pylock, scripts
from builder.python.bytecode import compiled
from builder.python.parts import read_report, read_requirements, store_parts
from builder.python.prune import PruneOptions
from builder.python.wheelfile import WheelFile
from builder.runtimes import RUNTIMES, Target
from builder.secrets import envelope, github_app
from builder.secrets.logins import Logins
from builder.sources import lfs, manifest
from builder.sources.fetch import read_commit
from builder.sources.gitlib.files import Attributes, ignored_by, read_work_tree
from builder.sources.submodules import submodules_of
from builder.spec import members
from builder.spec.tree import check_all_against_tree
from builder.store.values import Fields
from builder.toolchains import catalogue, toolbox
from builder.trials import node as npm_trial
from builder.trials import trial
from tests.fuzz import made, samples
from tests.fuzz.mutation import Structure, as_json, as_toml
from tests.wheelhouse import make_wheel

Read = Callable[[bytes, Path], object]
TARGET = Target(runtime=RUNTIMES["python3.13"], architecture="x86_64")
JSON: Structure = (json.loads, as_json)
TOML: Structure = (lambda data: tomllib.loads(data.decode()), as_toml)


@dataclass(frozen=True, kw_only=True)
class Parser:
    """One parser.

    Args:
        read: what has to return, or raise one of `errors`.
        samples: what it can read.
        structure: how samples are taken apart and put together again, to change values besides bytes.
        cost: of one run, as a multiple of the cheapest; there are so many fewer of them.
        writes: what is read is written somewhere, in UTF-8: no text may have half of a surrogate pair.
        keeps: what was written in its directory is of use for the next run.
    """

    read: Read
    samples: tuple[bytes, ...]
    structure: Structure | None = None
    errors: tuple[type[Exception], ...] = (LambdasmithError,)
    cost: int = 1
    writes: bool = True
    keeps: bool = True


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _json(data: bytes) -> object:
    """JSON as Lambda hands it over, which has seen to it that it is some."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


# --- Python ---------------------------------------------------------------------------------------------------------


def _inputs(entry: str) -> Read:
    """A file of dependencies, in a project that has all that our samples name."""

    def read(data: bytes, place: Path) -> object:
        root = place / "project"
        if not root.exists():
            made.project(root)
        (root / entry.partition("[")[0].partition("#")[0]).write_bytes(data)
        found = inputs.read_inputs([entry], root)
        return lock.lock_key(found, TARGET, "https://index.example/simple", "uv 0")

    return read


def _pylock(data: bytes, place: Path) -> object:
    """From the file to what would be downloaded, but for what asks the index."""
    root = place / "project"
    if not root.exists():
        made.project(root)
    (root / "pylock.toml").write_bytes(data)
    found = inputs.read_inputs(["pylock.toml[web]"], root)
    assert found.lock
    text = pylock.dumped(lock.adopted(found, found.lock, TARGET, root), lock.KEPT)
    origins.rows(text)
    return pylock.select(text, TARGET)


def _wheel(data: bytes, place: Path) -> object:
    path = place / "pkg-1.0-py3-none-any.whl"
    path.write_bytes(data)
    with WheelFile(path) as wheel:
        wheel.recorded()
    part = place / "part.zip"
    store_parts([(path, part)], PruneOptions(), bytecode=None)
    return read_report(part), read_requirements(part), elf.read_natives(part)


def _wheel_file(name: str) -> Read:
    """A file of a wheel, which says in its RECORD that this is just what it has."""

    def read(data: bytes, place: Path) -> object:
        files: dict[str, str | bytes] = {"pkg/__init__.py": b"import os\n", name: data}
        path = make_wheel(place, "pkg", files=files)
        part = place / "part.zip"
        store_parts([(path, part)], PruneOptions(disable=("console-scripts",)), bytecode=None)
        return read_report(part), read_requirements(part), compiled(data, "python/pkg/a.py") is None

    return read


def _listing(content_type: str) -> Read:
    def read(data: bytes, place: Path) -> object:
        found = offered.parsed(data, content_type, "https://index.example/simple/requests/")
        offer = offered.offer_of(found)
        return offer.versions, offer.fitting(TARGET), offer.explained(">=2", TARGET)

    return read


# --- Node.js, Go ----------------------------------------------------------------------------------------------------


def _npm(name: str) -> Read:
    def read(data: bytes, place: Path) -> object:
        (place / "lib").mkdir(exist_ok=True)
        (place / "package.json").write_bytes(samples.PACKAGE_JSON)
        (place / "package-lock.json").write_bytes(samples.PACKAGE_LOCK)
        (place / name).write_bytes(data)
        found = lockfile.read_lock(place, place, place)
        places = found.closure(["left", "@corp/thing", "lib"])
        told = [*advice.scripts_not_run(found, places, "x"), *advice.not_verified(found, places)]
        told += advice.variants_missing(found, places, TARGET)
        return found.needs_packages(), found.by_integrity("sha1-x"), [found.name_of(one) for one in places], told

    return read


def _npm_words(data: bytes, place: Path) -> object:
    (place / "package.json").write_bytes(samples.PACKAGE_JSON)
    (place / "package-lock.json").write_bytes(samples.PACKAGE_LOCK)
    (place / "lib").mkdir(exist_ok=True)
    error = CommandFailed("npm ci fails", log_tail=_text(data).splitlines())
    return str(refusals.explained(error, "layers.dependencies", lockfile.read_lock(place, place, place)))


def _npmrc(data: bytes, place: Path) -> object:
    return Registries.parse("https://npm.example/").with_npmrc(_text(data)).of("@corp")


def _npm_page(data: bytes, place: Path) -> object:
    return with_files(data, "https://npm.example/left", lambda url: url)


def _metafile(data: bytes, place: Path) -> object:
    for name, content in (("package.json", samples.PACKAGE_JSON), ("package-lock.json", samples.PACKAGE_LOCK)):
        (place / name).write_bytes(content)
    (place / "lib").mkdir(exist_ok=True)
    (place / "meta.json").write_bytes(data)
    found = bundle.read_metafile(place / "meta.json", "function.build: esbuild")
    return found.exports, list(bundle.places_in(found, lockfile.read_lock(place, place, place), place / "src", place))


def _go_path(data: bytes, place: Path) -> object:
    path, _, version = _text(data).partition(" ")
    found = gopaths.Version.parse(version)
    known = found.order if found else ()
    return gopaths.is_module_path(path), list(gopaths.candidates(path, None)), known, gopaths.split_major(path)


def _go_imports(data: bytes, place: Path) -> object:
    return goproxy.found_in(goproxy.imports_in(data), "go.example/mod/sub/v2")


# --- doors ----------------------------------------------------------------------------------------------------------


def _build_file(name: str) -> Read:
    def read(data: bytes, place: Path) -> object:
        root = place / "project"
        if not root.exists():
            made.project(root)
        (root / name).write_bytes(data)
        try:
            return read_project(root, name, commit_time=0, repository=root)
        except SeveralFunctions as several:
            keys = several.file.functions
            several.check(keys)
            return [read_project(root, name, commit_time=0, repository=root, key=key) for key in keys]

    return read


def _spec(data: bytes, place: Path) -> object:
    found = members.read_functions(_text(data), file="build.yaml")
    check_all_against_tree([*found.functions.values()], place)
    return found


def _event(data: bytes, place: Path) -> object:
    sent = cast("Mapping[str, object]", _json(data))
    event.raises(sent)
    return event.shortened({"statusCode": 200}, sent) if event.parse_event(sent) else None


def _stack(data: bytes, place: Path) -> object:
    sent = _json(data)
    if not isinstance(sent, dict) or "RequestType" not in sent or "ResponseURL" not in sent:
        return None  # not what the handler takes for one
    request = StackRequest.parse(sent, endpoints=("http://127.0.0.1:4566",), now=1_700_000_000.0)
    asked = event_of(request)
    event.parse_event(asked)
    return request.name, request.build_id, request.until + request.attempt


def _config(data: bytes, place: Path) -> object:
    path = place / "config.ini"
    path.write_bytes(data)
    return read_config(file=path, required=True, environment={}, flags={})


def _product(data: bytes, place: Path) -> object:
    return parsed(lambda: Product.parse(cast("Mapping[str, object]", json.loads(data))))


def _worker_error(data: bytes, place: Path) -> object:
    return parsed(lambda: str(error_in(Fields(json.loads(data)))))


# --- files of git, and others ---------------------------------------------------------------------------------------


def _attributes(data: bytes, place: Path) -> object:
    return Attributes(lambda directory: data if not directory else b"").of("a/b.txt")


def _ignore(data: bytes, place: Path) -> object:
    path = place / ".lambdaignore"
    path.write_bytes(data)
    return ignored_by(path, ["a.md", "README.md", "build/x", "y/x/b1"])


def _submodules(data: bytes, place: Path) -> object:
    links = {"vendor/lib": "a" * 40, "vendor/other": "b" * 40, "third": "c" * 40}
    return submodules_of(links, data, parent="https://git.example/o/n")


def _work_tree(name: str) -> Read:
    """A file of git's own in a checked-out repository."""

    def read(data: bytes, place: Path) -> object:
        root = place / "work"
        if not root.exists():
            made.work_tree(root)
        kept = (root / ".git" / name).read_bytes()
        if name == "index" and len(data) % 3:  # with the right checksum, so that what comes before it is read
            data = data[:-20] + hashlib.sha1(data[:-20], usedforsecurity=False).digest()
        (root / ".git" / name).write_bytes(data)
        try:
            return read_work_tree(root)
        finally:
            (root / ".git" / name).write_bytes(kept)

    return read


def _elf(data: bytes, place: Path) -> object:
    path = place / "lib.so"
    path.write_bytes(data)
    return elf.read_native(path), elf.read_soname(path), elf.defined_versions(path)


def _toolchain(data: bytes, place: Path) -> object:
    archive, into = place / "archive", place / "into"
    archive.write_bytes(data)
    into.mkdir()
    toolbox.unpack_any(archive, into, strip=1, label="tool")
    return [path.name for path in into.rglob("*")]


def _trial_report(data: bytes, place: Path) -> object:
    path = place / "report.json"
    path.write_bytes(data)
    found = trial.read_report(path, "importing app", ["line"])
    told: list[object] = []
    tried = trial.Trial(code=place, layers={}, handler="app.handler", target=TARGET, function="f", variables={})
    for judged in (trial.judged, npm_trial.judged):
        try:
            told.append(judged(found, tried, trial.Places(task="/a", opt="/b"), str))
        except LambdasmithError as error:
            told.append(error)
    return told


PARSERS: Mapping[str, Parser] = {
    "requirements.txt": Parser(read=_inputs("requirements.txt"), samples=(samples.REQUIREMENTS,), cost=3),
    "pyproject.toml": Parser(read=_inputs("pyproject.toml[web]"), samples=(samples.PYPROJECT,), structure=TOML, cost=3),
    "pyproject.toml, group": Parser(
        read=_inputs("pyproject.toml#group=prod"), samples=(samples.PYPROJECT,), structure=TOML, cost=3
    ),
    "poetry.lock": Parser(read=_inputs("poetry.lock[db]"), samples=(samples.POETRY,), structure=TOML, cost=3),
    "Pipfile.lock": Parser(read=_inputs("Pipfile.lock"), samples=(samples.PIPFILE,), structure=JSON, cost=3),
    "uv.lock": Parser(read=_inputs("uv.lock"), samples=(samples.UV,), structure=TOML, cost=3),
    "pylock.toml": Parser(read=_pylock, samples=(samples.PYLOCK, samples.PYLOCK_URLS), structure=TOML, cost=10),
    "wheel": Parser(read=_wheel, samples=made.wheels(), cost=30),
    "wheel's METADATA": Parser(
        read=_wheel_file("pkg-1.0.dist-info/METADATA"), samples=(samples.METADATA,), cost=20, writes=False
    ),
    "wheel's commands": Parser(
        read=_wheel_file("pkg-1.0.dist-info/entry_points.txt"), samples=(samples.ENTRY_POINTS,), cost=20
    ),
    "wheel's script": Parser(
        read=_wheel_file("pkg-1.0.data/scripts/run"), samples=(b"#!python -x\nprint()\n",), cost=20
    ),
    "wheel's module": Parser(read=_wheel_file("pkg/a.py"), samples=(samples.MODULE,), cost=20),
    "wheel's tests": Parser(read=_wheel_file("pkg/tests/test_a.py"), samples=(samples.MODULE,), cost=20),
    "index page, JSON": Parser(
        read=_listing("application/vnd.pypi.simple.v1+json"),
        samples=(samples.INDEX_JSON,),
        structure=JSON,
        errors=(ValueError, LambdasmithError),
        cost=3,
    ),
    "index page, HTML": Parser(
        read=_listing("text/html"), samples=(samples.INDEX_HTML,), errors=(ValueError, LambdasmithError), cost=3
    ),
    "index page, JSON, for uv": Parser(
        read=lambda data, place: list(pages.links(data, "https://index.example/simple/x/", is_json=True)),
        samples=(samples.INDEX_JSON,),
        structure=JSON,
        errors=(ValueError,),
    ),
    "index page, HTML, for uv": Parser(
        read=lambda data, place: list(pages.links(data, "https://index.example/simple/x/", is_json=False)),
        samples=(samples.INDEX_HTML,),
        errors=(ValueError,),
    ),
    "entry_points.txt": Parser(
        read=lambda data, place: scripts.console_scripts(_text(data)), samples=(samples.ENTRY_POINTS,)
    ),
    "package-lock.json": Parser(
        read=_npm("package-lock.json"),
        samples=(samples.PACKAGE_LOCK,),
        structure=JSON,
        errors=(lockfile.Unusable,),
        cost=3,
    ),
    "package.json": Parser(
        read=_npm("package.json"), samples=(samples.PACKAGE_JSON,), structure=JSON, errors=(lockfile.Unusable,), cost=3
    ),
    "npm's words": Parser(read=_npm_words, samples=samples.NPM_WORDS, cost=3, writes=False),
    ".npmrc": Parser(read=_npmrc, samples=(samples.NPMRC,)),
    "npm registry's answer": Parser(read=_npm_page, samples=(samples.NPM_PAGE,), structure=JSON, errors=(ValueError,)),
    "esbuild's metafile": Parser(read=_metafile, samples=(samples.METAFILE,), structure=JSON, cost=3),
    "go.mod": Parser(read=lambda data, place: gopaths.major_of(data), samples=(samples.GO_MOD,)),
    "Go module path and version": Parser(read=_go_path, samples=(samples.GO_PATH,)),
    "go-import page": Parser(read=_go_imports, samples=(samples.GO_IMPORTS,), errors=(ValueError,)),
    "build.yaml": Parser(read=_build_file("build.yaml"), samples=(samples.BUILD_YAML,), cost=20),
    "build.yaml, values": Parser(read=_build_file("build.yaml"), samples=made.build_files(), structure=JSON, cost=20),
    "build.json": Parser(read=_build_file("build.json"), samples=(samples.BUILD_JSON,), structure=JSON, cost=20),
    "event": Parser(
        read=_event,
        samples=(samples.EVENT, samples.EVENT_SOURCE, samples.EVENT_ARCHIVE),
        structure=JSON,
    ),
    "CloudFormation event": Parser(read=_stack, samples=(samples.STACK,), structure=JSON),
    "config.ini": Parser(read=_config, samples=(samples.CONFIG,), cost=3),
    "LAMBDASMITH_TOOLCHAINS": Parser(
        read=lambda data, place: catalogue.parse(_text(data)), samples=(samples.TOOLCHAINS,), structure=JSON
    ),
    "LAMBDASMITH_CREDENTIALS": Parser(
        read=lambda data, place: Logins.parse(_text(data)).text(), samples=(samples.LOGINS,), structure=JSON
    ),
    "envelope": Parser(
        read=lambda data, place: envelope.opened(_text(data), b"k" * 32),
        samples=(envelope.closed('{"granted": {"a": "b"}}', b"k" * 32).encode(),),
        errors=(ValueError,),
    ),
    # What it says is for people, whose replies escape it, and for JSON, which does, too.
    "worker's product": Parser(read=_product, samples=(made.product(),), structure=JSON, writes=False),
    "worker's error": Parser(
        read=_worker_error,
        samples=(
            b'{"error": {"code": "import_failed", "message": "m", "hint": "h", "log_tail": ["l"], "phase": "p"}}',
        ),
        structure=JSON,
        writes=False,
    ),
    "builder's order": Parser(
        read=lambda data, place: Order.parse(Fields(read_json(data))),
        samples=made.orders(),
        structure=JSON,
        errors=(LambdasmithError, ValueError),
        writes=False,
    ),
    ".gitmodules": Parser(read=_submodules, samples=(samples.GITMODULES,)),
    ".gitattributes": Parser(read=_attributes, samples=(samples.GITATTRIBUTES,)),
    ".lambdaignore": Parser(read=_ignore, samples=(samples.IGNORE,), cost=3),
    "LFS pointer": Parser(read=lambda data, place: lfs.parse_pointer(data), samples=(samples.LFS_POINTER,)),
    "LFS answer": Parser(
        read=lambda data, place: lfs.located(data, [lfs.Pointer(oid="ab" * 32, size=12)]),
        samples=(samples.LFS_ANSWER,),
        structure=JSON,
        errors=(lfs.CannotHave,),
    ),
    "git commit": Parser(read=lambda data, place: read_commit(data), samples=(samples.COMMIT,)),
    "git server's refs": Parser(read=made.listed, samples=(samples.REFS,), cost=60),
    "git's index": Parser(read=_work_tree("index"), samples=(made.git_file("index"),), cost=30, writes=False),
    "git's config": Parser(read=_work_tree("config"), samples=(made.git_file("config"),), cost=30, writes=False),
    "git's HEAD": Parser(read=_work_tree("HEAD"), samples=(made.git_file("HEAD"),), cost=30, writes=False),
    "GitHub App's key": Parser(
        read=lambda data, place: github_app.read_key(_text(data)).modulus,
        samples=(made.private_key(),),
        errors=(ValueError, IndexError),
        cost=20,
    ),
    "sources' manifest": Parser(
        read=lambda data, place: manifest.parse(data, label="manifest"), samples=(samples.MANIFEST,), structure=JSON
    ),
    "ELF": Parser(read=_elf, samples=made.elfs(), cost=20),
    "toolchain's archive": Parser(read=_toolchain, samples=made.toolchains(), cost=10, keeps=False),
    "report of a trial": Parser(
        read=_trial_report,
        samples=(
            b'{"outcome": "failed", "names": ["a"], "unset": ["B"], "traceback": ["x"], "chain": [{"kinds": '
            b'["builtins.KeyError"], "message": "B", "name": null, "filename": "/x"}]}',
        ),
        structure=JSON,
        writes=False,  # what the import of a stranger's module said, which may be anything: replies escape it
    ),
}
