"""Execution of functions: the only module of the execution side that the control plane imports.

fleet = Fleet(cache=Path("…"), engine="own", isolation="auto")
code = extract(Path("function.zip"), cache)
result = fleet.invoke(FunctionImage(code=code, …), b"{}", request_id="…", invoked_arn="…")
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Set
from functools import cache
from pathlib import Path
from typing import Literal

from localaws.runtime import interpreters, nodes
from localaws.runtime.callers import Callers
from localaws.runtime.directories import RuntimeDirs
from localaws.runtime.environments import Environment, OwnEnvironment, own_bootstrap
from localaws.runtime.images import Credentials, FunctionImage, InvokeResult, RuntimeUnavailable
from localaws.runtime.interpreters import Interpreter
from localaws.runtime.isolators import probe
from localaws.runtime.machines import ELF_HEAD_BYTES, elf_machine, machine_here
from localaws.runtime.memory import MemoryWatch
from localaws.runtime.pool import Pool
from localaws.runtime.rie import RieEnvironment, emulator_bind
from localaws.runtime.rootfs import Language, Roots, certificate_binds
from localaws.runtime.sandbox import Guest
from localaws.runtime.trees import BadArchive, extract, merge

__all__ = [
    "BadArchive",
    "Credentials",
    "Engine",
    "Fleet",
    "FunctionImage",
    "InvokeResult",
    "Isolation",
    "RuntimeUnavailable",
    "extract",
]

log = logging.getLogger(__name__)

Engine = Literal["own", "rie"]
Isolation = Literal["auto", "bwrap", "plain"]

_NOTHING: Mapping[str, str] = {}
# Those on Amazon Linux 2; all newer ones are on Amazon Linux 2023 (Lambda Developer Guide, lambda-runtimes).
_AL2 = {"python3.9", "python3.10", "python3.11", "provided.al2"}


class Fleet:
    """Execution environments of all functions.

    Thread-safe: each runs one invoke at a time, and more start under load.
    """

    isolation: Literal["bwrap", "plain"]
    why: str | None
    """Reason why "auto" fell back to plain children; None if it did not."""
    runtimes: Mapping[str, str]
    """Runtime names and what runs them here, `{"python3.13": "CPython 3.13.0 at …", "provided.al2023": "bootstrap"}`.

    For an unused nodejs runtime this may be that a Node.js will be installed."""

    def __init__(
        self,
        *,
        cache: Path,
        engine: Engine = "own",
        isolation: Isolation = "auto",
        forwarded: Mapping[str, str] = _NOTHING,
    ) -> None:
        """`forwarded` are further variables for functions; certificates that they name become visible inside.

        Raises RuntimeUnavailable when "bwrap" was asked for and does not work here.
        """
        self._cache = cache.absolute()
        self._cache.mkdir(parents=True, exist_ok=True)
        self._engine = engine
        self._forwarded = dict(forwarded)
        self._dirs = RuntimeDirs(self._cache)
        roots = Roots(self._cache, extra=certificate_binds(self._forwarded), environ=os.environ)
        try:
            self._isolator, self.why = probe(isolation, self._cache, roots)
        except OSError as error:
            raise RuntimeUnavailable(str(error)) from error
        self.isolation = self._isolator.kind
        self._interpreters, found = programs(frozenset(os.environ.items()))
        self._nodes = nodes.Nodes(found, self._dirs.node)
        self.runtimes = {
            **{f"python{version}": str(found) for version, found in self._interpreters.items()},
            **{f"nodejs{major}.x": what for major, what in self._nodes.described().items()},
            "provided.al2": "bootstrap",
            "provided.al2023": "bootstrap",
        }
        self._foreign: set[str] = set()
        self._memory = MemoryWatch()
        self._pool = Pool(self._open)
        self.callers = Callers()

    def invoke(
        self,
        image: FunctionImage,
        payload: bytes,
        *,
        request_id: str,
        invoked_arn: str,
        client_context: str | None = None,
    ) -> InvokeResult:
        """Run the function once and wait for it. `client_context` is the JSON text or its base64.

        Raises RuntimeUnavailable when nothing here can run `image.runtime`. An error of the function is an InvokeResult
        with `function_error`.
        """
        with self._pool.environment(image) as environment, self.callers.during(environment, request_id, payload):
            return environment.invoke(
                payload, request_id=request_id, invoked_arn=invoked_arn, client_context=client_context
            )

    def prepare(self, image: FunctionImage) -> None:
        """Prepare what does not depend on the invocation: the runtime's directory and the merged layers."""
        self._isolator.prepare(self._guest(image))

    def discard(self, arn: str) -> None:
        """Stop the environments of a function: idle ones now, busy ones after their invocation."""
        self._pool.discard(arn)

    def close(self) -> None:
        """End every child. Invocations that still run return an error."""
        # The pool first: until its environments have ended, the watch measures them.
        self._pool.close()
        self._memory.close()

    def _open(self, image: FunctionImage) -> Environment:
        make = OwnEnvironment if self._engine == "own" else RieEnvironment
        return make(image, self._guest(image), self._isolator, self._memory, forwarded=self._forwarded)

    def _guest(self, image: FunctionImage) -> Guest:
        if image.runtime not in self.runtimes:
            raise RuntimeUnavailable(_how_to_get(image.runtime))
        # Once for each function: a warning for every invoke would hide other lines.
        if image.architecture != machine_here() and image.arn not in self._foreign:
            self._foreign.add(image.arn)
            log.warning(
                "%s is for %s but runs on %s: code for that machine cannot be loaded",
                *(image.name, image.architecture, machine_here()),
            )
        language, runtime = self._language(image.runtime)
        guest = Guest(
            system="al2" if image.runtime in _AL2 else "al2023",
            language=language,
            runtime=runtime,
            code=image.code,
            opt=merge(image.layers, self._cache),
            ephemeral_mb=image.ephemeral_mb,
            extra=(emulator_bind(self._dirs.emulator()),) if self._engine == "rie" else (),
        )
        _refuse_foreign(image, guest)
        return guest

    def _language(self, runtime: str) -> tuple[Language | None, Path | None]:
        """Return the contents of `/var/lang` and `/var/runtime`."""
        if major := nodes.major_of(runtime):
            node = self._nodes.get(major)
            self.runtimes = {**self.runtimes, runtime: self._nodes.described()[major]}
            return node, self._dirs.nodejs_runtime(major)
        interpreter = self._interpreters.get(runtime.removeprefix("python"))
        return interpreter, self._dirs.runtime(interpreter) if interpreter else None


