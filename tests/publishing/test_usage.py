"""How much code storage is in use, and how much of it by what this builder has deployed."""

from __future__ import annotations

import pytest

from builder.aws import connect
from builder.publishing.usage import storage
from builder.store.s3 import S3Store
from builder.workspace.directory import Deadline
from localaws.testing import running, zip_of
from tests.localaws.lab import make_lab


def test_of_all_and_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """In an account of its own: sums over an account are what is tested."""
    with running(isolation="plain") as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        lab, clients = make_lab(server), connect()
        clients.s3.create_bucket(Bucket="the-bucket")
        store = S3Store(clients, "the-bucket", "smith/")
        for function in ("web", "gone"):
            store.write_json(f"records/{function}/1.json", {})
        code = zip_of({"app.py": "x = 1"})
        words: dict[str, str | bytes] = {"words": "x" * 1000}
        arns = [lab.layer(words, "web--words"), lab.layer(words, "web--words")]
        lab.layer(words, "somebodys")
        lab.layer(words, "smith-layer")
        for name in ("web", "webby"):
            lab.function(FunctionName=name, Code={"ZipFile": code}, Layers=arns[1:])
        lab.client.publish_version(FunctionName="web")
        found = storage(clients, store, own_layer="smith-layer", deadline=Deadline.after(300))
        layer = len(zip_of(words))
        assert found == {
            "limit_bytes": 300 * 1024**3,
            "used_bytes": 3 * len("x = 1") + 4 * 1000,
            "ours_bytes": 2 * len(code) + 3 * layer,
            "functions": 1,
            "versions": 2,
            "layers": 3,
        }
        assert clients.calls.counts["lambda", "GetLayerVersionByArn"] == 2  # of those that nothing has attached
        late = storage(clients, store, own_layer="smith-layer", deadline=Deadline.after(1))
        assert "too little time" in str(late["problem"])
