"""Artifacts against peers: time, processor, memory, size, reproducibility and import time, as ratios in one run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers import Project, Tool, environment, install

_METER = Path(__file__).with_name("meter.py")


@dataclass(frozen=True, kw_only=True)
class Set:
    """A handler's requirements, the added ones after a change, and the handler's imports."""

    requirements: str
    more: str
    imports: str


SETS: Mapping[str, Set] = {
    "hello": Set(requirements="", more="six==1.17.0\n", imports="json"),
    "web": Set(
        requirements="requests\npydantic\nPyYAML\nboto3\n",
        more="tomli==2.2.1\n",
        imports="requests, pydantic, yaml, boto3",
    ),
    "crypto": Set(
        requirements="cryptography\npsycopg2-binary\npyjwt\n",
        more="six==1.17.0\n",
        imports="cryptography.fernet, psycopg2, jwt",
    ),
    "sdist": Set(requirements="docopt==0.6.2\n", more="six==1.17.0\n", imports="docopt"),
    "data": Set(requirements="pandas\nscikit-learn\n", more="tomli==2.2.1\n", imports="pandas, sklearn.linear_model"),
}
COLD, FIRST, REQUIREMENT, LINE, NOTHING = SCENARIOS = (
    "nothing cached",
    "first, wheels known",
    "one requirement changed",
    "one source line changed",
    "nothing changed",
)
# After this time a tool has run often enough: slow ones vary least.
_ENOUGH_S = 30.0


@dataclass
class Result:
    """One tool on one set: medians by scenario, in seconds; memory in 10^6 bytes, sizes in bytes.

    `runs` is of each scenario, but `COLD` was built once. `memory_mb` is the largest process of the largest run;
    `import_s` a median of five. After a failure `failure` gives the reason, and the rest is missing.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)
    runs: int = 0
    memory_mb: float = 0.0
    zip: int = 0
    unzipped: int = 0
    files: int = 0
    reproducible: bool = False
    import_s: float | None = None
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Cost of one build: wall and processor seconds, 10^6 bytes of its largest process."""

    seconds: float
    processor: float
    memory_mb: float


def metered(commands: list[list[str]], cwd: Path, env: Mapping[str, str], work: Path) -> Taken:
    """Run the commands in turn.

    Raises:
        RuntimeError: one failed; with the end of its output.
    """
    report, words = work / "taken.json", work / "output.txt"
    with words.open("w") as output:
        meter = [sys.executable, "-I", "-S", str(_METER), str(report), json.dumps(commands)]
        done = subprocess.run(meter, cwd=cwd, env=dict(env), stdout=output, stderr=output, check=False)
    taken = {"failed": "the meter"} if done.returncode else json.loads(report.read_text())
    if failed := taken.pop("failed"):
        raise RuntimeError(f"{failed}: {words.read_text().strip()[-300:]}")
    return Taken(**taken)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One tool with one set, in directories of its own below `work`; wheels are kept in `state`."""

    tool: Tool
    chosen: Set
    work: Path
    state: Path
    peers: Path

    @property
    def out(self) -> Path:
        return self.work / "out"

    def build(self, requirements: str, line: int = 0, state: Path | None = None) -> Taken:
        """Measure one build of the project with these requirements; the zips are in `out`."""
        project = self._project(state or self.state)
        project.root.mkdir(parents=True, exist_ok=True)
        (project.root / "requirements.txt").write_text(requirements)
        handler = f"import {self.chosen.imports}\ndef handler(event, context):\n    return {line}\n"
        self.tool.prepare(project, handler)
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)
        env = environment(project.state, self.peers)
        return metered(self.tool.commands(project, self.out), project.root, env, self.work)

    def forget(self) -> None:
        """Remove everything except downloaded wheels."""
        if self.tool.forget:
            self.tool.forget(self._project(self.state))

    def build_cold(self) -> Taken:
        """Measure a build without any cache."""
        state = self.work / "cold"
        shutil.rmtree(self.work, ignore_errors=True)
        state.mkdir(parents=True)
        try:
            return self.build(self.chosen.requirements, state=state)
        finally:
            shutil.rmtree(state)

    def artifacts(self) -> list[Path]:
        """Return the zips that Lambda would get."""
        made = [self.out / "function.zip", self.out / "chalice/deployment.zip", *self.out.glob("layers/*.zip")]
        return sorted(path for path in made if path.exists())

    def _project(self, state: Path) -> Project:
        return Project(root=self.work / "project", state=state)


