"""A project in a directory of a repository is deployed again when files change that it has from elsewhere there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.conftest import Builder

HANDLER = "import util\ndef handler(event, context):\n    return util.WORD\n"
PLACED = "files: [app.py, {from: ../../shared/util.py, to: util.py}]"


def one(runtime: str, name: str) -> str:
    return f"function: {{runtimes: [{runtime}], handler: app.handler, {PLACED}}}\n"


def several(runtime: str, name: str) -> str:
    return (
        f"defaults: {{runtimes: [{runtime}], handler: app.handler, name: '{name}-{{name}}'}}\n"
        f"functions:\n  api: {{{PLACED}}}\n  other: {{files: [app.py, util.py]}}\n"
    )


@pytest.mark.parametrize(
    ("name", "text", "target", "function"),
    [("atoll", one, "function", "atoll"), ("reef", several, "project", "reef-api")],
)
def test_a_shared_file_that_changed_is_deployed(
    builder: Builder, name: str, text: Callable[[str, str], str], target: str, function: str
) -> None:
    builder.forge.push(
        name,
        {
            "services/api/build.yaml": text(builder.runtime, name),
            "services/api/app.py": HANDLER,
            "services/api/util.py": "WORD = 'own'\n",
            "shared/util.py": "WORD = 'one'\n",
        },
    )
    event = {"action": "build", target: name, "repo_name": name, "path": "services/api"}
    first = builder.send(event)
    assert first["statusCode"] == 200, first["error"]["message"]
    assert builder.invoke(function) == "one"

    builder.forge.push(name, {"shared/util.py": "WORD = 'two'\n"})
    assert builder.send(event)["statusCode"] == 200
    assert builder.invoke(function) == "two"