@cache
def programs(environ: Set[tuple[str, str]]) -> tuple[Mapping[str, Interpreter], Mapping[str, nodes.Node]]:
    """Return the CPythons and Node.js of this machine: all are run to ask for their versions, so this takes a while."""
    return interpreters.find(dict(environ)), nodes.find(dict(environ))


def _refuse_foreign(image: FunctionImage, guest: Guest) -> None:
    """Raise RuntimeUnavailable for a bootstrap that Lambda would run and this machine cannot."""
    if guest.language or not (bootstrap := own_bootstrap(guest)):
        return
    with bootstrap.open("rb") as stream:
        machine = elf_machine(stream.read(ELF_HEAD_BYTES))
    if machine == image.architecture and machine != machine_here():
        raise RuntimeUnavailable(
            f"the bootstrap of {image.name} is a program for {machine}: Lambda would run it, this {machine_here()} "
            f"machine cannot; build it for {machine_here()} to try it here"
        )


def _how_to_get(runtime: str) -> str:
    version = runtime.removeprefix("python")
    if version in interpreters.VERSIONS:
        return f"no CPython {version} was found for {runtime}; install one, for example: uv python install {version}"
    return (
        f"{runtime} cannot run here; there are python3.9 to python3.14, nodejs20.x, nodejs22.x, nodejs24.x, provided.*"
    )