def sha256(artifacts: list[Path]) -> str:
    """Return the sha256 of all of them, in order."""
    digest = hashlib.sha256()
    for path in artifacts:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def measured(bench: Bench, runs: int) -> Result:
    """Measure all scenarios of one tool on one set."""
    result = Result()
    taken: dict[str, list[Taken]] = {scenario: [] for scenario in SCENARIOS}
    try:
        _scenarios(bench, runs, taken, result)
        imports = bench.tool.before_imports + bench.chosen.imports
        result.import_s = import_seconds(bench.work / "tree", imports, bench.work)
    except RuntimeError as error:
        result.failure = str(error)
    for scenario, figures in taken.items():
        if figures:
            result.seconds[scenario] = statistics.median(figure.seconds for figure in figures)
            result.processor[scenario] = statistics.median(figure.processor for figure in figures)
            result.memory_mb = max(result.memory_mb, *(figure.memory_mb for figure in figures))
    return result


def _scenarios(bench: Bench, runs: int, taken: Mapping[str, list[Taken]], result: Result) -> None:
    """Fill `taken` and the artifacts' figures in `result`; unpack them into the tool's directory `tree`."""
    plain, more = bench.chosen.requirements, bench.chosen.requirements + bench.chosen.more
    taken[COLD].append(bench.build_cold())
    bench.build(more)  # fills the caches of wheels
    started, made = time.monotonic(), set()

    def first() -> None:
        bench.forget()
        time.sleep(2.1)  # zip dates have a resolution of two seconds
        taken[FIRST].append(bench.build(plain))
        made.add(sha256(bench.artifacts()))

    while result.runs < runs and (not result.runs or time.monotonic() - started < _ENOUGH_S):
        result.runs += 1
        first()
        if not result.files:
            unpack(bench.artifacts(), bench.work / "tree", result)
        taken[NOTHING].append(bench.build(plain) if bench.tool.forget else taken[FIRST][-1])
        taken[LINE].append(bench.build(plain, result.runs) if bench.tool.forget else taken[FIRST][-1])
        taken[REQUIREMENT].append(bench.build(f"{more}# {result.runs}\n", result.runs))
    if result.runs == 1:
        first()
    result.reproducible = len(made) == 1


def unpack(artifacts: list[Path], into: Path, result: Result) -> None:
    """Unpack all artifacts into `into`, as Lambda would, and note their sizes."""
    for artifact in artifacts:
        result.zip += artifact.stat().st_size
        with zipfile.ZipFile(artifact) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            result.files += len(infos)
            result.unzipped += sum(info.file_size for info in infos)
            archive.extractall(into)


def import_seconds(tree: Path, imports: str, work: Path) -> float:
    """Return the median of five imports in new processes that write no bytecode, as on read-only Lambda.

    Raises:
        RuntimeError: the artifact does not import.
    """
    code = f"import time; t = time.perf_counter(); import {imports}; print(time.perf_counter() - t)"
    where = os.pathsep.join(map(str, (tree, tree / "python")))
    child = {"PATH": os.environ["PATH"], "HOME": str(work), "PYTHONPATH": where, "PYTHONDONTWRITEBYTECODE": "1"}
    times = []
    for _ in range(6):
        command = [sys.executable, "-S", "-c", code]
        done = subprocess.run(command, env=child, capture_output=True, text=True, check=False, cwd=tree)
        if done.returncode:
            raise RuntimeError(f"the artifact does not import: {done.stderr.strip()[-200:]}")
        times.append(float(done.stdout))
    return statistics.median(times[1:])  # the first reads the files from the disk


def measure(
    work: Path, tools: Sequence[Tool], sets: Sequence[str], runs: int, keep: Callable[[str, dict[str, Result]], None]
) -> None:
    """Measure every tool on every set; `keep(set, {tool: Result})` is called after each tool."""
    peers = install(work / "peers")
    for name in sets:
        results: dict[str, Result] = {}
        for number, tool in enumerate(tools):
            print(f"  {name}: {tool.name}", file=sys.stderr, flush=True)
            place = work / f"{name}-{number}"
            bench = Bench(tool=tool, chosen=SETS[name], work=place, state=work / "state", peers=peers)
            results[tool.name] = measured(bench, runs)
            shutil.rmtree(place)
            keep(name, results)
