"""Whatever comes from outside, however damaged: a value, or an error of ours that says what is wrong.

A few hundred inputs for each parser, the same every time. `make fuzz` tries far more: FUZZ_RUNS says how many, and
FUZZ_SEED makes them others. What it finds is told with the number of its run, which repeats it alone:

    FUZZ_RUNS=1 FUZZ_FIRST=4711 .venv/bin/python -m pytest tests/fuzz -k 'poetry'
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
import traceback
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.mutation import mutated
from tests.fuzz.targets import PARSERS, Parser

RUNS = int(os.environ.get("FUZZ_RUNS", "300"))
SEED = os.environ.get("FUZZ_SEED", "0")
FIRST = int(os.environ.get("FUZZ_FIRST", "0"))
# Of processor time, for something short.
SLOW_S = 5.0
_SHOWN = 400
_HALF = re.compile(r"(?<!\\)\\ud[89a-f]")


def tried(parser: Parser, data: bytes, place: Path) -> str | None:
    """What else came of it than a value or an error of ours; None if nothing did."""
    started = time.process_time()
    try:
        value = repr(parser.read(data, place))
        if parser.writes and (half := _HALF.search(value)):
            return f"a value that cannot be written: {value[max(0, half.start() - 100) : half.end()]}"
    except parser.errors:
        pass
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/tests/" not in frame.filename]
        own = [frame for frame in frames if "/builder/" in frame.filename or "/bootstrap/" in frame.filename]
        at = (own or frames)[-1]
        return f"{type(error).__name__} at {at.filename.partition('/builder/')[2] or at.filename}:{at.lineno}: {error}"
    took = time.process_time() - started
    return f"took {took:.0f} s" if took > SLOW_S else None


@pytest.mark.parametrize("name", PARSERS)
def test_a_damaged_input_gives_a_value_or_an_error_of_ours(name: str) -> None:
    parser = PARSERS[name]
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        place = Path(folder) / "place"
        for run in range(FIRST, FIRST + max(1, RUNS // parser.cost)):
            by = Random(f"{SEED} {name} {run}")
            data = mutated(by.choice(parser.samples), parser.structure, by)
            if not parser.keeps:
                shutil.rmtree(place, ignore_errors=True)
            place.mkdir(exist_ok=True)
            if problem := tried(parser, data, place):
                kind = problem.partition(": ")[0]
                found.setdefault(kind, f"run {run} of seed {SEED}: {problem[:_SHOWN]}\n  {data[:_SHOWN]!r}")
    assert not found, "\n".join(found.values())


@pytest.mark.parametrize("name", PARSERS)
def test_the_samples_themselves_can_be_read(name: str, tmp_path: Path) -> None:
    parser = PARSERS[name]
    for number, sample in enumerate(parser.samples):
        place = tmp_path / str(number)
        place.mkdir()
        parser.read(sample, place)
