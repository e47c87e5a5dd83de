"""Node.js: npm's production dependencies as the lock has them, beside the project's files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.kinds.kind import Files, Place, Work
from builder.spec_builds import NodeBuild, NpmLayer


class _Node:
    name = "node"
    format = 1

    def detect(self, root: Path, name: str) -> Mapping[str, object] | None:
        return None

    def problem(self, recipe: NodeBuild | NpmLayer, place: Place) -> str | None:
        return "builds of Node are being written"

    def needs(self, recipe: NodeBuild | NpmLayer, place: Place) -> Sequence[str]:
        return ("node",)

    def reads_outside(self, recipe: NodeBuild | NpmLayer, place: Place) -> bool:
        return False

    def inputs(self, recipe: NodeBuild | NpmLayer, place: Place) -> Files:
        return ()

    def build(self, recipe: NodeBuild | NpmLayer, place: Place, work: Work) -> Files:
        return ()


NODE = _Node()
NPM = _Node()
NPM.name = "npm"
