"""uv as a program: where it is, what it is given, which indexes it asks."""

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
    """What resolving needs besides the inputs.

    Args:
        root: the project's directory. repository: the directory that it is in, None for none but itself.
        scratch: an existing directory for files in between.
        environment: of children: cache directory, index, trust store.
        timeout_s: seconds, for all of it.
        credentials: of git dependencies; asked for only where there is one. network: what those may reach.
        indexes: those that want a login; uv gets it from a gateway, and does not know it.
        anew: ask the index even where it allowed an earlier answer to be kept for longer.
        note: is told what should be known of the outcome.
    """

    root: Path
    scratch: Path
    environment: Mapping[str, str]
    timeout_s: float
    credentials: Callable[[], Sequence[GitCredentials]] = tuple
    network: Network = field(default_factory=Network)
    indexes: Indexes = NO_LOGINS
    anew: bool = False
    repository: Path | None = None
    note: Callable[[str], None] = field(default=lambda _: None)


def uv_binary(search_path: str) -> str:
    """The uv binary of our layer (/opt/bin) or of the environment that this Python belongs to."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv", path=search_path)
    if found is None:
        raise ResolutionFailed("uv is not in the builder's layer", hint="run `python setup.py update`")
    return found


def resolver_version() -> str:
    """What resolves, for keys: a new uv may choose other versions."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"uv {version('uv')}"
    except PackageNotFoundError:
        return "none"


def is_own(target: Target) -> bool:
    """Whether what is compiled here, for this Python and machine, runs on `target`."""
    return target.runtime.python == sys.version_info[:2] and target.machine == os.uname().machine


def default_index(by: Resolver) -> str:
    """The index that is asked where nobody names one, as uv itself says it; "" if it does not."""
    return by.environment.get("UV_DEFAULT_INDEX") or by.environment.get("UV_INDEX_URL") or public_index(by)


def named_indexes(environment: Mapping[str, str]) -> str:
    """The indexes that the environment names, for keys: others may have other files."""
    return " ".join(filter(None, map(environment.get, ("UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL"))))


def refuse_unread(environment: Mapping[str, str]) -> None:
    """Return unless the environment says that no index is to be asked.

    Raises:
        InvalidConfiguration: it does; to pass over that would be to ask one that was not meant.
    """
    if environment.get("PIP_NO_INDEX", "").lower() not in ("", "0", "false", "no", "off"):
        raise InvalidConfiguration(
            "PIP_NO_INDEX is set, but dependencies are looked up in indexes anyway",
            hint="write --no-index in the requirements file, and unset PIP_NO_INDEX",
        )


def public_index(by: Resolver) -> str:
    """The index that uv knows by itself, where anyone may publish under any name that is free; "" if it knows none."""
    # Without the variables that name another one.
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
    """The URLs of the indexes that are asked: what the first that knows a name has of it is all there is.

    They are in the order in which the project writes them, --index-url first, then those that the environment adds,
    and last the default that the project does not write. But an index of the operator's configuration comes before
    others, and the public one, which anyone may publish on, after all others: pip takes the highest version of any
    index, so these files promise no order, and a private name must not be taken over by whoever registers it in
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
