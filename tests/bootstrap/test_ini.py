"""setup.py and deploy.sh read the same config.ini, so they have to read the same in it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bootstrap.config.ini import read_lines

ROOT = Path(__file__).resolve().parent.parent.parent
AWKS = [
    pytest.param(command, id=" ".join(command))
    for command in (["gawk"], ["mawk"], ["busybox", "awk"])
    if shutil.which(command[0])
] or [pytest.param(["awk"], id="awk")]


def by_setup(text: str) -> list[str]:
    """`section.key=value`, without what deploy.sh does not print: secrets, and lines that are none."""
    lines = [line for line in read_lines(text) if line.key is not None]
    return [f"{line.section}.{line.key}={line.value}" for line in lines if not re.search("secret|token", str(line.key))]


def reader() -> str:
    """deploy.sh's awk program."""
    asked = ["bash", "-c", 'source "$1" && printf %s "$INI_READER"', "-", str(ROOT / "deploy.sh")]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout


PROGRAM = reader()


def by_deploy(text: str, awk: list[str], secret: str = "") -> str:
    done = subprocess.run(
        [*awk, "-v", f"SECRET={secret}", PROGRAM],
        input=text.encode(),
        capture_output=True,
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin:/usr/local/bin"},
        check=True,
    )
    return done.stdout.decode()


def parsed(printed: str) -> list[str]:
    return [line for line in printed.split("\n") if line and not line.startswith("!")]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", "a"),
        ("  a b  ", "a b"),
        ("a # why", "a"),
        ("a ; why", "a"),
        ("a#b;c", "a#b;c"),
        ("# nothing", ""),
        ('"a # b"', "a # b"),
        ('"a" # b', "a"),
        ("' a '", " a "),
        ('"it\'s"', "it's"),
        ('"a"b"', 'a"b'),
        ('"a', '"a'),
        ('"', '"'),
        ("a = b: c", "a = b: c"),
        ("a\r", "a"),
    ],
)
def test_values(text: str, value: str) -> None:
    [line] = read_lines(f"[s]\nk ={text}")
    assert line.value == value
    for awk in AWKS:
        assert parsed(by_deploy(f"[s]\nk ={text}", awk.values[0])) == [f"s.k={value}"]  # type: ignore[arg-type]


pieces = st.sampled_from(
    [
        *"\t =:#;[]\"'\r",
        " ",
        "  ",
        " #",
        " ;",
        "aws",
        "deploy",
        "Key",
        "git_token",
        "ä",
        "\ufeff",
        "x",
        "\x0b",
        "\x85",
        "\\",
    ]
)
texts = st.lists(st.lists(pieces, max_size=9).map("".join), max_size=8).map("\n".join)


@pytest.mark.parametrize("awk", AWKS)
@settings(max_examples=40)
@given(texts)
@example("[ aws ] # x\naws_region = eu-central-1 # here\n  function : 'a'\n")
@example("\ufeff[aws]\r\nkey=1\r\n\r\n")
@example("key = 1\n[a]\nkey\n")
@example("[aws \t\nkey=1")
def test_both_read_the_same(awk: list[str], text: str) -> None:
    assert parsed(by_deploy(text, awk)) == by_setup(text)


@pytest.mark.parametrize("awk", AWKS)
def test_both_read_the_same_secret(awk: list[str]) -> None:
    text = "[github]\ngit_token = 'a # b' # c\n"
    [line] = read_lines(text)
    assert by_deploy(text, awk, "github.git_token") == f"{line.value}\n" == "a # b\n"
