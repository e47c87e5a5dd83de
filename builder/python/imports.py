"""Modules that the kept code of a wheel can import, found in its source without running it.

Only the standard library is used here: the builder makes its own first layer with this module.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Collection, Iterator

_DATA_SCHEME = re.compile(r"^[^/]+\.data/(?:purelib|platlib)/")
_DOTTED = re.compile(r"\.*[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*\Z")
_EXTENSION = re.compile(r"(?:\.[\w-]+)?\.so\Z")
_USES_FILES = re.compile(rb"__file__|__path__|\bresources\b|get_data")


def module_of(path: str) -> str | None:
    """Return the module name of a wheel's file, source or extension module; None if it is neither."""
    path = _DATA_SCHEME.sub("", path)
    if path.endswith(".py"):
        path = path.removesuffix(".py").removesuffix("/__init__")
    elif path.endswith(".so"):
        path = _EXTENSION.sub("", path)
    else:
        return None
    return path.replace("/", ".")


def reachable(
    candidates: Collection[str], kept: Collection[str], read: Callable[[str], bytes], names: Collection[str]
) -> set[str]:
    """Return the `candidates` that the `kept` files need: modules that they import, also indirectly, and their data.

    Args:
        read: the content of a path.
        names: parts of the candidates' paths; only files that contain one are parsed.
    """
    present = {name for name in names if any(name in re.split(r"[/.]", path) for path in candidates)}
    words = _mention("|".join(sorted(present)) or "attach_stub")
    modules = {name: path for path in candidates if (name := module_of(path))}
    needed: set[str] = set()
    pending = [path for path in kept if path.endswith((".py", "/entry_points.txt"))]
    everything = frozenset(kept) | frozenset(candidates)
    while pending:
        path = pending.pop()
        source = read(path)
        # A needed module may import its neighbours relatively, without naming the package.
        if path not in needed and not words.search(source):
            continue
        for name in _named(path, source, read, everything):
            for part in _with_parents(name):
                found = modules.get(part)
                if found is not None and found not in needed:
                    needed.add(found)
                    if found.endswith(".py"):
                        pending.append(found)
    return needed | _data_of(needed, candidates, kept, read)


def _mention(name: str) -> re.Pattern[bytes]:
    """Return a pattern of imports of those names: parsing every file that contains the word would take long."""
    continued = (
        rf"^[ \t]*(?:\w+(?:[ \t]+as[ \t]+\w+)?[ \t]*,[ \t]*)*(?:{name})(?:[ \t]+as[ \t]+\w+)?[ \t]*(?:[,)\\#]|$)"
    )
    statement = rf"\b(?:from|import)\b[^\n#]*\b(?:{name})\b"
    literal = rf"[\"'][\w.]*\b(?:{name})\b[\w.]*[\"']"
    entry_point = rf"=[ \t]*[\w.]*\b(?:{name})\b"
    return re.compile(f"{statement}|{literal}|{continued}|{entry_point}|attach_stub".encode(), re.MULTILINE)


def _named(path: str, source: bytes, read: Callable[[str], bytes], everything: Collection[str]) -> set[str]:
    if not path.endswith(".py"):
        return set(re.findall(r"=\s*([A-Za-z_][\w.]*)", source.decode("utf-8", "replace")))
    module = module_of(path) or ""
    is_package = path.endswith("/__init__.py")
    names = set(references(source, module, is_package=is_package))
    # lazy_loader.attach_stub reads the names to import from the stub beside the module.
    if b"attach_stub" in source and f"{path}i" in everything:
        names.update(references(read(f"{path}i"), module, is_package=is_package))
    return names


def _with_parents(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]


def _data_of(
    needed: Collection[str], candidates: Collection[str], kept: Collection[str], read: Callable[[str], bytes]
) -> set[str]:
    """Return data beside and below needed modules that read files, since it is unknown which files."""
    folders = {
        path.rpartition("/")[0] + "/"
        for path in needed
        if path.endswith(".py") and "/" in path and _USES_FILES.search(read(path))
    }
    # A directory with a conftest.py also has other modules; files that those read were never candidates.
    own = tuple(folder for folder in folders if not any(path.startswith(folder) for path in kept))
    return {path for path in candidates if own and not path.endswith(".py") and path.startswith(own)}


def _parsed(source: bytes) -> ast.Module | None:
    """Return the syntax tree; None if the source is not Python, such as a template."""
    for _ in range(3):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
        except SystemError:
            # Python before 3.11.5 miscounts if it collects garbage meanwhile, see
            # https://github.com/python/cpython/issues/106905; the next attempt succeeds.
            continue
    return None


def references(source: bytes, module: str, *, is_package: bool) -> Iterator[str]:
    """Return the absolute names that a module may import, anywhere in its code, also of objects within modules.

    Besides import statements, strings count: every dotted name (`importlib.import_module`, tables of plugins), and in a
    module with `__getattr__` or a lazy loader every string that may be a name below the module.
    """
    tree = _parsed(source)
    if tree is None:
        return
    package = module if is_package else module.rpartition(".")[0]
    lazy = b"__getattr__" in source or b"lazy" in source
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _DOTTED.match(node.value):
            if "." in node.value:
                yield _absolute(node.value, package)
            elif lazy:
                yield f"{module}.{node.value}"


def _absolute(name: str, package: str) -> str:
    """Return the absolute name of one as written in a module of `package`."""
    level = len(name) - len(name.lstrip("."))
    if not level:
        return name
    base = package.split(".")[: len(package.split(".")) - (level - 1)]
    return ".".join([*base, *filter(None, [name[level:]])])
