"""The store: content under keys in our prefix of the user's bucket, or in a directory on a workstation.

Names in the store (all below the prefix):
    artifacts/SHA256.zip        what Lambda gets
    components/KEY.json         key of a component's inputs → its artifact
    layers/LAYER/SHA256.json    artifact → the layer version that has it
    locks/KEY.json              key of requirement files and target → PEP 751 lock
    built/KEY.whl, KEY.json     key of a source (sdist, commit, directory) and target → the wheel made of it
    parts/KEY.zip               pruned wheels
    natives/FORMAT-KEY.json     what the native files of a part or artifact need
    checks/KEY.json             what was found out of a set of artifacts before publishing
    builds/BUILD_ID.json        state of a build while it runs, its reply when it ended
    records/FUNCTION/….json     one account per ended build, newest first by name
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from builder.aws import aws_errors, error_code

if TYPE_CHECKING:
    from builder.aws import Clients

JsonObject = Mapping[str, object]
_MISSING = {"404", "NoSuchKey", "NotFound"}
_TAKEN = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}


class Store(Protocol):
    """Where parts, artifacts and records are kept. Every method may be called from several threads."""

    def read_json(self, name: str) -> dict[str, object] | None:
        """The object at `name`, None if there is none."""

    def write_json(self, name: str, value: JsonObject, *, only_if_new: bool = False) -> bool:
        """Write `value`; False if `only_if_new` and something is there already (then nothing is changed)."""

    def fetch(self, name: str, into: Path) -> bool:
        """Copy the content at `name` to the file `into`, whole or not at all; False if there is none."""

    def put(self, name: str, path: Path) -> None:
        """Keep a copy of the file."""

    def exists(self, name: str) -> bool:
        """Whether there is content at `name`."""

    def newest(self, folder: str, count: int) -> list[dict[str, object]]:
        """The last `count` JSON objects below `folder/`, by name, the last first."""


class S3Store:
    """A prefix in a bucket. Uploads and downloads of large files go in parallel parts."""

    def __init__(self, clients: Clients, bucket: str, prefix: str) -> None:
        self._clients = clients
        self.bucket = bucket
        self._prefix = prefix

    def key(self, name: str) -> str:
        """The S3 key of a name in the store."""
        return self._prefix + name

    @contextlib.contextmanager
    def _errors(self, doing: str, name: str) -> Iterator[None]:
        with aws_errors(f"{doing} s3://{self.bucket}/{self.key(name)}"):
            yield

    def read_json(self, name: str) -> dict[str, object] | None:
        from botocore.exceptions import ClientError

        with self._errors("reading", name):
            try:
                answer = self._clients.s3.get_object(Bucket=self.bucket, Key=self.key(name))
            except ClientError as error:
                if error_code(error) in _MISSING:
                    return None
                raise
            value: dict[str, object] = json.loads(answer["Body"].read())
            return value

    def write_json(self, name: str, value: JsonObject, *, only_if_new: bool = False) -> bool:
        from botocore.exceptions import ClientError

        body = json.dumps(value, sort_keys=True).encode()
        with self._errors("writing", name):
            try:
                if only_if_new:
                    self._clients.s3.put_object(
                        Bucket=self.bucket,
                        Key=self.key(name),
                        Body=body,
                        ContentType="application/json",
                        IfNoneMatch="*",
                    )
                else:
                    self._clients.s3.put_object(
                        Bucket=self.bucket, Key=self.key(name), Body=body, ContentType="application/json"
                    )
            except ClientError as error:
                if only_if_new and error_code(error) in _TAKEN:
                    return False
                raise
        return True

    def fetch(self, name: str, into: Path) -> bool:
        from botocore.exceptions import ClientError

        with self._errors("reading", name), _whole(into) as partial:
            try:
                self._clients.s3.download_file(self.bucket, self.key(name), str(partial))
            except ClientError as error:
                if error_code(error) in _MISSING:
                    return False
                raise
        return True

    def put(self, name: str, path: Path) -> None:
        with self._errors("writing", name):
            self._clients.s3.upload_file(str(path), self.bucket, self.key(name))

    def exists(self, name: str) -> bool:
        from botocore.exceptions import ClientError

        with self._errors("looking for", name):
            try:
                self._clients.s3.head_object(Bucket=self.bucket, Key=self.key(name))
            except ClientError as error:
                if error_code(error) in _MISSING:
                    return False
                raise
        return True

    def newest(self, folder: str, count: int) -> list[dict[str, object]]:
        # Names of records count down, so that the first page of a listing holds the newest.
        with self._errors("listing", folder):
            page = self._clients.s3.list_objects_v2(Bucket=self.bucket, Prefix=self.key(folder) + "/", MaxKeys=count)
        keys = [entry["Key"].removeprefix(self._prefix) for entry in page.get("Contents", [])]
        return [value for key in keys if (value := self.read_json(key)) is not None]


class DirectoryStore:
    """A directory, for builds on a workstation."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _path(self, name: str) -> Path:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def read_json(self, name: str) -> dict[str, object] | None:
        path = self._root / name
        if not path.exists():
            return None
        value: dict[str, object] = json.loads(path.read_text())
        return value

    def write_json(self, name: str, value: JsonObject, *, only_if_new: bool = False) -> bool:
        path = self._path(name)
        with _whole(path) as partial:
            partial.write_text(json.dumps(value, sort_keys=True))
            if only_if_new:
                try:
                    path.hardlink_to(partial)
                except FileExistsError:
                    partial.unlink()
                    return False
        return True

    def fetch(self, name: str, into: Path) -> bool:
        path = self._root / name
        if not path.exists():
            return False
        with _whole(into) as partial:
            shutil.copyfile(path, partial)
        return True

    def put(self, name: str, path: Path) -> None:
        with _whole(self._path(name)) as partial:
            try:
                partial.hardlink_to(path)  # what is put here is complete, and never written to again
            except OSError:
                shutil.copyfile(path, partial)

    def exists(self, name: str) -> bool:
        return (self._root / name).exists()

    def newest(self, folder: str, count: int) -> list[dict[str, object]]:
        paths = sorted((self._root / folder).glob("*.json"))[:count]
        return [json.loads(path.read_text()) for path in paths]


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place if it is there when the block ends without an error."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    partial = Path(name)
    partial.unlink()
    try:
        yield partial
        if partial.exists():
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
