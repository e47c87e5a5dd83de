"""Artifacts against peers: time, processor, memory, size, reproducibility and import time, as ratios in one run."""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers import TOOLS, Project, Tool, environment, install, unpacked

SETS: Mapping[str, tuple[str, str, str]] = {
    # name: (requirements, what the changed requirement adds, the handler's imports)
    "hello": ("", "six==1.17.0\n", "json"),
    "web": ("requests\npydantic\nPyYAML\nboto3\n", "tomli==2.2.1\n", "requests, pydantic, yaml, boto3"),
    "crypto": ("cryptography\npsycopg2-binary\npyjwt\n", "six==1.17.0\n", "cryptography.fernet, psycopg2, jwt"),
    "sdist": ("docopt==0.6.2\n", "six==1.17.0\n", "docopt"),
    "data": ("pandas\nnumpy\nrequests\n", "tomli==2.2.1\n", "pandas, numpy, requests"),
}
SCENARIOS = ("first, wheels known", "one requirement changed", "one source line changed", "nothing changed")


@dataclass
class Result:
    """Medians of one tool on one set. Seconds by scenario; MB as 10^6 bytes; None where the tool failed."""

    seconds: dict[str, float] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)
    memory_mb: float = 0.0
    sizes: Mapping[str, int] = field(default_factory=dict)
    reproducible: bool | None = None
    import_s: float | None = None
    failure: str = ""


def timed(commands: list[list[str]], cwd: Path, env: Mapping[str, str]) -> tuple[float, float, float]:
    """Run the commands; wall seconds, processor seconds, MB of the largest process.

    Raises:
        RuntimeError: one failed; its last words.
    """
    started, processor, largest = time.monotonic(), 0.0, 0
    for command in commands:
        with tempfile.TemporaryFile("w+") as words:
            child = subprocess.Popen(command, cwd=cwd, env=dict(env), stdout=words, stderr=words)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            processor += usage.ru_utime + usage.ru_stime
            largest = max(largest, usage.ru_maxrss)
            if child.returncode:
                words.seek(0)
                raise RuntimeError(f"{' '.join(command[:3])}: {words.read().strip()[-300:]}")
    return time.monotonic() - started, processor, largest / 1e3


def write(project: Project, requirements: str, imports: str, line: int) -> None:
    """The project's three files."""
    build_file = (
        f"function:\n  runtimes: [python{sys.version_info.major}.{sys.version_info.minor}]\n"
        "  handler: app.handler\n  files: [app.py]\n"
    )
    if requirements:
        build_file += "layers:\n  dependencies: [requirements.txt]\n"
    (project.root / "build.yaml").write_text(build_file)
    (project.root / "requirements.txt").write_text(requirements)
    (project.root / "app.py").write_text(f"import {imports}\ndef handler(event, context):\n    return {line}\n")


def sha256(artifacts: list[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in artifacts)).hexdigest()


def run(tool: Tool, name: str, work: Path, env: Mapping[str, str], runs: int) -> Result:
    """All scenarios of one tool on one set; medians."""
    requirements, more, imports = SETS[name]
    project = Project(root=work / "project", state=work.parent)
    result, out = Result(), work / "out"
    collected: dict[str, list[tuple[float, float, float]]] = {scenario: [] for scenario in SCENARIOS}

    def once(text: str, line: int) -> tuple[float, float, float]:
        project.root.mkdir(parents=True, exist_ok=True)
        write(project, text, imports, line)
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        return timed(tool.commands(project, out), project.root, env)

    try:
        once(requirements + more, 0)  # fills the caches of wheels; not counted
        for number in range(runs):
            tool.forget(project)
            collected["first, wheels known"].append(once(requirements, 0))
            collected["nothing changed"].append(once(requirements, 0))
            collected["one source line changed"].append(once(requirements, number + 1))
            collected["one requirement changed"].append(once(f"{requirements}{more}# {number}\n", number + 1))
        once(requirements, runs)
        tool.forget(project)
        first = sha256(tool.artifacts(out))
        tool.forget(project)
        time.sleep(2.1)  # zip dates have a resolution of two seconds
        once(requirements, runs)
        result.reproducible = first == sha256(tool.artifacts(out))
        tree = work / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        result.sizes = unpacked(tool.artifacts(out), tree)
        result.import_s = import_seconds(tree, imports, env)
    except RuntimeError as error:
        result.failure = str(error)
    for scenario, figures in collected.items():
        if figures:
            result.seconds[scenario] = statistics.median(figure[0] for figure in figures)
            result.processor[scenario] = statistics.median(figure[1] for figure in figures)
            result.memory_mb = max(result.memory_mb, *(figure[2] for figure in figures))
    return result


def import_seconds(tree: Path, imports: str, env: Mapping[str, str]) -> float:
    """Median of five imports in new processes that write no bytecode, as on Lambda, where the tree is read-only."""
    code = f"import time; t = time.perf_counter(); import {imports}; print(time.perf_counter() - t)"
    where = os.pathsep.join(map(str, (tree, tree / "python", tree / ".deps")))
    child = {**env, "PYTHONPATH": where, "PYTHONDONTWRITEBYTECODE": "1"}
    times = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", code], env=child, capture_output=True, text=True, check=False, cwd=tree
        )
        if done.returncode:
            raise RuntimeError(f"the artifact does not import: {done.stderr.strip()[-200:]}")
        times.append(float(done.stdout))
    return statistics.median(times)


def measure(work: Path, runs: int, sets: list[str]) -> dict[str, dict[str, Result]]:
    """{set: {tool: Result}}."""
    env = environment(work, install(work / "peers"))
    results: dict[str, dict[str, Result]] = {}
    for name in sets:
        results[name] = {}
        for tool in TOOLS:
            print(f"  {name}: {tool.name}", file=sys.stderr, flush=True)
            results[name][tool.name] = run(tool, name, work / f"{name}-{TOOLS.index(tool)}", env, runs)
    return results


def report(results: Mapping[str, Mapping[str, Result]]) -> str:
    """One Markdown table per set; in brackets how many times ours."""
    lines = []
    for name, tools in results.items():
        ours = tools[TOOLS[0].name]
        columns = [*SCENARIOS, "CPU s (first)", "MB RSS", "zip MB", "files", "same bytes twice", "import s"]
        lines += [f"### {name}", "", "| | " + " | ".join(columns) + " |"]
        lines.append("|---" * (len(SCENARIOS) + 7) + "|")
        for tool, result in tools.items():
            if result.failure:
                lines.append(f"| {tool} | failed: {result.failure.splitlines()[-1][:90]} |")
                continue
            cells = [_against(result.seconds[scenario], ours.seconds.get(scenario)) for scenario in SCENARIOS]
            cells += [f"{result.processor[SCENARIOS[0]]:.2f}", f"{result.memory_mb:.0f}"]
            cells += [f"{result.sizes['zip'] / 1e6:.2f}", str(result.sizes["files"])]
            cells += ["yes" if result.reproducible else "no", _against(result.import_s or 0, ours.import_s)]
            lines.append(f"| {tool} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _against(value: float, ours: float | None) -> str:
    return f"{value:.2f} ({value / ours:.1f}×)" if ours else f"{value:.2f}"
