"""What stands in argv can be read by every process of the machine: the word of a gateway never does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.secrets.indexes import Indexes
from builder.secrets.logins import IndexLogin
from tests.index import Index, serving
from tests.python.locking import BACKEND, Lab, make_lab, own_target
from tests.wheelhouse import make_sdist, make_wheel

PASSWORD = "pw-canary-81c0de-index"
# The random word that the URLs of a gateway begin with.
WORD = re.compile(r"127\.0\.0\.1:\d+/[A-Za-z0-9_-]{20,}")
# Runs while uv asks for metadata, and while the wheel is made.
SPY = """
import glob, json
def _seen():
    found = {{}}
    for place in glob.glob("/proc/[0-9]*"):
        for what in ("cmdline", "environ"):
            try:
                with open(place + "/" + what, "rb") as file:
                    found[place + "/" + what] = file.read().decode("utf-8", "replace")
            except OSError:
                pass
    return found
with open({seen!r}, "a") as file:
    file.write(json.dumps(_seen()) + "\\n")
"""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    root = tmp_path / "index"
    root.mkdir()
    make_wheel(root, "seed", "1.5", files={"seed.py": ""})
    with serving(root) as index:
        index.login = ("reader", PASSWORD)
        yield index


def spying(lab: Lab, index: Index) -> Path:
    seen = lab.root / "seen.jsonl"
    backend = BACKEND.format(name="spy", version="1.0", requires=("seed",)) + SPY.format(seen=str(seen))
    system = '[build-system]\nrequires = ["seed"]\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    make_sdist(index.root, "spy", "1.0", files={"pyproject.toml": system, "backend.py": backend, "spy.py": ""})
    return seen


@pytest.mark.parametrize("named", ["by the configuration", "--index-url", "--extra-index-url", "--find-links"])
def test_no_word_and_no_login_stands_in_argv(tmp_path: Path, index: Index, named: str) -> None:
    lab = make_lab(tmp_path, index)
    login = IndexLogin(name="corp", url=index.url)
    lab.indexes = Indexes(logins=(login,), read=lambda _: ("reader", PASSWORD))
    option = f"{named} {index.simple}/\n" if named.startswith("--") else ""
    if named == "--find-links":
        option = f"--find-links {index.simple}/spy/\n"
    lab.write({"requirements.txt": f"{option}spy\n"})
    seen = spying(lab, index)
    lab.wheels(target=own_target())
    looks = [json.loads(line) for line in seen.read_text().splitlines()]
    assert len(looks) >= 2, "it was not built"
    words = 0
    for look in looks:
        for place, text in look.items():
            assert PASSWORD not in text, place
            if place.endswith("cmdline"):
                assert not WORD.search(text), (place, text)
        words += any(WORD.search(text) for text in look.values())
        lines = [text for place, text in look.items() if place.endswith("cmdline")]
        assert any("pip\0compile" in text or "build\0--wheel" in text for text in lines), "uv itself was not seen"
    assert WORD.search("http://127.0.0.1:1234/0123456789abcdefghijklmn/i/0/")
    assert words, "no gateway was open, and nothing is shown"
