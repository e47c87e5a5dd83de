"""Compares the files that a build file names with those that exist."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from builder.errors import InvalidBuildFile, LambdasmithError, LfsMissing
from builder.nearest import alike, meant
from builder.npm.lockfile import MANIFEST, NAMES
from builder.python.inputs import split_entry
from builder.python.requirements import parse
from builder.runtimes import RUNTIMES
from builder.sources.local import directory_in, nearest_path, placed_files, select_files
from builder.spec.base import Placed
from builder.spec.values import DEFAULT_HANDLER, BuildSpec, FunctionSpec, LayerSpec, invalid, makes_all

__all__ = [
    "check_against_tree",
    "check_all_against_tree",
    "nothing_to_install",
    "own_requirements",
    "with_own_dependencies",
]


def check_all_against_tree(specs: Sequence[BuildSpec], root: Path, repository: Path | None = None) -> None:
    """Compare the names in all functions of a build file with the project's directory `root`, as `check_against_tree`.

    Raises:
        InvalidBuildFile: with the problems of all of them.
        LfsMissing: of the first that lacks content.
    """
    problems: list[str] = []
    lacking: list[LfsMissing] = []
    for spec in specs:
        try:
            check_against_tree(with_own_dependencies(spec, root), root, repository)
        except LfsMissing as error:
            lacking.append(error)
        except InvalidBuildFile as error:
            problems += error.problems or (error.message,)
    if problems:
        # Several functions may share what is wrong.
        raise invalid(specs[0].file, [*dict.fromkeys(problems)])
    if lacking:
        raise lacking[0]


def with_own_dependencies(spec: BuildSpec, root: Path) -> BuildSpec:
    """Return what the file says of one function of several, with the `requirements.txt` beside its handler, if any.

    A function in the project's own directory has that file only where the project names no other dependencies.
    """
    spec = _with_layers_there(spec, root)
    own = next((path for path in own_requirements(spec) if (root / path).is_file()), None)
    if own is None:
        return spec
    return spec.with_dependencies((*spec.dependencies, own) if spec.adds_own else (own,))


def _with_layers_there(spec: BuildSpec, root: Path) -> BuildSpec:
    """Return the same without layers that have no files, and without requirements of layers that are not there."""
    used = {
        layer.name: spec.layers_with_code[layer.name] for layer in spec.layers if layer.name in spec.layers_with_code
    }
    empty = [name for name, file in used.items() if not _has_code((root / file).parent)]
    kept = tuple(file for file in spec.dependencies if file not in used.values() or (root / file).is_file())
    spec = spec.without_layers(empty) if empty else spec
    if kept == spec.dependencies:
        return spec
    return spec.with_dependencies(kept) if kept else spec.without_dependencies()


def _has_code(folder: Path) -> bool:
    """Tell whether a directory has more than requirements; one that is not there is reported later."""
    files = (path for path in folder.rglob("*") if path.is_file() and path != folder / "requirements.txt")
    return not folder.is_dir() or any(files)


def own_requirements(spec: BuildSpec) -> Iterator[str]:
    """Yield the files of a project that would be the requirements of one function of several, the first that exists."""
    function = spec.function
    if not spec.key or spec.says_dependencies or function is None or function.build is not None:
        return
    if not function.runtimes[0].startswith("python"):
        return
    module = function.handler.rpartition(".")[0].replace(".", "/")
    for directory in (PurePosixPath(function.source_dir, module).parent, PurePosixPath(function.source_dir)):
        if str(directory) != "." or not spec.dependencies or spec.adds_own:
            yield from (str(directory / name) for name in spec.own_files)


def nothing_to_install(spec: BuildSpec, root: Path) -> bool:
    """Tell whether the requirements files of a function have no line that counts, as in new projects."""
    if not spec.dependencies or not all(entry.endswith(".txt") for entry in spec.dependencies):
        return False
    try:
        return not any(any(parse((root / entry).read_text(), entry)) for entry in spec.dependencies)
    except (LambdasmithError, OSError, ValueError):
        return False  # locking says what is wrong


def check_against_tree(spec: BuildSpec, root: Path, repository: Path | None = None) -> None:
    """Compare the names in `spec` with the project's directory `root`, which is in `repository`, or all of it.

    Files that a layer's `preinstall` may still make are not looked for.

    Raises:
        InvalidBuildFile: files are missing, a handler is not among the files, or paths leave the project; every problem
            as `file:line: key: what is wrong`.
        LfsMissing: all of that is right, but the content of files is not here.
    """
    lacking: list[LfsMissing] = []
    boundary = repository or root
    problems = [*_function_problems(spec, root, lacking, boundary), *_dependency_problems(spec, root, boundary)]
    for layer in spec.layers:
        label, made_later = f"layers.{layer.name}", bool(layer.preinstall)
        made_later = made_later or (bool(layer.build) and not layer.entries)
        directory = list(_directory_problems(spec, root, label, layer.source_dir, must_exist=not made_later))
        problems += directory
        if not directory and not made_later:
            problems += _file_problems(spec, root, label, layer, lacking, boundary)
    # Missing content of LFS files is reported last: usually it is not the user's mistake but the server's.
    if problems:
        raise invalid(spec.file, problems)
    if lacking:
        lacking[0].lacking = {path: said for error in reversed(lacking) for path, said in error.lacking.items()}
        raise lacking[0].with_message()


def _function_problems(spec: BuildSpec, root: Path, lacking: list[LfsMissing], boundary: Path) -> Iterator[str]:
    function = spec.function
    if function is None:
        return
    directory = list(_directory_problems(spec, root, "function", function.source_dir, must_exist=True))
    # One problem: with a wrong directory every file in it would be missing as well.
    if directory:
        yield from directory
        return
    missing = list(_file_problems(spec, root, "function", function, lacking, boundary))
    yield from missing
    if not function.ships_files:
        return
    there = [
        entry
        for position, entry in enumerate(function.entries)
        if isinstance(entry, str) and not any(f"function.files.{position}:" in problem for problem in missing)
    ]
    # Without any existing file the handler cannot be judged.
    if function.files and not there:
        return
    try:
        names = [name for name, _ in select_files(root, function.source_dir, there, function.left_out)]
        names += [
            name
            for entry in (() if missing else function.placed)
            for name, _ in placed_files(root / function.source_dir, entry.source, entry.to, boundary)
        ]
    except LfsMissing as error:
        lacking.append(_placed(error, spec.at("function.files")))
        return
    except LambdasmithError as error:
        if not missing:
            yield from (f"{spec.at('function.files')}: {problem}" for problem in error.problems or (error.message,))
        return
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        yield f"{spec.at('function.files')}: {', '.join(twice[:3])}: two files want this place in the zip"
    elif not names:
        yield f"{spec.at('function.exclude')}: excludes every file"
    elif makes_all(function.build):
        return  # its files exist only after the build
    elif problem := _handler_problem(function, names, root / function.source_dir, incomplete=bool(missing)):
        unsaid = "function.handler" not in spec.lines
        if unsaid and not (root / function.source_dir / "lambda_function.py").exists():
            problem = f"missing; name FILE.FUNCTION (without it {DEFAULT_HANDLER}, and there is no lambda_function.py)"
        yield f"{spec.at('function.handler')}: {problem}"


def _handler_problem(function: FunctionSpec, names: list[str], base: Path, *, incomplete: bool) -> str | None:
    family = RUNTIMES[function.runtimes[0]].family
    module, _, attribute = function.handler.rpartition(".")
    if family == "provided":
        return None
    if family == "python":
        stem = module.replace(".", "/")
        wanted = [f"{stem}.py", f"{stem}/__init__.py"]
        suffix = ".py"
    else:
        wanted = [f"{module}{ending}" for ending in (".js", ".mjs", ".cjs")]
        suffix = ".js"
    if set(wanted) & set(names):
        return None
    on_disk = [name for name in wanted if (base / name).is_file()]
    if on_disk:
        return f"{function.handler!r} is in {on_disk[0]}, which is not among the files; add it to function.files"
    if incomplete:
        return None  # it may be one of the missing files: one problem is enough
    modules = [name.removesuffix(suffix).removesuffix("/__init__") for name in names if name.endswith(suffix)]
    typed = next((name for name in (f"{module}.ts", f"{module}.mts") if name in names), "")
    if family == "nodejs" and typed:
        return f"{function.handler!r} needs {wanted[0]}; of {typed} it is made by build: {{node: {{bundle: {typed}}}}}"
    near = alike(wanted[0].removesuffix(suffix), modules)
    question = meant([f"{module.replace('/', '.')}.{attribute}" for module in near])
    return f"{function.handler!r} needs the file {wanted[0]}, which does not exist{question}"


def _dependency_problems(spec: BuildSpec, root: Path, boundary: Path) -> Iterator[str]:
    named = [spec.function.runtimes] if spec.function else [layer.runtimes for layer in spec.layers]
    runtime = named[0][0] if named else ""
    is_nodes = runtime.startswith("nodejs")
    for position, entry in enumerate(spec.dependencies):
        label = f"layers.dependencies.{position}" if _listed(spec) else "layers.dependencies"
        try:
            name, _, _ = split_entry(entry)
            path = directory_in(root, name, boundary)
        except LambdasmithError as error:
            yield f"{spec.at(label)}: {error.message}"
            continue
        # Otherwise uv or npm would fail over a file of the other language, far from its line here.
        if (path.name in (*NAMES, MANIFEST)) != is_nodes:
            wanted = "package-lock.json" if is_nodes else "requirements.txt or another Python file"
            yield f"{spec.at(label)}: {name!r} is not for {runtime}; name {wanted}"
            continue
        if is_nodes and name.startswith("../"):
            yield f"{spec.at(label)}: {name!r} leaves the project, which npm's files do not"
            continue
        if path.is_file():
            continue
        advice = nearest_path(root, name) or "; name files such as requirements.txt, not packages"
        yield f"{spec.at(label)}: {name!r} {'is a directory' if path.is_dir() else 'does not exist'}{advice}"


def _listed(spec: BuildSpec) -> bool:
    return "layers.dependencies.0" in spec.lines


def _directory_problems(spec: BuildSpec, root: Path, label: str, source_dir: str, *, must_exist: bool) -> Iterator[str]:
    where = spec.at(f"{label}.source_dir")
    try:
        base = directory_in(root, source_dir)
    except LambdasmithError as error:
        yield f"{where}: {error.message}"
        return
    if must_exist and not base.is_dir():
        yield f"{where}: {source_dir!r} is not a directory{nearest_path(root, source_dir)}"


def _placed(error: LfsMissing, where: str) -> LfsMissing:
    error.lacking = {path: f"{where}: {said}" for path, said in error.lacking.items()}
    return error


def _file_problems(
    spec: BuildSpec,
    root: Path,
    label: str,
    holder: FunctionSpec | LayerSpec,
    lacking: list[LfsMissing],
    boundary: Path,
) -> Iterator[str]:
    """Yield one problem for each entry that selects nothing, or something that must not be packaged."""
    entries: tuple[object, ...] = holder.entries
    for position, entry in enumerate(entries):
        key = f"{label}.files.{position}"
        where = spec.at(key if key in spec.lines else f"{label}.files")
        try:
            if isinstance(entry, Placed):
                placed_files(root / holder.source_dir, entry.source, entry.to, boundary)
            else:
                select_files(root, holder.source_dir, (str(entry),), ())
        except LfsMissing as error:
            lacking.append(_placed(error, where))
        except LambdasmithError as error:
            yield from (f"{where}: {problem}" for problem in error.problems or (error.message,))
