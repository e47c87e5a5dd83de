"""The tools that we compare with, each used as documented, all for this machine's Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
SAM = "aws-sam-cli==1.170.0"
PEERS = (SAM, "chalice==1.34.0", "pex==2.105.2", "pip==26.2.1", "wheel", "setuptools")
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
PLATFORM = "x86_64-manylinux_2_17" if sys.version_info < (3, 12) else "x86_64-manylinux_2_34"


@dataclass(frozen=True, kw_only=True)
class Project:
    """A function with app.py and requirements.txt in `root`; caches and a tool's own files are below `state`."""

    root: Path
    state: Path


@dataclass(frozen=True, kw_only=True)
class Tool:
    """`commands(project, out)` are run in turn and leave the zips that Lambda would get in `out`.

    `prepare(project, handler)` writes what the tool wants beside app.py and requirements.txt, or instead of them, given
    app.py's text. `forget(project)` removes what an earlier build left, but keeps downloaded wheels; a tool without it
    keeps nothing, and so does the same work whether something has changed or not. `before_imports` is what has to be
    imported before the handler.
    """

    name: str
    commands: Callable[[Project, Path], list[list[str]]]
    prepare: Callable[[Project, str], None] = lambda project, handler: _write(project.root / "app.py", handler)
    forget: Callable[[Project], None] | None = None
    before_imports: str = ""


def environment(state: Path, peers: Path) -> dict[str, str]:
    """Return every tool's environment: caches below `state`, our proxy and certificates, its tools first on PATH."""
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


def install(folder: Path, packages: Sequence[str] = PEERS) -> Path:
    """Make a virtual environment with the peers, once per Python and set of peers."""
    done, wanted = folder / "done", "\n".join((sys.version, *packages))
    if not done.exists() or done.read_text() != wanted:
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--clear", "--quiet", "--python", sys.executable, str(folder)], check=True)
        into = ["--python", str(folder / "bin/python"), "--compile-bytecode"]
        subprocess.run([uv, "pip", "install", "--quiet", *into, *packages], check=True)
        done.write_text(wanted)
    return folder


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _build_file(project: Project, handler: str, more: str = "") -> None:
    layers = "layers:\n  dependencies: [requirements.txt]\n" if (project.root / "requirements.txt").read_text() else ""
    _write(project.root / "app.py", handler)
    _write(
        project.root / "build.yaml",
        f"function:\n  runtimes: [python{VERSION}]\n  handler: app.handler\n  files: [app.py]\n{layers}{more}",
    )


def _bare_build_file(project: Project, handler: str) -> None:
    _build_file(project, handler, "bytecode: false\n")


def _ours(project: Project, out: Path) -> list[list[str]]:
    cache = str(project.state / "ours")
    command = [sys.executable, "-m", "builder", "build", str(project.root), "-o", str(out), "--cache", cache, "--json"]
    return [["env", f"PYTHONPATH={_ROOT}", *command]]


def _forget_ours(project: Project) -> None:
    """Remove everything except wheels, also those built from sources, and the caches of uv and pip."""
    for place in ("cache", "store"):
        for folder in (project.state / "ours" / place).glob("*"):
            if folder.name not in ("wheels", "built", "tools", "uv", "pip"):
                shutil.rmtree(folder)


def _zipped(target: str, level: str = "") -> list[str]:
    return ["sh", "-c", f"cd {target} && zip {level} -q -r ../function.zip ."]


def _uv_zip(project: Project, out: Path) -> list[list[str]]:
    target = str(out / "package")
    install_command = ["uv", "pip", "install", "--quiet", "--target", target, "--python", sys.executable]
    install_command += ["--python-version", VERSION, "--python-platform", PLATFORM]
    install_command += ["--link-mode", "hardlink", "-r", str(project.root / "requirements.txt")]
    return [["mkdir", target], install_command, ["cp", str(project.root / "app.py"), target], _zipped(target)]


