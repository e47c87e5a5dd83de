"""No page, example or message has a word that the list in docs/style.md rules out, and functions' docstrings begin with
verbs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STYLE = ROOT / "docs" / "style.md"
_ROW = re.compile(r"^\| [^|]+ \| (?P<ruled_out>[^|]+) \|$", re.MULTILINE)
_LAST_TOO = ", too"
# Phrases that are right in one place, with the reason.
ALLOWED: dict[tuple[str, str], str] = {}
_ELSEWHERE = {"__pycache__", "node_modules", "out", "dist", "cdk.out", "build"}
_DATA = {".json", ".lock", ".sum", ".svg"}
_PLACES = ("*.md", "*.example", "docs/*.md", "*/README.md", "*/*/README.md", "*/*/*/README.md", "examples/**/*")
PAGES = sorted(
    path
    for place in _PLACES
    for path in ROOT.glob(place)
    if path.is_file()
    and path != STYLE
    and path.suffix not in _DATA
    and not any(part.startswith(".") or part in _ELSEWHERE for part in path.relative_to(ROOT).parts)
)
SOURCES = sorted([*(ROOT / "builder").rglob("*.py"), *(ROOT / "bootstrap").rglob("*.py"), ROOT / "setup.py"])


def ruled_out() -> list[str]:
    """Return the second column of the word list, one phrase each."""
    _, _, table = STYLE.read_text().partition("## Word list")
    rows = [found["ruled_out"] for found in _ROW.finditer(table)]
    phrases = [
        phrase.strip() for row in rows if "as names in code" not in row for phrase in re.split(r", (?!too)", row)
    ]
    return [phrase.removeprefix("…") for phrase in phrases if phrase not in ("not", "---")]


def pattern(phrase: str) -> re.Pattern[str]:
    """Return what finds the phrase as whole words, over line breaks; `…, too` only at the end of a clause."""
    words = r"\s+".join(map(re.escape, phrase.split()))
    if phrase == _LAST_TOO:
        return re.compile(rf"{words}(?=[.,:;)]|\s*$)", re.IGNORECASE | re.MULTILINE)
    return re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)


def messages(source: Path) -> Iterator[tuple[int, str]]:
    """Yield the string literals of a module with their lines, docstrings left out; `{}` stands for a value."""
    tree = ast.parse(source.read_text())
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            skipped.update(map(id, node.values))
            texts = [str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values]
            yield node.lineno, "".join(texts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


# First words that are no verbs: those that begin a noun or a clause, and plurals.
_NO_VERB = re.compile(
    "an?|after|all|as|at|by|every|everything|for|from|how|if|in|its|no|nothing|of|on|one|that|the|these|this|those|to|"
    "what|when|where|whether|which|who|whom|whose|why|with|.*[^s]s",
    re.IGNORECASE,
)
_PROPERTIES = {"property", "cached_property", "setter"}


def _is_plain(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Tell whether a function is none of a class's values; `__init__` may describe its arguments instead."""
    decorators = {ast.unparse(each).partition("(")[0].rpartition(".")[2] for each in function.decorator_list}
    return not decorators & _PROPERTIES and function.name != "__init__"


def without_verb(source: str) -> Iterator[tuple[int, str]]:
    """Yield lines and first lines of docstrings of functions that cannot begin with a verb."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_plain(node):
            first = (ast.get_docstring(node) or "Do").splitlines()[0]
            word = re.match(r"[A-Za-z]+", first)
            if word is None or _NO_VERB.fullmatch(word[0]):
                yield node.lineno, first


PATTERNS = {phrase: pattern(phrase) for phrase in ruled_out()}


def found_in(text: str, where: str) -> list[str]:
    """Return the phrases that are in the text and not allowed there."""
    return [phrase for phrase, each in PATTERNS.items() if each.search(text) and (where, phrase) not in ALLOWED]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_list_is_read() -> None:
    assert {"mend", "somebody else's", "anew", "answered by an error", "by way of", ", too"} <= set(PATTERNS)
    assert "lend" not in PATTERNS
    assert found_in("Mend it.\nIt is asked by way\nof a relay, and read, too.\n", "") == ["mend", "by way of", ", too"]
    assert not found_in("recommended, too many, toolchains", "")


def test_pages_and_examples() -> None:
    wrong = [
        f"{name(page)}: {phrase!r}"
        for page in PAGES
        for phrase in found_in(page.read_text(errors="replace"), name(page))
    ]
    assert not wrong


def test_messages() -> None:
    wrong = [
        f"{name(source)}:{line}: {phrase!r} in {text[:80]!r}"
        for source in SOURCES
        for line, text in messages(source)
        for phrase in found_in(text, name(source))
    ]
    assert not wrong


def test_a_docstring_without_a_verb_is_found() -> None:
    source = '''
class Kept:
    def __init__(self) -> None:
        """`place` is where."""

    @functools.cached_property
    def size(self) -> int:
        """The size."""

    @classmethod
    def parse(cls) -> None:
        """What was kept."""

async def is_kept() -> bool:
    """Whether it is kept."""

def short() -> str:
    """`text` in short."""

def plural() -> list[str]:
    """Names of what is kept."""

def good() -> str:
    """Pass it on."""

def none() -> None: ...
'''
    assert [first for _, first in without_verb(source)] == [
        "Whether it is kept.",
        "`text` in short.",
        "Names of what is kept.",
        "What was kept.",
    ]


def test_docstrings_of_functions_begin_with_a_verb() -> None:
    wrong = [
        f"{name(source)}:{line}: {first}"
        for source in (*SOURCES, *sorted((ROOT / "localaws" / "src").rglob("*.py")))
        for line, first in without_verb(source.read_text())
    ]
    assert not wrong
