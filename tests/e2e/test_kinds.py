"""Functions that are not Python: built by the builder in its sandbox, which has no compiler, and invoked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from builder.elf import read_natives
from tests.e2e.conftest import ROOT, Builder
from tests.e2e.test_sources import encoded, zipped

pytestmark = pytest.mark.slow

GO = {name: (ROOT / "examples" / "go" / name).read_text() for name in ("go.mod", "go.sum", "main.go")}


def packaged(builder: Builder, reply: Mapping[str, Any], folder: Path) -> Path:
    """The function's artifact on this disk."""
    content = builder.client("s3").get_object(Bucket=reply["bucket"], Key=reply["key"])["Body"].read()
    path = folder / f"{reply['name']}.zip"
    path.write_bytes(content)
    return path


def created(builder: Builder, name: str, reply: Mapping[str, Any], **settings: object) -> None:
    made = builder.client("lambda").create_function(
        FunctionName=name,
        Role=builder.role,
        Runtime="provided.al2023",
        Handler="bootstrap",
        Code={"S3Bucket": reply["bucket"], "S3Key": reply["key"]},
        **settings,
    )
    assert made["CodeSha256"] == reply["source_code_hash"]
    builder.client("lambda").get_waiter("function_active_v2").wait(FunctionName=name)


def test_go_from_an_archive_for_both_architectures(builder: Builder, tmp_path: Path) -> None:
    event = {"name": "gopher", "architecture": "amd64", "archive": encoded(zipped(GO))}
    ours = builder.send(event)
    assert ours["statusCode"] == 200, json.dumps(ours, indent=1)
    created(builder, "gopher", ours)
    assert builder.invoke("gopher", {"name": "Ada"}) == {"greeting": "Hello, Ada!", "architecture": "amd64"}
    # The same content again, packed otherwise: the same answer, and nothing is built.
    again = builder.send({**event, "archive": encoded(zipped(dict(reversed(GO.items()))))})
    assert [again[key] for key in ("bucket", "key", "source_code_hash")] == [
        ours[key] for key in ("bucket", "key", "source_code_hash")
    ]
    assert [row["action"] for row in again["artifacts"]] == ["reuse"]
    theirs = builder.send({**event, "architecture": "aarch64"})
    assert theirs["statusCode"] == 200, json.dumps(theirs, indent=1)
    [native] = read_natives(packaged(builder, theirs, tmp_path))
    assert (native.path, native.machine, native.needed) == ("bootstrap", "aarch64", ())
