"""What packages and children of a project can do to a build, through real events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Builder
from tests.index import Index, serving
from tests.wheelhouse import make_wheel

HANDLER = "def handler(event, context): ...\n"


def project(runtime: str, *layers: str, code: str = HANDLER) -> dict[str, str | None]:
    head = f"function: {{runtimes: [{runtime}], handler: app.handler, files: [app.py]}}\n"
    return {"build.yaml": head + "".join(["layers:\n" * bool(layers), *layers]), "app.py": code}


@pytest.fixture
def indexes(tmp_path: Path) -> Iterator[tuple[Index, Index]]:
    """A private index and a public one, where someone else has registered the private name."""
    private, public = tmp_path / "private", tmp_path / "public"
    private.mkdir()
    public.mkdir()
    make_wheel(private, "corp_x", "1.0", files={"corp_x.py": ""}, requires=("seed",))
    make_wheel(public, "corp_x", "9.0", files={"corp_x.py": ""})
    make_wheel(public, "seed", "1.0", files={"seed.py": ""})
    with serving(private) as one, serving(public) as other:
        yield one, other


def test_the_reply_says_where_every_distribution_comes_from(builder: Builder, indexes: tuple[Index, Index]) -> None:
    private, public = (index.simple.removeprefix("http://") for index in indexes)
    files = project(builder.runtime, "  dependencies: [requirements.txt]\n")
    files["requirements.txt"] = f"--index-url http://{private}\n--extra-index-url http://{public}\ncorp-x\n"
    builder.forge.push("confusion", files)
    for _ in range(2):  # the second finds the lock of the first
        reply = builder.send(
            {"action": "package", "function": "confusion", "repo_name": "confusion", "components": ["dependencies"]}
        )
        assert reply["statusCode"] == 200, reply
        assert reply["distributions"] == [
            {"name": "corp-x", "version": "1.0", "index": private},
            {"name": "seed", "version": "1.0", "index": public},
        ]
        assert [one for one in reply["warnings"] if f"{private} and {public} both have corp-x" in one]


FLOODS = {
    "a line of 100 MB": "head -c 100000000 /dev/zero | tr '\\0' x; exit 1",
    "zeros": "head -c 30000000 /dev/zero; exit 1",
    "no UTF-8": "head -c 8000000 /dev/urandom; exit 1",
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_command_that_floods_is_a_short_error(builder: Builder, flood: str) -> None:
    files = project(builder.runtime, f"  l:\n    preinstall:\n      - |\n        {flood}\n    files: [x]\n")
    builder.forge.push("flood", files)
    reply = builder.build("flood")
    assert reply["error"]["code"] == "command_failed", reply["error"]
    assert len(str(reply)) < 100_000
    assert all(line.isprintable() or "\ufffd" in line for line in reply["error"]["log_tail"])


def test_an_import_that_fails_with_seven_megabytes_is_a_short_error(builder: Builder) -> None:
    builder.forge.push("verbose", project(builder.runtime, code="raise ValueError('\\x1b[31m' + 'x' * 7_000_000)\n"))
    reply = builder.build("verbose")
    assert reply["error"]["code"] == "import_failed", str(reply)[:1000]
    assert "fails: ValueError: xxx" in reply["error"]["message"]
    assert len(str(reply)) < 100_000


HUNGRY = 'python -c "bytearray(3 << 30)"'


def test_what_wants_too_much_memory_is_told_so_and_the_builder_lives(builder: Builder) -> None:
    builder.forge.push("hungry", project(builder.runtime, f"  l: {{preinstall: ['{HUNGRY}'], files: [x]}}\n"))
    assert builder.build("hungry")["error"]["code"] == "out_of_memory"
    builder.forge.push("hungry2", project(builder.runtime, code="much = bytearray(3 << 30)\n" + HANDLER))
    assert builder.build("hungry2")["error"]["code"] == "out_of_memory"
