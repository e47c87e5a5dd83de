"""scripts/same_artifacts.py: which differences it sees, and that its projects are accepted."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builder.spec.tree import check_against_tree
from scripts.revisions import ROOT, write_revision
from scripts.same_artifacts import Outcome, Side, build, compared
from scripts.sample_projects import SAMPLES, Sample
from tests.spec.reading import read_build_file

GIT = ("git", "-c", "user.name=test", "-c", "user.email=test@localhost")
ONE = Outcome(zips={"function.zip": "1" * 64}, entries=frozenset({"store/components/1.json"}))
HELLO = Sample(
    name="hello",
    files={
        "build.yaml": "function:\n  runtimes: [python3.13]\n  handler: app.handler\n  files: [app.py]\n",
        "app.py": "def handler(event, context): ...\n",
    },
)


@pytest.mark.parametrize(
    ("after", "differing"),
    [
        (ONE, []),
        (Outcome(zips={"function.zip": "2" * 64}, entries=ONE.entries), ["function.zip"]),
        (Outcome(zips={**ONE.zips, "layers/a.zip": "3" * 64}, entries=ONE.entries), ["layers/a.zip"]),
        (Outcome(zips={}, entries=ONE.entries), ["function.zip"]),
        (Outcome(zips=ONE.zips, entries=frozenset({"store/components/2.json"})), ["entries of the store"]),
        (Outcome(failure="no index"), ["failed"]),
    ],
    ids=["same", "bytes", "more", "less", "keys", "failed"],
)
def test_differences_are_seen(after: Outcome, differing: list[str]) -> None:
    assert [row.what for row in compared("x", ONE, after) if not row.same] == differing


def test_two_failures_are_not_the_same() -> None:
    (row,) = compared("x", Outcome(failure="no index"), Outcome(failure="no index"))
    assert not row.same


def test_builds_are_told_apart_by_their_bytes(tmp_path: Path) -> None:
    project = HELLO.write(tmp_path / "0" / "project")
    made = []
    for name in ("one", "two", "three"):
        (tmp_path / name / "cache").mkdir(parents=True)
        if name == "three":
            (project / "app.py").write_text("def handler(event, context): return 1\n")
        made.append(build(project, Side(code=ROOT, cache=tmp_path / name / "cache")))
    one, two, three = made
    assert not one.failure
    assert set(one.zips) == {"function.zip"}
    assert any(name.startswith("store/components/") for name in one.entries)
    assert one == two
    assert one.zips != three.zips
    assert one.entries != three.entries


def test_a_failed_build_says_why(tmp_path: Path) -> None:
    project = HELLO.write(tmp_path / "0" / "project")
    (project / "app.py").unlink()
    assert "'app.py' does not exist" in build(project, Side(code=ROOT, cache=tmp_path / "cache")).failure


# The other makes its lock with an index.
@pytest.mark.parametrize(
    "sample", [sample for sample in SAMPLES if "uv.lock" not in sample.name], ids=lambda sample: sample.name
)
def test_build_files_of_the_projects_are_accepted(sample: Sample, tmp_path: Path) -> None:
    if sample.missing:
        pytest.skip(f"no {', '.join(sample.missing)}")
    root = sample.write(tmp_path / "0" / "project")
    check_against_tree(read_build_file((root / "build.yaml").read_text(), file="build.yaml"), root)


def test_a_revision_is_written_as_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    repository, into = tmp_path / "repository", tmp_path / "before"
    repository.mkdir()
    for words, command in (
        ("old", "init --quiet"),
        ("old", "add ."),
        ("old", "commit --quiet -m one"),
        ("new", "add ."),
    ):
        (repository / "file").write_text(words)
        subprocess.run([*GIT, *command.split()], cwd=repository, check=True)
    subprocess.run([*GIT, "commit", "--quiet", "-m", "two"], cwd=repository, check=True)
    assert (write_revision("HEAD~1", into, repository) / "file").read_text() == "old"
    with pytest.raises(SystemExit):
        write_revision("nowhere", into, repository)
    assert "nowhere" in capfd.readouterr().err
