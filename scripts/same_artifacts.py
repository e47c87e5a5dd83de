"""usage: python -m scripts.same_artifacts BEFORE [AFTER] [--only WORD]

Builds the projects of scripts/sample_projects.py with the builder of two revisions, each with a cache of its own, and
prints whether every zip has the same bytes and every entry of the store the same name. AFTER is this directory, changes
that are not committed included, if it is left out. Needs a package index; takes some minutes.

exit status: 0 all is the same · 1 something differs, or a build failed
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from scripts.revisions import ROOT, write_revision
from scripts.sample_projects import SAMPLES

_LONGEST_S = 600
_SHOWN = 16


@dataclass
class Side:
    """The builder of one revision: where its code is, its cache, and the entries of its store that were seen."""

    code: Path
    cache: Path
    seen: set[str] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one builder made of a project: zip → its SHA-256, and the new entries of the store; or why it failed."""

    zips: Mapping[str, str] = field(default_factory=dict)
    entries: frozenset[str] = frozenset()
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table."""

    project: str
    what: str
    before: str
    after: str

    @property
    def same(self) -> bool:
        return self.before == self.after and not self.what.startswith("failed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare two revisions; return the exit status."""
    given = _parser().parse_args(arguments)
    samples = [sample for sample in SAMPLES if given.only in sample.name]
    with tempfile.TemporaryDirectory(prefix="same-artifacts-") as folder:
        work = Path(folder)
        sides = [side(given.before, work / "before"), side(given.after, work / "after")]
        same, skipped = True, 0
        print("| project | | before | after | |\n|---|---|---|---|---|")
        for number, sample in enumerate(samples):
            if sample.missing:
                skipped += 1
                print(f"| {sample.name} | skipped, no {', '.join(sample.missing)} | | | |", flush=True)
                continue
            project = sample.write(work / f"project{number}" / "project")
            for row in compared(sample.name, *built(project, sides)):
                same = same and row.same
                verdict = "same" if row.same else "**differs**"
                print(f"| {row.project} | {row.what} | {row.before} | {row.after} | {verdict} |", flush=True)
    print(f"\nprojects built: {len(samples) - skipped}; {'all is the same' if same else 'something differs'}")
    return 0 if same else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.same_artifacts", description="Build projects with two revisions and compare the bytes."
    )
    parser.add_argument("before", metavar="BEFORE", help="a git revision")
    parser.add_argument("after", metavar="AFTER", nargs="?", help="another; default: this directory as it is")
    parser.add_argument("--only", metavar="WORD", default="", help="only projects with this in their name")
    return parser


def side(revision: str | None, work: Path) -> Side:
    """Write the code of `revision`, or take this directory's, and give it an empty cache."""
    work.mkdir()
    (work / "cache").mkdir()
    return Side(code=write_revision(revision, work / "code") if revision else ROOT, cache=work / "cache")


def built(project: Path, sides: Sequence[Side]) -> list[Outcome]:
    """Build a project with each builder, at the same time, from the same directory: its name is part of some keys."""
    with ThreadPoolExecutor(len(sides)) as pool:
        return list(pool.map(lambda side: build(project, side), sides))


def build(project: Path, by: Side) -> Outcome:
    """Build one project as a user would, by the command line."""
    out = by.cache.parent / "out" / project.parent.name
    libraries = os.pathsep.join(filter(None, [str(project.with_name("libraries")), os.environ.get("LD_LIBRARY_PATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "builder", "build", project, "-o", out, "--cache", by.cache, "--json"],
        cwd=by.code,
        env={**os.environ, "PYTHONPATH": str(by.code), "LD_LIBRARY_PATH": libraries},
        capture_output=True,
        text=True,
        timeout=_LONGEST_S,
        check=False,
    )
    if done.returncode:
        return Outcome(failure=_failure(done))
    zips = {name: _sha256(out / name) for name in json.loads(done.stdout)["files"].values()}
    entries = {str(path.relative_to(by.cache)) for path in (by.cache / "store").rglob("*") if path.is_file()}
    new, by.seen = frozenset(entries - by.seen), entries
    return Outcome(zips=zips, entries=new)


def _failure(done: subprocess.CompletedProcess[str]) -> str:
    """Return the reply's message, or the last line of a builder that did not get as far as a reply."""
    try:
        return str(json.loads(done.stdout)["error"]["message"])
    except ValueError:
        return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compared(project: str, before: Outcome, after: Outcome) -> Iterator[Row]:
    """Yield a row for each zip and one for the names of the store's entries, or one that says why a build failed."""
    if before.failure or after.failure:
        yield Row(project=project, what="failed", before=before.failure or "built", after=after.failure or "built")
        return
    for name in sorted({*before.zips, *after.zips}):
        digests = [each.zips.get(name, "missing")[:_SHOWN] for each in (before, after)]
        yield Row(project=project, what=name, before=digests[0], after=digests[1])
    counts = [f"{len(each.entries)}, {_names(each.entries)}" for each in (before, after)]
    yield Row(project=project, what="entries of the store", before=counts[0], after=counts[1])


def _names(entries: frozenset[str]) -> str:
    return hashlib.sha256("\n".join(sorted(entries)).encode()).hexdigest()[:_SHOWN]


if __name__ == "__main__":
    sys.exit(main())
