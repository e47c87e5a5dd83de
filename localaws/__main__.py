"""python -m localaws: serve the embedded AWS, print its environment, or serve git repositories."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

DEFAULT_PORT = 4599


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    match options.command:
        case "serve":
            return _serve(options)
        case "env":
            return _env(options)
        case _:
            return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m localaws", description=__doc__)
    parser.add_argument("-v", "--verbose", action="store_true", help="log every request and environment to stderr")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run the embedded AWS in the foreground")
    serve.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes any free port (default: %(default)s)")
    serve.add_argument("--state", type=Path, metavar="DIR", help="keep the account and the caches in DIR")
    serve.add_argument("--engine", choices=["own", "rie"], default="own")
    serve.add_argument("--isolation", choices=["auto", "bwrap", "plain"], default="auto")
    serve.add_argument("--enforce-iam", action="store_true")
    serve.add_argument("--pending", type=float, default=0.15, metavar="SECONDS")
    serve.add_argument("--forward-env", action="append", default=[], metavar="NAME")
    serve.add_argument("--forward-network", action="store_true")
    env = commands.add_parser("env", help="print the export lines that point AWS clients here")
    env.add_argument("--port", type=int, default=DEFAULT_PORT)
    return parser


def _serve(options: argparse.Namespace) -> int:
    from localaws.server import Options, Server

    server = Server(
        Options(
            port=options.port,
            state=options.state,
            engine=options.engine,
            isolation=options.isolation,
            enforce_iam=options.enforce_iam,
            pending_s=options.pending,
            forward_env=tuple(options.forward_env),
            forward_network=options.forward_network,
        )
    )

    def end(_signal: int, _frame: FrameType | None) -> None:
        threading.Thread(target=server.stop).start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    print(f"localaws ready at {server.url} (engine {options.engine}, isolation {server.fleet.isolation})", flush=True)
    try:
        server.serve()
    finally:
        server.close()
    return 0


def _env(options: argparse.Namespace) -> int:
    from localaws.environment import client_environment

    for name, value in client_environment(f"http://127.0.0.1:{options.port}").items():
        print(f"export {name}={value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
