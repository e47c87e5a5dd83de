"""What setup.py says: here of a builder's status."""

from __future__ import annotations

from bootstrap.config.settings import Config
from bootstrap.report import notes, probe, status
from tests.bootstrap.test_plan import NAMES, installed


def lines(**answer: object) -> str:
    return "\n".join(status(NAMES, installed(), answer, ()).lines)


def test_status_shows_how_much_code_storage_is_in_use() -> None:
    storage = {
        "limit_bytes": 300 * 1024**3,
        "used_bytes": 12_345_678_901,
        "ours_bytes": 4_567_890,
        "functions": 3,
        "versions": 8,
        "layers": 5,
    }
    shown = lines(builds=[], storage=storage)
    assert "storage   12.3 GB of 322.1 GB of code storage are in use in this account and region\n" in shown
    assert "storage   ours: 8 versions of 3 functions, 5 layer versions, 4.6 MB zipped\n" in shown
    assert status(NAMES, installed(), {"storage": storage}, ()).facts["storage"] == storage


def test_a_builder_that_cannot_tell_says_why_and_one_that_says_nothing_is_fine() -> None:
    assert "storage   ? listing functions: denied" in lines(storage={"problem": "listing functions: denied"})
    assert "storage" not in lines()


def test_builds_that_are_not_told_are_not_none() -> None:
    assert "builds    none yet" in lines(builds=[])
    untold = lines(ready=True)  # with `status = function`
    assert "none yet" not in untold
    assert "builds    shown for one function at a time: deploy.sh --status -f NAME" in untold


def test_a_probe_tells_what_nobody_knew_before() -> None:
    answer = {
        "baseline": {
            "runtime": "python3.13",
            "architecture": "arm64",
            "system": "AL2023",
            "versions": {"GLIBC": "2.34", "GLIBCXX": "3.4.33"},
            "libraries": {"libc.so.6": {}, "libnew.so.1": {}},
            "runtime_libraries": {"libpython3.13.so.1.0": {}},
        },
        "difference": {
            "added": ["libnew.so.1"],
            "missing": ["libz.so.1"],
            "versions": {"GLIBCXX": {"known": "3.4.29", "found": "3.4.33"}},
        },
        "recorded": "baselines/AL2023-arm64.json",
    }
    assert list(probe(answer).lines) == [
        "python3.13 on arm64 (AL2023): 2 libraries of the system, 1 of the runtime",
        "  GLIBC 2.34, GLIBCXX 3.4.33",
        "  GLIBCXX: 3.4.33, known was 3.4.29",
        "  not known before: libnew.so.1",
        "  known to be there, and is not: libz.so.1",
        "recorded as baselines/AL2023-arm64.json; builds for AL2023 use it from now on",
    ]
    assert "not recorded" in probe({**answer, "recorded": None}).lines[-1]


def test_an_operator_without_a_role_for_new_functions_is_told() -> None:
    def said(config: Config) -> bool:
        return any("updates functions and creates none" in note for note in notes(config, private=True))

    assert said(Config())
    assert not said(Config(role="app"))
    assert not said(Config(roles=("team-*",)))
