"""The order of the steps that prepare a project, whatever door asks for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from builder.errors import SecretNotAllowed
from builder.flow.preparing import Settled, prepared
from builder.making.assembly import Options
from builder.making.product import NOT_CHECKED
from builder.making.project import Project, read_project
from builder.progress import Moment, Progress
from builder.sources.snapshot import Snapshot
from builder.workshop.workshop import Workshop
from tests.making.test_components import workshop_in


@dataclass(kw_only=True)
class Steps:
    """A job that notes its steps."""

    folder: Path
    known: tuple[str, ...] = ()
    refuses: bool = False
    components: tuple[str, ...] = ()
    exists: bool = True
    lacks: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)
    fetch_message: str = "fetching"
    done: list[str] = field(default_factory=list)

    def fetch(self) -> Snapshot:
        self.done.append("fetch")
        root = self.folder / "project"
        root.mkdir()
        (root / "build.yaml").write_text("function: {runtimes: [python3.13], handler: app.handler, files: [app.py]}\n")
        (root / "app.py").write_text("def handler(event, context): ...\n")
        return Snapshot(
            root=root,
            url="u",
            ref="main",
            commit="c" * 40,
            tree="whole",
            subtree="part",
            commit_time=0,
            submodules=self.lacks,
        )

    def read_message(self, snapshot: Snapshot) -> str:
        return f"reading {snapshot.ref}"

    def read(self, snapshot: Snapshot) -> Project:
        self.done.append("read")
        return read_project(snapshot.root, None, commit_time=0)

    def allow(self, project: Project) -> None:
        self.done.append("allow")
        if self.refuses:
            raise SecretNotAllowed("no")

    def equip(self, project: Project) -> Workshop:
        self.done.append("equip")
        return workshop_in(self.folder)


def test_a_project_is_prepared_step_by_step(tmp_path: Path) -> None:
    told: list[Moment] = []
    steps = Steps(folder=tmp_path)
    ready = prepared(steps, Progress(told.append))
    assert steps.done == ["fetch", "read", "allow", "equip"]
    assert [(each.phase, each.message) for each in told] == [("fetch", "fetching"), ("read", "reading main")]
    product = ready.product(NOT_CHECKED)
    assert (product.commit, product.ref, product.tree) == ("c" * 40, "main", "part")
    assert [plan.action for plan in product.plans] == ["build"]
    assert set(product.artifacts) == {"function"}


def test_where_files_are_missing_the_whole_repository_decides(tmp_path: Path) -> None:
    """The project's directory has the same id when .gitmodules, above it, says where the submodule is."""
    product = prepared(Steps(folder=tmp_path, lacks=("part/vendor",)), Progress()).product(NOT_CHECKED)
    assert product.tree == "whole"


@pytest.mark.parametrize("tree", ["whole", "part"])
def test_a_known_tree_is_not_read(tree: str, tmp_path: Path) -> None:
    steps = Steps(folder=tmp_path, known=(tree,))
    with pytest.raises(Settled) as caught:
        prepared(steps, Progress())
    assert caught.value.snapshot.commit == "c" * 40
    assert steps.done == ["fetch"]


def test_what_is_not_allowed_gets_no_workshop(tmp_path: Path) -> None:
    steps = Steps(folder=tmp_path, refuses=True)
    with pytest.raises(SecretNotAllowed) as caught:
        prepared(steps, Progress())
    assert caught.value.phase == "read"
    assert steps.done == ["fetch", "read", "allow"]
