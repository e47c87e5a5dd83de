"""The importer of a finished handler on this machine, and advice about modules that it lacks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.jsontext import read_json
from builder.making.project import Project
from builder.plan import Artifact
from builder.python.modules import distribution_of
from builder.spec.builds import NodeBuild, NpmLayer
from builder.trials import trial
from builder.workshop.workshop import Workshop


@dataclass(frozen=True, kw_only=True)
class Importer:
    """Functions that import the handler (None: Python's own import) and that advise on a missing module."""

    by: trial.Importer | None
    advise: Callable[[str], str]


def importer_for(project: Project, artifacts: Mapping[str, Artifact], workshop: Workshop) -> Importer | None:
    """Return the handler's importer; None if this machine differs from the function's."""
    target = project.target
    if target.runtime.family == "python" and trial.is_possible(target):
        return Importer(by=None, advise=lambda module: _advice(module, project, artifacts))
    recipes = [project.recipe(name) for name in project.names]
    if not any(isinstance(recipe, NodeBuild | NpmLayer) for recipe in recipes):
        return None  # only for the trial, Node.js is not worth fetching
    from builder.trials import node as node_trial

    toolbox = workshop.toolbox
    if not node_trial.is_possible(target, toolbox.identity("node")):
        return None

    def by(*arguments: Any) -> trial.Outcome:
        return node_trial.imported(toolbox.get("node").bins[0] / "node", *arguments)

    return Importer(by=by, advise=lambda name: node_trial.advice(name, _manifest(project)))


def _manifest(project: Project) -> Mapping[str, object]:
    """Return the content of package.json, empty if there is no readable one."""
    base = project.root / (project.spec.function.source_dir if project.spec.function else ".")
    for folder in (base, project.root):
        with contextlib.suppress(OSError, ValueError):
            found = read_json((folder / "package.json").read_text())
            return found if isinstance(found, dict) else {}
    return {}


def _advice(module: str, project: Project, artifacts: Mapping[str, Artifact]) -> str:
    """Say how to add a missing module: from the project's own files, a layer, or a requirement."""
    function, top = project.spec.function, module.partition(".")[0]
    base = function.source_dir if function else "."
    for layer in project.spec.layers:
        if any(Path(name).name.removesuffix(".py") == top for name in artifacts[layer.name].contents):
            return f"layer {layer.name} has it, but not below python/: set layers.{layer.name}.dest_dir to python"
    for name in (f"{top}.py", top):
        if project.has(f"{base}/{name}"):
            return f"{name} is in the project and not in the artifact: add it to function.files"
        if project.has(name):
            return f"{name} is in the project, outside of function.source_dir: add it to function.files"
    wanted = distribution_of(module)
    files = ", ".join(project.spec.dependencies)
    return f"add {wanted} to {files}" if files else f"list {wanted} in a requirements.txt, under layers.dependencies"
