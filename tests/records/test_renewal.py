"""Where S3 removes artifacts by their age, what a build uses again counts as new."""

from __future__ import annotations

import hashlib
from pathlib import Path

from localaws.testing import Server
from tests.store.storing import new_bucket, store_in


def test_an_artifact_that_is_used_again_begins_anew(localaws: Server, tmp_path: Path) -> None:
    """Others that have the older version can read it on; nothing but artifacts, and nothing young, is written."""
    s3, bucket = localaws.client("s3"), new_bucket(localaws)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    file = tmp_path / "a.zip"
    file.write_bytes(b"content")
    sha256 = hashlib.sha256(b"content").hexdigest()
    name, other = f"artifacts/{sha256}.zip", "parts/x.zip"
    store = store_in(localaws, bucket)
    for each in (name, other):
        store.put(each, file, sha256=sha256)
    first = store.version_id(name)

    def versions() -> list[int]:
        listed = s3.list_object_versions(Bucket=bucket)["Versions"]
        return [sum(row["Key"].endswith(each) for row in listed) for each in (name, other)]

    for renew_s, expected in ((None, [1, 1]), (24 * 3600.0, [1, 1]), (0.0, [2, 1])):
        store._renew_s = renew_s
        assert store.exists(name, sha256=sha256)
        assert store.exists(other, sha256=sha256)
        assert versions() == expected
    assert not store.exists(name, sha256="0" * 64)
    assert versions() == [2, 1]
    assert store.fetch(name, tmp_path / "b.zip", sha256=sha256)
    assert s3.get_object(Bucket=bucket, Key=f"t/{name}", VersionId=first)["Body"].read() == b"content"
    store._renew_s = None
    assert store.exists(name, sha256=sha256)
    assert not store._renew(name, '"another"')
