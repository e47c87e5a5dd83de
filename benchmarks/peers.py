"""The tools we are measured against, each used as its own documentation says, all for this machine's Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
PEERS = ("aws-sam-cli==1.170.0", "chalice", "pex", "pip", "wheel", "setuptools")
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
PLATFORM = "x86_64-manylinux_2_17" if sys.version_info < (3, 12) else "x86_64-manylinux_2_34"


@dataclass(frozen=True)
class Project:
    """A function with one source file and a requirements file, and a place for a tool's own files beside it."""

    root: Path
    state: Path


@dataclass(frozen=True)
class Tool:
    """`commands(project, out)` are run in turn; `artifacts(out)` are the zips that Lambda would get.

    `forget(project)` removes what an earlier run of another scenario left, but keeps downloaded wheels.
    """

    name: str
    commands: Callable[[Project, Path], list[list[str]]]
    artifacts: Callable[[Path], list[Path]]
    forget: Callable[[Project], None] = lambda _: None


def environment(state: Path, peers: Path) -> dict[str, str]:
    """For every tool: caches below `state`, this machine's proxy and certificates, its own tools first on the PATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    own = Path(sys.executable).parent
    return kept | {
        "PATH": os.pathsep.join([str(peers / "bin"), str(own), kept.get("PATH", "")]),
        "UV_CACHE_DIR": str(state / "uv"),
        "PIP_CACHE_DIR": str(state / "pip"),
        "PIP_NO_INPUT": "1",
        "SAM_CLI_TELEMETRY": "0",
        "AWS_DEFAULT_REGION": "us-east-1",
        "HOME": str(state),
    }


def install(folder: Path) -> Path:
    """A virtual environment with the peers, made once."""
    if not (folder / "done").exists():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--clear", "--quiet", "--python", sys.executable, str(folder)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python"), *PEERS], check=True)
        (folder / "done").touch()
    return folder


def _zips(out: Path) -> list[Path]:
    return sorted(out.rglob("*.zip"))


def _ours(project: Project, out: Path) -> list[list[str]]:
    cache = str(project.state / "ours")
    command = [sys.executable, "-m", "builder", "build", str(project.root), "-o", str(out), "--cache", cache, "--json"]
    return [["env", f"PYTHONPATH={_ROOT}", *command]]


def _forget_ours(project: Project) -> None:
    """Everything but wheels and uv's cache: what a project has when its wheels are known and nothing was built."""
    for folder in (project.state / "ours").rglob("*"):
        if folder.is_dir() and folder.name in ("parts", "artifacts", "components", "locks", "trials", "checks"):
            shutil.rmtree(folder, ignore_errors=True)


def _uv_zip(project: Project, out: Path) -> list[list[str]]:
    target = str(out / "package")
    install_command = ["uv", "pip", "install", "--quiet", "--target", target, "--python", sys.executable]
    install_command += ["--python-version", VERSION, "--python-platform", PLATFORM]
    install_command += ["--link-mode", "hardlink", "-r", str(project.root / "requirements.txt")]
    return [
        install_command,
        ["cp", str(project.root / "app.py"), target],
        ["sh", "-c", f"cd {target} && zip -q -r ../function.zip ."],
    ]


def _pip_zip(project: Project, out: Path) -> list[list[str]]:
    target = str(out / "package")
    return [
        ["python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--target", target, "-r", str(project.root / "requirements.txt")],
        ["cp", str(project.root / "app.py"), target],
        ["sh", "-c", f"cd {target} && zip -q -r ../function.zip ."],
    ]  # fmt: skip


def _wheelhouse(project: Project, out: Path) -> list[list[str]]:
    """The Makefile recipe: wheels into a directory, unzipped, `zip -9`."""
    house, target = str(out / "wheels"), str(out / "package")
    return [
        ["python", "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--wheel-dir", house,
         "-r", str(project.root / "requirements.txt")],
        ["sh", "-c", f"mkdir -p {target} && for w in {house}/*.whl; do unzip -q -o $w -d {target}; done"],
        ["cp", str(project.root / "app.py"), target],
        ["sh", "-c", f"cd {target} && zip -9 -q -r ../function.zip ."],
    ]  # fmt: skip


def _sam(project: Project, out: Path) -> list[list[str]]:
    template = project.state / "template.yaml"
    template.write_text(
        "AWSTemplateFormatVersion: '2010-09-09'\nTransform: AWS::Serverless-2016-10-31\nResources:\n  F:\n"
        "    Type: AWS::Serverless::Function\n    Properties:\n"
        f"      CodeUri: {project.root}\n      Handler: app.handler\n      Runtime: python{VERSION}\n"
    )
    build = ["sam", "build", "--template", str(template), "--build-dir", str(out / "sam"), "--no-use-container"]
    return [[*build[:-1]], ["sh", "-c", f"cd {out}/sam/F && zip -q -r ../../function.zip ."]]


def _pex(project: Project, out: Path) -> list[list[str]]:
    return [["pex", "-r", str(project.root / "requirements.txt"), "-D", str(project.root), "--no-build",
             "--pex-root", str(project.state / "pex"), "-o", str(out / "function.zip")]]  # fmt: skip


TOOLS = (
    Tool("lambdasmith", _ours, _zips, _forget_ours),
    Tool("uv + zip", _uv_zip, _zips),
    Tool("pip -t + zip", _pip_zip, _zips),
    Tool("wheelhouse + zip -9", _wheelhouse, _zips),
    Tool("sam build + zip", _sam, _zips),
    Tool("pex", _pex, _zips),
)


def unpacked(artifacts: list[Path], into: Path) -> Mapping[str, int]:
    """Unpack all artifacts as Lambda would into `into`; {zip bytes, unzipped bytes, files}."""
    sizes = {"zip": 0, "unzipped": 0, "files": 0}
    for artifact in artifacts:
        sizes["zip"] += artifact.stat().st_size
        with zipfile.ZipFile(artifact) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            sizes["files"] += len(infos)
            sizes["unzipped"] += sum(info.file_size for info in infos)
            archive.extractall(into)
    return sizes
