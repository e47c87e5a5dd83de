"""Projects that scripts/same_artifacts.py builds: every kind of input that a build has, in as few lines as it takes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.revisions import ROOT

# Bytecode is part of a layer only if the runtime's Python is here, so most take the one that runs this.
_RUNTIME = f"python3.{sys.version_info.minor}"
_FUNCTION = f"function:\n  runtimes: [{_RUNTIME}]\n  handler: app.handler\n  files: [app.py]\n"
_HANDLER = "def handler(event, context):\n    return 1\n"
_SIX, _IDNA = (
    'hash = "sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274"',
    'hash = "sha256:946d195a0d259cbba61165e88e65941f16e9b36ea6ddb97f00452bae8b1287d3"',
)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A project: a directory of this repository or files by their paths, then what `prepare` adds.

    `needs` are the programs without which it cannot be built. `prepare` is given the project's directory.
    """

    name: str
    example: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    prepare: Callable[[Path], None] = lambda _: None

    @property
    def missing(self) -> list[str]:
        """The programs that this machine lacks."""
        return [program for program in self.needs if shutil.which(program) is None]

    def write(self, into: Path) -> Path:
        """Write the project to the directory `into`; return it."""
        if self.example:
            shutil.copytree(ROOT / self.example, into, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        for name, text in self.files.items():
            path = into / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.prepare(into)
        return into


def _python(
    dependencies: str, imports: str, files: Mapping[str, str], more: str = "", *, function: str = _FUNCTION
) -> dict[str, str]:
    """Return `files` with a handler that imports `imports` from a layer made of `dependencies`."""
    build = f"{function}layers:\n  dependencies: [{dependencies}]\n{more}"
    return {"build.yaml": build, "app.py": f"import {imports}\n{_HANDLER}", **files}


def _lock(project: Path) -> None:
    """Lock with uv: a lock names the index of the machine that made it, so it is not kept here."""
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "lock", "--quiet", "--python", sys.executable], cwd=project, check=True)


def _compile(project: Path) -> None:
    """Make an extension that needs a library of this machine which no runtime has; it is found in `libraries`."""
    libraries = project.with_name("libraries")
    libraries.mkdir(exist_ok=True)
    shared = ["cc", "-shared", "-fPIC", "-nostdlib", "-x", "c", "-"]
    library = libraries / "libsample.so.2"
    _cc([*shared, "-o", library, "-Wl,-soname,libsample.so.2"], "int sample(void) { return 40; }")
    module = "int sample(void); void *PyInit_fast(void) { return 0; } int fast(void) { return sample() + 2; }"
    _cc([*shared, "-o", project / "fast.so", "-x", "none", library], module)


def _cc(command: list[str | Path], source: str) -> None:
    subprocess.run(command, input=source, text=True, check=True)


def _links(project: Path) -> None:
    """Add what a dictionary of texts cannot say: a link and a file that can be run."""
    (project / "content" / "again.txt").symlink_to("words.txt")
    (project / "content" / "run.sh").chmod(0o755)


SAMPLES = (
    Sample(name="requirements, a layer of files", example="examples/greeter"),
    Sample(name="requirements, pinned", example="examples/migration/serverless/after"),
    Sample(
        name="pyproject.toml, extra, group",
        files=_python(
            '"pyproject.toml[web]", "pyproject.toml#group=prod"',
            "idna, six, certifi",
            {
                "pyproject.toml": '[project]\nname = "shop"\nversion = "1.0"\ndependencies = ["idna==3.10"]\n'
                '[project.optional-dependencies]\nweb = ["six==1.17.0"]\n'
                '[dependency-groups]\nprod = ["certifi==2025.8.3"]\n'
            },
        ),
    ),
    Sample(
        name="uv.lock, arm64",
        files=_python(
            "uv.lock",
            "markupsafe, click",
            {
                "pyproject.toml": '[project]\nname = "shop"\nversion = "1.0"\nrequires-python = ">=3.11"\n'
                'dependencies = ["markupsafe==3.0.2", "click==8.2.1"]\n'
            },
            function=f"{_FUNCTION}  architecture: arm64\n",
        ),
        prepare=_lock,
    ),
    Sample(
        name="poetry.lock",
        files=_python(
            "poetry.lock",
            "six, idna",
            {
                "poetry.lock": '[[package]]\nname = "six"\nversion = "1.17.0"\noptional = false\ngroups = ["main"]\n'
                f'files = [{{file = "six-1.17.0-py2.py3-none-any.whl", {_SIX}}}]\n\n'
                '[[package]]\nname = "idna"\nversion = "3.10"\noptional = false\ngroups = ["main"]\n'
                f'files = [{{file = "idna-3.10-py3-none-any.whl", {_IDNA}}}]\n\n[metadata]\nlock-version = "2.1"\n'
            },
        ),
    ),
    Sample(
        name="an sdist and a local distribution",
        files=_python(
            "requirements.txt",
            "docopt, greet",
            {
                "requirements.txt": "docopt==0.6.2\n./local\n",
                "local/greet.py": "WORD = 'hello'\n",
                "local/pyproject.toml": "[build-system]\n"
                'requires = ["flit_core==3.12.0"]\nbuild-backend = "flit_core.buildapi"\n'
                '[project]\nname = "greet"\nversion = "1.0"\ndescription = "says hello"\n',
            },
        ),
    ),
    Sample(
        name="prune, no bytecode, the runtime's packages",
        files=_python(
            "requirements.txt",
            "boto3, yaml, requests",
            {"requirements.txt": "boto3\nPyYAML==6.0.3\nrequests==2.32.5\n"},
            'prune:\n  disable: [tests, docs]\n  keep: ["*/LICENSE*"]\nbytecode: false\nruntime_packages: use\n',
        ),
    ),
    Sample(
        name="files, preinstall, source_dir, dest_dir",
        files={
            "build.yaml": f"function:\n  runtimes: [{_RUNTIME}]\n  handler: app.handler\n  source_dir: src\n"
            '  files: ["*.py", pkg/]\n  exclude: ["*_test.py"]\n'
            "layers:\n  content:\n    source_dir: content\n    files: [.]\n    dest_dir: share/content\n"
            '  made:\n    preinstall: ["sort content/words.txt > sorted.txt", \'echo "$LEVEL" > level.txt\']\n'
            "    files: [sorted.txt, level.txt]\n    environment: {LEVEL: high}\n",
            "src/app.py": f"import pkg.deep\n{_HANDLER}",
            "src/pkg/deep.py": "",
            "src/pkg/deep_test.py": "",
            "content/words.txt": "pear\napple\n",
            "content/run.sh": "#!/bin/sh\n",
        },
        prepare=_links,
    ),
    Sample(
        name="native libraries of the machine",
        files={
            "build.yaml": _FUNCTION.replace("app.py]", "app.py, fast.so]\n  native_libraries: auto"),
            "app.py": _HANDLER,
        },
        needs=("cc",),
        prepare=_compile,
    ),
    Sample(name="node", example="examples/node"),
    Sample(name="go", example="examples/go"),
    Sample(name="commands, rustc", example="examples/rust", needs=("rustc", "cc")),
)
