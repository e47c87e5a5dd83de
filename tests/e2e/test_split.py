"""`isolation = split`: the builder makes nothing itself, and its worker, which makes all, may do nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from localaws.testing import Server, running
from tests.e2e.conftest import Builder, Forge, make_builder

HANDLER = "import idna\n\ndef handler(event, context):\n    return [{word!r}, idna.encode('bücher').decode()]\n"


@pytest.fixture(scope="module")
def enforcing() -> Iterator[Server]:
    with running(forward_network=True, enforce_iam=True) as server:
        if "isolation plain" in server.ready_line:
            pytest.skip("functions read /opt, which needs the sandbox; install bubblewrap, and allow user namespaces")
        yield server


@pytest.fixture(scope="module")
def builder(enforcing: Server, forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    return make_builder(enforcing, forge, tmp_path_factory.mktemp("operator"), "isolation = split\n")


def project(builder: Builder, word: str) -> dict[str, str | None]:
    return {
        "build.yaml": (
            f"function:\n  runtimes: [{builder.runtime}]\n  handler: app.handler\n  files: [app.py]\n"
            "layers:\n  dependencies: [requirements.txt]\n"
        ),
        "app.py": HANDLER.format(word=word),
        "requirements.txt": "idna\n",
    }


def test_deploys(builder: Builder) -> None:
    commit = builder.forge.push("parted", project(builder, "one"))
    made = builder.build("parted")
    assert made["statusCode"] == 200, made
    assert made["commit"] == commit
    assert builder.invoke("parted") == ["one", "xn--bcher-kva"]
