"""Every question about the store's bucket names its owner; other buckets are nobody's business here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.aws import Clients, connect
from builder.hashing import sha256_of
from builder.store.s3 import S3Store
from localaws.testing import Server
from tests.store.storing import new_bucket

ACCOUNT, HEADER = "123456789012", "x-amz-expected-bucket-owner"


@pytest.fixture
def clients(localaws: Server) -> Iterator[Clients]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in localaws.env.items():
            patch.setenv(name, value)
        yield connect()


def test_all_that_the_store_asks_names_the_owner(clients: Clients, localaws: Server, tmp_path: Path) -> None:
    bucket, other = new_bucket(localaws), new_bucket(localaws)
    clients.expect_owner(bucket, ACCOUNT)
    asked: list[tuple[str, str | None]] = []

    def see(model: Any, params: Any, **_: object) -> None:
        asked.append((model.name, params["headers"].get(HEADER)))

    clients.s3.meta.events.register("before-call.s3", see)
    store, file = S3Store(clients, bucket, "t/"), tmp_path / "file"
    file.write_bytes(b"x" * (20 << 20))
    store.put("big", file, sha256=sha256_of(file))
    store.fetch("big", tmp_path / "again")
    store.write_json("a.json", {})
    etag = store.write_if("b.json", {"nonce": "1"}, etag=None)
    store.delete_if("b.json", etag=etag or "")
    assert store.exists("big")
    store.version_id("big")
    part = store.below("part")
    part.put("big", file, sha256=sha256_of(file))
    assert store.take("big", part, sha256=sha256_of(file), size=20 << 20)
    store.first_names("folder", 3)
    list(clients.s3.get_paginator("list_object_versions").paginate(Bucket=bucket))
    names = {name for name, _ in asked}
    assert {"CopyObject", "GetObject", "HeadObject", "PutObject", "DeleteObject", "ListObjectsV2"} <= names
    assert {owner for _, owner in asked} == {ACCOUNT}
    asked.clear()
    clients.s3.list_objects_v2(Bucket=other)
    assert asked == [("ListObjectsV2", None)]
