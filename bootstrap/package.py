"""Uploads: the function's zip and the starter layer, the same bytes for the same source."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from builder import __version__
from builder.archives.zips import Entry, write_zip
from builder.errors import CommandFailed
from builder.network.untrusted import explained
from builder.sources.excludes import Excludes
from builder.system.process import run

_ROOT = Path(__file__).resolve().parent.parent
_BUILDER = _ROOT / "builder"
_LOCK = _BUILDER / "requirements.lock"
_FAN_OUT = Path(__file__).resolve().parent / "fan_out.asl.json"
_STARTER_LOCK = Path(__file__).resolve().parent / "starter.lock"
# boto3 and all its dependencies: half of them from the runtime would mix versions.
_STARTER = ("boto3", "botocore", "jmespath", "pip", "python-dateutil", "s3transfer", "six", "urllib3")
# botocore's models of 400 other services take 27 of its 31 MB.
_SERVICES = ("codeartifact", "iam", "kms", "lambda", "logs", "s3", "secretsmanager", "signer", "ssm", "sts")
# Same name as the real module, so that `import dulwich` in the builder says what is missing instead of failing.
_PLACEHOLDER = b'"""Stands in until `setup` has installed the real one."""\n\n__lambdasmith_placeholder__ = True\n'
_PLACEHOLDERS = ("dulwich", "yaml")
# Raise this number when the starter layer is made differently from the same inputs.
_STARTER_FORMAT = "1"
_DOWNLOAD_TIMEOUT_S = 300


@dataclass(frozen=True, kw_only=True)
class Package:
    """The builder as this checkout has it. Keys are hex sha256, `code_sha256` has Lambda's spelling."""

    code: bytes = field(repr=False)
    code_sha256: str
    layer_key: str
    starter_key: str


def package() -> Package:
    """Make the function's zip, and the keys that decide whether the layers in the account are current."""
    buffer = io.BytesIO()
    write_zip(buffer, function_entries(_BUILDER))
    code = buffer.getvalue()
    starter = "\0".join((_STARTER_FORMAT, *_SERVICES, starter_requirements()))
    return Package(
        code=code,
        code_sha256=code_sha256(code),
        layer_key=hashlib.sha256(_LOCK.read_bytes()).hexdigest(),
        starter_key=hashlib.sha256(starter.encode()).hexdigest(),
    )


def code_sha256(content: bytes) -> str:
    """Return the hash of a zip in the spelling of Lambda's CodeSha256."""
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def function_entries(builder: Path) -> Iterator[Entry]:
    """Return the entries of the function's zip, from the directory of the builder's source."""
    excludes = Excludes("")  # a checkout is where people work, so it may contain caches and editors' files
    for path in sorted(builder.rglob("*")):
        name = path.relative_to(builder.parent).as_posix()
        if path.is_file() and not path.name.startswith(".") and not excludes.group_of(name):
            yield Entry(name=name, source=path)


def write_package(
    out: Path, *, runtime: str, work: Path, environment: Mapping[str, str], index_url: str | None
) -> dict[str, str]:
    """Write the files with which other tools set the builder up to `out`: the same bytes for the same source.

    `builder.zip` is the function's code, `starter.zip` its first layer, `package.json` describes them, and
    `fan_out.asl.json` defines the state machine that has many functions made at a time.

    Args:
        work: an empty directory for downloads; the caller removes it.

    Returns:
        the contents of `package.json`: version, runtime, code_sha256, starter_sha256, layer_key.

    Raises:
        CommandFailed: the download failed.
    """
    built = package()
    starter = work / "starter.zip"
    starter_layer(starter, runtime=runtime, work=work, environment=environment, index_url=index_url)
    facts = {
        "version": __version__,
        "runtime": runtime,
        "code_sha256": built.code_sha256,
        "starter_sha256": code_sha256(starter.read_bytes()),
        "layer_key": built.layer_key,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "builder.zip").write_bytes(built.code)
    shutil.copyfile(starter, out / "starter.zip")
    shutil.copyfile(_FAN_OUT, out / _FAN_OUT.name)
    (out / "package.json").write_text(json.dumps(facts, indent=2) + "\n")
    return facts


def starter_requirements() -> str:
    """Return the starter layer's distributions, pinned with hashes.

    Raises:
        LookupError: a lock lacks one of them, which is a bug in this checkout.
    """
    blocks: dict[str, str] = {}
    for lock in (_LOCK, _STARTER_LOCK):
        for block in re.split(r"\n(?=\S)", lock.read_text()):
            blocks[block.partition("==")[0].strip()] = block.strip()
    missing = [name for name in _STARTER if name not in blocks]
    if missing:
        raise LookupError(f"{_LOCK.name} and {_STARTER_LOCK.name} lack {', '.join(missing)}")
    return "".join(f"{blocks[name]}\n" for name in _STARTER)


def starter_layer(
    out: Path, *, runtime: str, work: Path, environment: Mapping[str, str], index_url: str | None
) -> None:
    """Download the contents of the starter layer and write its zip to `out`.

    Everything in it is pure Python, so one zip fits both architectures.

    Args:
        work: an empty directory for downloads; the caller removes it.
        environment: the operator's: its proxy, certificates and package index are used.

    Raises:
        UntrustedCertificate: the index's.
        CommandFailed: the download failed; `log_tail` has uv's words.
    """
    requirements, target = work / "starter.txt", work / "python"
    requirements.write_text(starter_requirements())
    command = [_uv(), "pip", "install", "--python", sys.executable, "--target", str(target), "--no-deps"]
    command += ["--python-version", runtime.removeprefix("python"), "--python-platform", "x86_64-manylinux2014"]
    command += ["--only-binary", ":all:", "--require-hashes", "--requirement", str(requirements)]
    try:
        run(
            command,
            cwd=work,
            environment=_uv_environment(environment, index_url),
            timeout_s=_DOWNLOAD_TIMEOUT_S,
            what="downloading boto3 and pip for the starter layer",
        )
    except CommandFailed as error:
        raise explained("\n".join(error.log_tail)) or error from None
    with out.open("wb") as file:
        write_zip(file, _starter_entries(target))


def _uv() -> str:
    from uv import find_uv_bin

    return os.fsdecode(find_uv_bin())


def _uv_environment(environment: Mapping[str, str], index_url: str | None) -> dict[str, str]:
    """Return the operator's environment without its secrets, and with pip's index if uv has none."""
    kept = {name: value for name, value in environment.items() if not name.startswith(("AWS_", "LAMBDASMITH_"))}
    if index_url:
        kept["UV_DEFAULT_INDEX"] = index_url
    elif "PIP_INDEX_URL" in kept and not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & kept.keys():
        kept["UV_DEFAULT_INDEX"] = kept["PIP_INDEX_URL"]
    # Installer metadata contains the path of the download; without it the same wheels give the same tree.
    return kept | {"UV_NO_INSTALLER_METADATA": "1", "UV_NO_PROGRESS": "1"}


def _starter_entries(target: Path) -> Iterator[Entry]:
    data = target / "botocore" / "data"
    for path in target.rglob("*"):
        relative = path.relative_to(target)
        if not path.is_file() or relative.parts[0] in (".lock", "bin") or "__pycache__" in relative.parts:
            continue
        within = path.relative_to(data).parts if path.is_relative_to(data) else ()
        if len(within) > 1 and (within[0] not in _SERVICES or path.name.startswith("examples-")):
            continue
        yield Entry(name=f"python/{relative.as_posix()}", source=path)
    for name in _PLACEHOLDERS:
        yield Entry(name=f"python/{name}/__init__.py", source=_PLACEHOLDER)
