"""The pages hold together: links lead somewhere, all are found from the README, and what they show is accepted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.spec.build_file import FunctionSpec
from builder.spec.members import read_functions
from builder.spec.tree import check_all_against_tree

ROOT = Path(__file__).resolve().parents[1]
_ELSEWHERE = {"node_modules", "out", "dist", "cdk.out"}
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part in _ELSEWHERE for part in path.relative_to(ROOT).parts)
)
MIGRATIONS = sorted(path.name for path in (ROOT / "examples" / "migration").iterdir())
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"\]\((?!https?:|mailto:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
_KEYS = {"function", "layers", "prune", "keep", "bytecode", "runtime_packages", "try", "optional_libraries"}
# What a block of keys of `function:` alone is completed with.
_FUNCTION = "function:\n  runtimes: [python3.13]\n  handler: app.handler\n"


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The ids that forges give the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: Path) -> Iterator[tuple[Path, str | None]]:
    for found in _LINK.finditer(prose(page)):
        yield (page.parent / found["path"]).resolve() if found["path"] else page, found["anchor"]


def build_files(page: Path) -> Iterator[str]:
    """The build files of a page, whole ones and keys of `function:` (two spaces before each line)."""
    for found in _FENCE.finditer(page.read_text()):
        if found["language"] != "yaml" or found["indent"]:
            continue
        text = found["text"]
        if text.startswith("  "):
            given = set(re.findall(r"^  (\w+):", text, re.MULTILINE))
            if given <= set(FunctionSpec.model_fields):
                kept = [line for line in _FUNCTION.splitlines(keepends=True) if line.split(":")[0].strip() not in given]
                yield "".join(kept) + text
        elif (keys := set(re.findall(r"^(\S+?):", text, re.MULTILINE))) <= _KEYS:
            yield text if "function" in keys else _FUNCTION + text


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target, anchor in links(page):
        if not target.exists():
            broken.append(name(target))
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            broken.append(f"{name(target)}#{anchor}")
    assert not broken


def test_every_page_of_docs_is_reached_from_the_readme() -> None:
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        ahead += [target for target, _ in links(page)]
    assert {name(page) for page in (ROOT / "docs").glob("*.md")} <= {name(page) for page in reached}


@pytest.mark.parametrize("page", [page for page in PAGES if list(build_files(page))], ids=name)
def test_build_files_in_pages_are_accepted(page: Path) -> None:
    for text in build_files(page):
        read_functions(text, file="build.yaml")


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("build.yaml")), ids=name)
def test_build_files_of_examples_fit_their_files(path: Path) -> None:
    found = read_functions(path.read_text(), file="build.yaml")
    check_all_against_tree([*found.functions.values()], path.parent)


@pytest.mark.parametrize("tool", MIGRATIONS)
def test_differences_that_a_page_shows_are_those_of_its_example(tool: str) -> None:
    (page,) = [page for page in PAGES if f"(../examples/migration/{tool})" in page.read_text()]
    example = ROOT / "examples" / "migration" / tool
    before, after = (
        {line for path in (example / side).rglob("*") if path.is_file() for line in path.read_text().splitlines()}
        for side in ("before", "after")
    )
    shown = [found["text"] for found in _FENCE.finditer(page.read_text()) if found["language"] == "diff"]
    assert shown
    for line in "".join(shown).splitlines():
        if line.startswith(("+++", "---", "@@")):
            continue
        assert line.startswith("+") or line[1:] in before, line
        assert line.startswith("-") or line[1:] in after, line
