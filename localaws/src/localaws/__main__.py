"""python -m localaws: serve the embedded AWS, print its environment, or serve git repositories."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Protocol

from localaws.environment import client_environment

if TYPE_CHECKING:
    from localaws.interception.faults import Fault

DEFAULT_PORT = 4599
TOKEN_VARIABLE = "LOCALAWS_GIT_TOKEN"  # noqa: S105 (a name)

_DESCRIPTION = """\
An AWS account on this machine: Lambda that really runs functions, beside moto's S3, IAM, SQS, Logs and the rest.
Listens on 127.0.0.1 only. Account 123456789012, region us-east-1, keys test/test."""


class _Endless(Protocol):
    """A bound server."""

    def serve_forever(self) -> None: ...

    def shutdown(self) -> None: ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        return command(options)
    except (OSError, RuntimeError) as error:
        print(f"localaws: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m localaws", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log requests and environments to stderr")
    parser.add_argument("--until-eof", action="store_true", help="also end when standard input does, with its writer")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands.add_parser("serve", help="run the embedded AWS in the foreground until Ctrl-C"))
    env = commands.add_parser("env", help="print export lines that point boto3, the AWS CLI and Terraform at it")
    env.add_argument("--port", type=int, default=DEFAULT_PORT, help="port of the server (default: %(default)s)")
    env.set_defaults(run=_env)
    git = commands.add_parser("git", help="serve the bare repositories under a directory over smart HTTP")
    git.add_argument("--root", type=Path, required=True, metavar="DIR", help="directory with the bare repositories")
    git.add_argument("--port", type=int, default=4600, help="0 takes any free port (default: %(default)s)")
    git.add_argument(
        "--token",
        help=f"password that makes everything private; {TOKEN_VARIABLE} in the environment keeps it out of `ps`",
    )
    git.set_defaults(run=_git)
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_serve)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes any free port (default: %(default)s)")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--state", type=Path, metavar="DIR", help="keep the account and all caches in DIR")
    place.add_argument(
        "--copy-of", type=Path, metavar="DIR", help="begin with what is kept in DIR, and leave that as it is"
    )
    parser.add_argument(
        "--engine", choices=["own", "rie"], default="own", help="our Runtime API, or AWS's emulator (default: own)"
    )
    parser.add_argument(
        "--isolation",
        choices=["auto", "bwrap", "plain"],
        default="auto",
        help="bubblewrap, plain child processes, or bubblewrap where it works (default: auto)",
    )
    parser.add_argument("--enforce-iam", action="store_true", help="hold everybody but test/test to their policies")
    parser.add_argument(
        "--pending",
        type=float,
        default=0.15,
        metavar="SECONDS",
        help="how long functions stay Pending after a create and InProgress after an update (default: %(default)s)",
    )
    parser.add_argument(
        "--rate-limits", action="store_true", help="throttle the control plane of Lambda at AWS's rates"
    )
    parser.add_argument(
        "--faults", type=Path, metavar="FILE", help="a JSON list of faults that happen to functions' calls of AWS"
    )
    parser.add_argument(
        "--forward-env", action="append", default=[], metavar="NAME", help="let a variable of yours into functions"
    )
    parser.add_argument(
        "--forward-network",
        action="store_true",
        help="let your CA bundles, proxies and package registries (pip, uv, go, npm, cargo) into functions",
    )


def _serve(options: argparse.Namespace) -> int:
    from localaws.serving.server import Options, Server

    server = Server(
        Options(
            port=options.port,
            state=options.state,
            copy_of=options.copy_of,
            engine=options.engine,
            isolation=options.isolation,
            enforce_iam=options.enforce_iam,
            pending_s=options.pending,
            rate_limits=options.rate_limits,
            faults=_faults(options.faults),
            forward_env=tuple(options.forward_env),
            forward_network=options.forward_network,
        )
    )
    try:
        fleet = server.fleet
        if fleet.why:
            print(f"localaws: functions run as plain child processes: {fleet.why}", file=sys.stderr)
        for runtime, found in fleet.runtimes.items():
            print(f"localaws: {runtime}: {found}", file=sys.stderr)
        facts = f"engine {options.engine}, isolation {fleet.isolation}, IAM {'on' if options.enforce_iam else 'off'}"
        facts += f", operator token in {server.token_file.absolute()}" if server.token_file else ""
        _until_told(server, f"localaws ready at {server.url} ({facts})", until_eof=options.until_eof)
    finally:
        server.close()
    return 0


def _faults(file: Path | None) -> tuple[Fault, ...]:
    """Return the faults in a file.

    Raises:
        RuntimeError: it is not a JSON list of faults.
    """
    from localaws.interception.faults import Fault

    try:
        return tuple(Fault.parse(one) for one in json.loads(file.read_text())) if file else ()
    except (ValueError, TypeError) as error:
        raise RuntimeError(f"--faults {file}: {error}") from error


def _env(options: argparse.Namespace) -> int:
    for name, value in client_environment(f"http://127.0.0.1:{options.port}").items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _git(options: argparse.Namespace) -> int:
    from localaws.git import GitServer

    if not options.root.is_dir():
        raise FileNotFoundError(f"--root {options.root} is not a directory")
    token = options.token or os.environ.get(TOKEN_VARIABLE) or None
    with GitServer(options.root, port=options.port, token=token) as server:
        ready = f"git serving {options.root} at {server.url} ({'private' if token else 'public'})"
        _until_told(server, ready, until_eof=options.until_eof)
    return 0


def _until_told(server: _Endless, ready: str, *, until_eof: bool) -> None:
    """Print the ready line and serve until SIGINT or SIGTERM, or until standard input ends."""

    def end(_signal: int, _frame: FrameType | None) -> None:
        # From another thread: shutdown waits for serve_forever, and this handler has interrupted just that.
        threading.Thread(target=server.shutdown).start()

    def end_with_writer() -> None:
        # A writer that is killed cannot say so, but the kernel closes its end of the pipe. Unbuffered: at the end of
        # the process nobody waits for the lock of a buffer that this thread holds.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        server.shutdown()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    if until_eof:
        threading.Thread(target=end_with_writer, daemon=True).start()
    print(ready, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