def _pip_zip(project: Project, out: Path) -> list[list[str]]:
    target = str(out / "package")
    return [
        ["mkdir", target],
        ["python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--target", target, "-r", str(project.root / "requirements.txt")],
        ["cp", str(project.root / "app.py"), target],
        _zipped(target),
    ]  # fmt: skip


def _wheelhouse(project: Project, out: Path) -> list[list[str]]:
    """Return the Makefile recipe: wheels into a directory, unzipped, `zip -9`."""
    house, target = str(out / "wheels"), str(out / "package")
    return [
        ["mkdir", house, target],
        ["python", "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--wheel-dir", house,
         "-r", str(project.root / "requirements.txt")],
        ["sh", "-c", f"for w in {house}/*.whl; do [ ! -e $w ] || unzip -q -o $w -d {target}; done"],
        ["cp", str(project.root / "app.py"), target],
        _zipped(target, "-9"),
    ]  # fmt: skip


def _sam_template(project: Project, handler: str) -> None:
    _write(project.root / "app.py", handler)
    _write(
        project.state / "template.yaml",
        "AWSTemplateFormatVersion: '2010-09-09'\nTransform: AWS::Serverless-2016-10-31\nResources:\n  F:\n"
        "    Type: AWS::Serverless::Function\n    Properties:\n"
        f"      CodeUri: {project.root}\n      Handler: app.handler\n      Runtime: python{VERSION}\n",
    )


def _sam(project: Project, out: Path) -> list[list[str]]:
    """Return SAM's commands, with its cache, as `sam init` configures it."""
    places = ["--build-dir", str(out / "sam"), "--cache-dir", str(project.state / "sam")]
    build = ["sam", "build", "--cached", "--template", str(project.state / "template.yaml"), *places]
    return [build, ["sh", "-c", f"cd {out}/sam/F && zip -q -r ../../function.zip ."]]


def _forget_sam(project: Project) -> None:
    for folder in (project.state / "sam", project.root / ".aws-sam"):
        shutil.rmtree(folder, ignore_errors=True)


def _chalice_project(project: Project, handler: str) -> None:
    """Return the packager imports app.py, so what the handler imports is imported when it is called."""
    imports, _, rest = handler.partition("\n")
    body = rest.replace("):\n", f"):\n    {imports}\n")
    start = "from chalice import Chalice\napp = Chalice(app_name='bench')\n@app.lambda_function()\n"
    _write(project.root / "app.py", start + body)
    _write(
        project.root / ".chalice/config.json",
        '{"version": "2.0", "app_name": "bench", "stages": {"dev": {"manage_iam_role": false, '
        '"iam_role_arn": "arn:aws:iam::123456789012:role/bench"}}}',
    )


def _chalice(project: Project, out: Path) -> list[list[str]]:
    return [["chalice", "--project-dir", str(project.root), "package", str(out / "chalice")]]


def _forget_chalice(project: Project) -> None:
    shutil.rmtree(project.root / ".chalice/deployments", ignore_errors=True)


def _pex(project: Project, out: Path) -> list[list[str]]:
    return [["pex", "-r", str(project.root / "requirements.txt"), "-D", str(project.root),
             "--pex-root", str(project.state / "pex"), "-o", str(out / "function.zip")]]  # fmt: skip


TOOLS = (
    Tool(name="lambdasmith", commands=_ours, prepare=_build_file, forget=_forget_ours),
    Tool(name="lambdasmith, bytecode: false", commands=_ours, prepare=_bare_build_file, forget=_forget_ours),
    Tool(name="uv + zip", commands=_uv_zip),
    Tool(name="pip -t + zip", commands=_pip_zip),
    Tool(name="wheelhouse + zip -9", commands=_wheelhouse),
    Tool(name="sam build + zip", commands=_sam, prepare=_sam_template, forget=_forget_sam),
    Tool(name="chalice package", commands=_chalice, prepare=_chalice_project, forget=_forget_chalice),
    Tool(name="pex", commands=_pex, before_imports="__pex__, "),
)
