"""Which files of a wheel a Lambda function never needs: rules with an id, a reason and an off switch.

Only the standard library is used here: the builder makes its own first layer with this module.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

# Changes whenever a rule changes what it removes: parts made by older rules are then made anew.
RULES_VERSION = 1

_DIST_INFO = re.compile(r"^[^/]+\.dist-info/")
_SOURCES = (".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".pyx", ".pxd", ".pxi", ".a", ".f", ".f90", ".o", ".lib")
# Written by installers for uninstalling; nothing reads them at run time. METADATA, entry_points.txt, WHEEL,
# top_level.txt and licences stay: importlib.metadata and lawyers use them.
_INSTALLER_FILES = {"RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED", "direct_url.json"}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule removes the files for which `matches(path, all paths of the wheel)` is true."""

    id: str
    reason: str
    matches: Callable[[str, frozenset[str]], bool]


def _is_cache(path: str, _: frozenset[str]) -> bool:
    return "__pycache__/" in path or path.endswith((".pyc", ".pyo"))


def _is_build_input(path: str, _: frozenset[str]) -> bool:
    # numpy.get_include() and cffi's embedding read headers only when something is compiled, which Lambda never does.
    return path.endswith(_SOURCES) and not _DIST_INFO.match(path)


def _is_installer_file(path: str, _: frozenset[str]) -> bool:
    return bool(_DIST_INFO.match(path)) and path.count("/") == 1 and path.rpartition("/")[2] in _INSTALLER_FILES


def _is_stub(path: str, paths: frozenset[str]) -> bool:
    # lazy_loader.attach_stub reads the .pyi beside the module at run time, so packages that ship one beside an
    # __init__.py keep those.
    if not path.endswith(".pyi") or path.endswith("/__init__.pyi"):
        return path.endswith("/py.typed")
    return path.removesuffix("i") in paths or _has_extension(path, paths)


def _has_extension(stub: str, paths: frozenset[str]) -> bool:
    stem = stub.removesuffix(".pyi") + "."
    return any(path.startswith(stem) and path.endswith(".so") for path in paths)


RULES: Sequence[Rule] = (
    Rule(id="bytecode-cache", reason="stale bytecode: its time stamps never match on Lambda", matches=_is_cache),
    Rule(id="build-inputs", reason="C and Fortran sources, headers and static libraries", matches=_is_build_input),
    Rule(id="installer-records", reason="notes for uninstalling", matches=_is_installer_file),
    Rule(id="type-stubs", reason="type stubs beside the module that they describe", matches=_is_stub),
)


@dataclass(frozen=True, kw_only=True)
class PruneOptions:
    """What the project switches off, as typed in the build file, and what only the builder's own layer asks for.

    Args:
        disable: ids of rules that do not apply.
        keep: globs of paths that no rule removes.
        botocore_services: if given, botocore's data of all other services is removed (28 of its 31 MB).
    """

    disable: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    botocore_services: tuple[str, ...] = ()

    def key(self) -> str:
        """A text that is equal for equal effects."""
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

    def rows(self) -> list[dict[str, str | int]]:
        """For the reply: [{rule, files, bytes}], largest first."""
        ordered = sorted(self.files, key=lambda rule: (-self.bytes[rule], rule))
        return [{"rule": rule, "files": self.files[rule], "bytes": self.bytes[rule]} for rule in ordered]


def merged(rows: Iterable[Mapping[str, str | int]]) -> list[dict[str, str | int]]:
    """The sum of several reports, in the shape of Pruned.rows()."""
    total = Pruned()
    for row in rows:
        rule = str(row["rule"])
        total.files[rule] = total.files.get(rule, 0) + int(row["files"])
        total.bytes[rule] = total.bytes.get(rule, 0) + int(row["bytes"])
    return total.rows()


def prune(paths: Iterable[str], options: PruneOptions) -> dict[str, str]:
    """The paths to remove, each with the id of the rule that removes it."""
    every = frozenset(paths)
    rules = [rule for rule in RULES if rule.id not in options.disable]
    removed: dict[str, str] = {}
    for path in every:
        if any(fnmatch.fnmatchcase(path, pattern) for pattern in options.keep):
            continue
        if options.botocore_services and _is_other_service(path, options.botocore_services):
            removed[path] = "botocore-data"
            continue
        for rule in rules:
            if rule.matches(path, every):
                removed[path] = rule.id
                break
    return removed


def _is_other_service(path: str, services: Sequence[str]) -> bool:
    parts = path.split("/")
    if path.startswith("botocore/data/"):
        return len(parts) > 3 and parts[2] not in services
    # boto3's resources and the examples of every service: the builder uses clients alone.
    return path.startswith(("boto3/data/", "boto3/examples/"))
