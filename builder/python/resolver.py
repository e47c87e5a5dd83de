"""uv as a program: its path, its settings and its indexes."""

from __future__ import annotations

import functools
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from builder.errors import CommandFailed, InvalidConfiguration, ResolutionFailed
from builder.network.access import GitCredentials, Network
from builder.python.inputs import Inputs
from builder.runtimes import Target
from builder.secrets.indexes import NO_LOGINS, Indexes
from builder.system import process


@dataclass(frozen=True, kw_only=True)
class Resolver:
    """Context of a resolution, besides the inputs.

    Args:
        root: the project's directory.
        repository: the repository's directory, None if it is `root`.
        scratch: an existing directory for files in between.
        environment: of children: cache directory, index, trust store.
        timeout_s: seconds, for all of it.
        credentials: of git dependencies; read only if there is one.
        network: the hosts that those may reach.
        indexes: those with a login, which a gateway adds, so that uv does not know it.
        refresh: ask the index even if an earlier response is still valid in the cache.
        note: receives remarks on the result.
    """

    root: Path
    scratch: Path
    environment: Mapping[str, str]
    timeout_s: float
    credentials: Callable[[], Sequence[GitCredentials]] = tuple
    network: Network = field(default_factory=Network)
    indexes: Indexes = NO_LOGINS
    refresh: bool = False
    repository: Path | None = None
    note: Callable[[str], None] = field(default=lambda _: None)


def uv_binary(search_path: str) -> str:
    """Return the uv binary of our layer (/opt/bin) or of this Python's environment."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv", path=search_path)
    if found is None:
        raise ResolutionFailed("uv is not in the builder's layer", hint="run `python setup.py update`")
    return found


def resolver_version() -> str:
    """Return the resolver's version, for keys: a new uv may choose other versions."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"uv {version('uv')}"
    except PackageNotFoundError:
        return "none"


def is_own(target: Target) -> bool:
    """Return whether code compiled here, for this Python and machine, runs on `target`."""
    return target.runtime.python == sys.version_info[:2] and target.machine == os.uname().machine


def default_index(by: Resolver) -> str:
    """Return uv's default index, as uv itself reports it; "" if it does not."""
    return by.environment.get("UV_DEFAULT_INDEX") or by.environment.get("UV_INDEX_URL") or public_index(by)


def named_indexes(environment: Mapping[str, str]) -> str:
    """Return the indexes that the environment names, for keys: another index may have other files."""
    return " ".join(filter(None, map(environment.get, ("UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL"))))


def refuse_unread(environment: Mapping[str, str]) -> None:
    """Return unless the environment forbids asking an index.

    Raises:
        InvalidConfiguration: it does; ignoring that would ask an index that was not meant.
    """
    if environment.get("PIP_NO_INDEX", "").lower() not in ("", "0", "false", "no", "off"):
        raise InvalidConfiguration(
            "PIP_NO_INDEX is set, but dependencies are looked up in indexes anyway",
            hint="write --no-index in the requirements file, and unset PIP_NO_INDEX",
        )


def public_index(by: Resolver) -> str:
    """Return the built-in index of uv, on which anyone may publish under any free name.

    "" if it knows none.
    """
    # Without the variables that name another index.
    environment = tuple((name, value) for name, value in sorted(by.environment.items()) if "INDEX" not in name)
    return _uvs_own_index(uv_binary(by.environment.get("PATH", "")), environment)


@functools.lru_cache(maxsize=4)
def _uvs_own_index(uv: str, environment: tuple[tuple[str, str], ...]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "nothing.in"
        empty.touch()
        command = [uv, "pip", "compile", empty.name, "--emit-index-url", "--quiet", "--no-config", "--no-header"]
        command += ["--python", sys.executable, "--output-file", "nothing.txt"]
        try:
            process.run(
                command, cwd=empty.parent, environment=dict(environment), timeout_s=10, what="asking uv", trusted=True
            )
        except CommandFailed:
            return ""
        text = (empty.parent / "nothing.txt").read_text()
    found = re.search(r"^--(?:default-)?index(?:-url)? (\S+)", text, re.MULTILINE)
    return found[1] if found else ""


def indexes(inputs: Inputs, by: Resolver) -> list[str]:
    """Return the URLs of the indexes to ask: the first that knows a name provides all its versions.

    They are in the order in which the project writes them, --index-url first, then those that the environment adds,
    and last the default that the project does not write. But an index of the operator's configuration comes before
    others, and the public one, which anyone may publish on, after all others: pip takes the highest version of any
    index, so these files promise no order, and no one must be able to take over a private name by registering it in
    public.
    """
    options = inputs.options
    if options.no_index:
        return []
    last = "" if options.index_url else default_index(by)
    extra = by.environment.get("UV_EXTRA_INDEX_URL", "").split()
    written = [url for url in (options.index_url, *options.extra_index_urls, *extra, last) if url]
    once: dict[str, str] = {}
    for url in written:
        once.setdefault(url.rstrip("/"), url)
    if len(once) < 2:
        return list(once.values())
    public = urlsplit(public_index(by)).hostname

    def rank(url: str) -> int:
        if by.indexes.knows(url):
            return 0
        return 2 if urlsplit(url).hostname == public else 1

    return sorted(once.values(), key=rank)
