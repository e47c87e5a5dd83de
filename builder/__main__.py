"""The entry point on a workstation: python -m builder build DIR -o OUT, check DIR, cache, schema NAME."""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from builder import __version__
from builder.errors import LambdasmithError, OutOfSpace
from builder.network import authorities
from builder.runtimes import MACHINES, RUNTIMES
from builder.schemas import NAMES

if TYPE_CHECKING:
    from builder.flow.workstation import Order
    from builder.progress import Progress
    from builder.replies.machines import CacheState
    from builder.replies.reply import Reply

_BUILD = """\
Build DIR into OUT/function.zip, OUT/layers/NAME.zip and OUT/build.json (the reply), without AWS. Each of several
functions gets a directory of its own, OUT/FUNCTION.
"""
_EPILOG = """\
The zips have the same bytes as those that the builder function makes from the same commit. To compile bytecode, the
function's Python has to be on this machine; to try the handler, run this command with it. In a git work tree, the files
that git has or would add are built, including uncommitted changes; elsewhere everything in DIR.

exit status: 0 done · 2 a flag or setting · 3 the build file · 5 the source · 6 dependencies · 7 building or checking ·
8 no disk space · 130 interrupted. With --json the reply is on stdout whatever the outcome.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    given = _parser().parse_args(arguments)
    if given.command == "schema":
        from builder.schemas import schema_text

        print(schema_text(given.name), end="")
        return 0
    from builder.flow import report
    from builder.flow.reply import account, failure
    from builder.progress import Progress
    from builder.terminal import Terminal

    authorities.settle(os.environ)
    terminal = Terminal(sys.stderr, os.environ)
    progress = Progress(terminal)
    try:
        reply = {"check": _check, "build": _build, "cache": _cache_command}[given.command](given, progress)
    except KeyboardInterrupt:
        terminal.line("interrupted; nothing was written")
        return 130
    except LambdasmithError as error:
        reply = failure(error) | account(progress)
        terminal.failed(report.explained({**reply["error"], "code": ""}))
        status = error.exit_code
    else:
        status = 0
    finally:
        terminal.clear()
    for warning in progress.warnings:
        terminal.warn(warning)
    if given.json:
        print(json.dumps(reply, indent=2))
    elif status == 0:
        # Warnings are on stderr already.
        Terminal(sys.stdout, os.environ).show(report.rendered({**reply, "warnings": []}, out=given.out))
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m builder", description="Build AWS Lambda functions and layers.")
    parser.add_argument("--version", action="version", version=f"lambdasmith {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    build = commands.add_parser(
        "build",
        help="build a directory into zips, without AWS",
        description=_BUILD,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    build.add_argument("directory", metavar="DIR", nargs="?", default=".", help="the project; default: this directory")
    build.add_argument("components", metavar="NAME", nargs="*", help="only these components or functions; default: all")
    build.add_argument("-o", "--out", metavar="OUT", default="out", help="where the zips go; default: out")
    build.add_argument("--runtime", choices=sorted(RUNTIMES), metavar="R", help="instead of the build file's")
    build.add_argument("--architecture", choices=sorted(MACHINES), help="instead of the build file's")
    build.add_argument("--cache", metavar="DIR", help="default: $XDG_CACHE_HOME/lambdasmith, or ~/.cache/lambdasmith")
    build.add_argument("--force", action="store_true", help="build and resolve again, even what the cache has")
    build.add_argument("--json", action="store_true", help="the reply on stdout instead of a summary")
    check = commands.add_parser(
        "check",
        help="check a build file, and build nothing",
        description="Check DIR's build file against the files in DIR, and build nothing.",
        epilog="exit status: 0 nothing is wrong · 3 the build file · 5 the directory",
    )
    check.add_argument("directory", metavar="DIR", nargs="?", default=".", help="the project; default: this directory")
    check.add_argument("--json", action="store_true", help="the answer on stdout as JSON")
    for each in (build, check):
        _add_file_options(each)
    check.set_defaults(components=(), out="out", runtime=None, architecture=None, cache=None, force=False)
    cache = commands.add_parser(
        "cache",
        help="show the size of this machine's build cache, or clear it",
        description="Show the size of the cache, by kind; with --clear, remove all of it.",
        epilog="The environment variable LAMBDASMITH_CACHE_MB limits its size, 5000 by default: the least recently "
        "used entries are removed first. exit status: 0 done · 2 a build uses it",
    )
    cache.add_argument("--cache", metavar="DIR", help="default: $XDG_CACHE_HOME/lambdasmith, or ~/.cache/lambdasmith")
    cache.add_argument("--clear", action="store_true", help="remove everything; the next build makes it again")
    cache.add_argument("--json", action="store_true", help="the answer on stdout as JSON")
    cache.set_defaults(out="")
    schema = commands.add_parser(
        "schema",
        help="print the JSON Schema of the build file, the event or the reply",
        description="Print a JSON Schema (draft 7): of the build file, for editors; of the event, of the reply.",
    )
    schema.add_argument("name", choices=NAMES, nargs="?", default="build", help="default: build")
    return parser


def _add_file_options(parser: argparse.ArgumentParser) -> None:
    names = "in DIR; default: build.yaml, build.yml or build.json, else template.yaml, template.yml or template.json"
    parser.add_argument("--build-file", "--template", dest="build_file", metavar="FILE", help=names)
    parser.add_argument("--stage", default="", metavar="STAGE", help="one of the build file's stages; default: none")
    value = "value of a template's parameter, instead of its default; may be repeated"
    parser.add_argument("--parameter", action="append", type=_parameter, default=[], metavar="K=V", help=value)


def _parameter(given: str) -> tuple[str, str]:
    name, sign, value = given.partition("=")
    if not name or not sign:
        raise argparse.ArgumentTypeError("must be NAME=VALUE")
    return name, value


def _order(given: argparse.Namespace) -> Order:
    from builder.flow.workstation import Order

    return Order(
        directory=Path(given.directory),
        out=Path(given.out),
        cache=_cache(given, os.environ),
        build_file=given.build_file,
        components=tuple(given.components),
        stage=given.stage,
        parameters=tuple(sorted(given.parameter)),
        runtime=given.runtime,
        architecture=given.architecture,
        force=given.force,
    )


def _check(given: argparse.Namespace, progress: Progress) -> Reply:
    from builder.flow.reply import account
    from builder.flow.workstation import look

    projects = look(_order(given), progress)
    names = [
        f"{project.spec.key}/{name}" if project.spec.key else name for project in projects for name in project.names
    ]
    answer: Reply = {"statusCode": 200, "build_file": projects[0].spec.file, "components": names}
    return answer | account(progress)


def _build(given: argparse.Namespace, progress: Progress) -> Reply:
    from builder.flow.workstation import build

    try:
        return build(_order(given), progress, os.environ)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise OutOfSpace(
            "the disk is full", hint="free some space, or use another disk with --cache and TMPDIR"
        ) from error


def _cache_command(given: argparse.Namespace, progress: Progress) -> Reply:
    from builder.flow.reply import account
    from builder.workspace import local_cache

    folder = _cache(given, os.environ)
    before = local_cache.usage(folder)
    if given.clear:
        local_cache.clear(folder)
    state: CacheState = {
        "place": str(folder),
        "cleared": given.clear,
        "bytes": sum(each.bytes for each in before),
        "limit": local_cache.limit_bytes(os.environ),
        "kinds": [{"kind": each.kind, "files": each.files, "bytes": each.bytes} for each in before],
    }
    answer: Reply = {"statusCode": 200, "cache": state}
    return answer | account(progress)


def _cache(given: argparse.Namespace, environment: Mapping[str, str]) -> Path:
    if given.cache:
        return Path(given.cache).absolute()
    base = environment.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "lambdasmith"


if __name__ == "__main__":
    sys.exit(main())
