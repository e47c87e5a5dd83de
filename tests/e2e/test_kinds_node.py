"""Node.js functions: built by the builder in its sandbox, from an archive and from git, and invoked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Builder
from tests.e2e.test_sources import encoded, zipped
from tests.python.packages import project

pytestmark = pytest.mark.slow

EXAMPLE = ROOT / "examples" / "node"
NODE = {path.name: path.read_text() for path in EXAMPLE.iterdir() if path.is_file()}
# One repository, one lock, a function and what it shares with others as workspaces.
BUILD = """\
function:
  runtimes: [nodejs22.x]
  handler: index.handler
  build: {node: {bundle: src/index.ts, external: ["@node-rs/crc32"]}}
"""
SOURCE = """\
import ms from "ms";
import { crc32 } from "@node-rs/crc32";
import { shout } from "@shop/words";

interface Event { text: string }
export const handler = async (event: Event): Promise<unknown> => [shout(event.text), crc32(event.text), ms("1m")];
"""


def monorepo() -> dict[str, str]:
    lock = json.loads(project("ms", "@node-rs/crc32", dev=("esbuild",))["package-lock.json"])
    function = {"name": "order", "dependencies": lock["packages"][""]["dependencies"] | {"@shop/words": "*"}}
    words = {"name": "@shop/words", "version": "1.0.0", "main": "index.js"}
    top = {"name": "shop", "workspaces": ["packages/*"], "devDependencies": {"esbuild": "0.28.2"}}
    lock["packages"] |= {
        "": top,
        "packages/order": function,
        "packages/words": words,
        "node_modules/order": {"resolved": "packages/order", "link": True},
        "node_modules/@shop/words": {"resolved": "packages/words", "link": True},
    }
    return {
        "package.json": json.dumps(top),
        "package-lock.json": json.dumps(lock),
        "packages/words/package.json": json.dumps(words),
        "packages/words/index.js": "exports.shout = (text) => text.toUpperCase();\n",
        "packages/order/package.json": json.dumps(function),
        "packages/order/build.yaml": BUILD,
        "packages/order/src/index.ts": SOURCE,
    }


def test_the_example_from_an_archive(builder: Builder) -> None:
    without_build_file = {name: text for name, text in NODE.items() if name != "build.yaml"}
    event = {"action": "build", "function": "reminder", "archive": encoded(zipped(without_build_file))}
    reply = builder.send(event)
    assert reply["statusCode"] == 200, json.dumps(reply, indent=1)
    asked = {"in": "2 days", "from": "2026-11-21T10:00:00Z"}
    assert builder.invoke("reminder", asked) == {"due": "2026-11-23T10:00:00.000Z", "in": "2 days"}
    [function] = reply["artifacts"]
    assert function["contents"] == ["ms 2.1.3"]
    again = builder.send({**event, "build_id": "again"})
    assert (again["changed"], again["layers"]) == ([], [])
    # The same with the packages in a layer, which Lambda's Node.js looks through for ES modules, too.
    layered = "function:\n  runtimes: [nodejs24.x]\n  handler: index.handler\n  files: [index.js, package.json]\n"
    files = {**NODE, "build.yaml": f"{layered}layers:\n  dependencies: [package-lock.json]\n"}
    reply = builder.send({**event, "archive": encoded(zipped(files))})
    assert [row["name"] for row in reply["layers"]] == ["dependencies"], json.dumps(reply, indent=1)
    assert reply["checks"]["tried"]
    assert builder.invoke("reminder", {**asked, "in": "1 day"})["due"] == "2026-11-22T10:00:00.000Z"


def test_a_workspace_of_a_repository_bundled_and_broken_sources_leave_it_as_it_is(
    builder: Builder, tmp_path: Path
) -> None:
    builder.forge.push("shop", monorepo())
    event = {"path": "packages/order", "function": "order"}
    reply = builder.build("shop", **event)
    assert reply["statusCode"] == 200, json.dumps(reply, indent=1)
    assert builder.invoke("order", {"text": "hello"}) == ["HELLO", 907060870, 60000]
    before = builder.state("order")
    # What it shares with others lies elsewhere in the repository, and is a reason to build all the same.
    builder.forge.push("shop", {"packages/words/index.js": "exports.shout = (text) => `${text}!`;\n"})
    changed = builder.build("shop", **event)
    assert changed["statusCode"] == 200, json.dumps(changed, indent=1)
    assert builder.invoke("order", {"text": "hello"})[0] == "hello!"
    assert builder.state("order") != before
    before = builder.state("order")
    builder.forge.push("shop", {"packages/order/src/index.ts": SOURCE.replace("=> [", "=> ]")})
    broken = builder.build("shop", **event)["error"]
    assert (broken["code"], broken["phase"]) == ("compilation_failed", "function")
    assert "esbuild src/index.ts fails: src/index.ts:6:" in broken["message"]
    builder.forge.push("shop", {"package-lock.json": "{}", "packages/order/src/index.ts": SOURCE})
    assert builder.build("shop", **event)["error"]["code"] == "invalid_build_file"
    assert builder.state("order") == before
