"""The store: content under keys in our prefix of the user's bucket, or in a directory on a workstation.

JSON is written as `builder.store.values` says, with a checksum. Names in the store (all below the prefix):
    artifacts/SHA256.zip        what Lambda gets
    components/KEY.json         key of a component's inputs → its artifact
    layers/SHA256.json          artifact → the layer version that has it
    locks/KEY.json              key of requirement files and target → PEP 751 lock
    pinned/SHA256.json          the same by its own content, for what was deployed with it
    built/KEY.whl, KEY.json     key of a source (sdist, commit, directory) and target → the wheel made of it
    parts/KEY.zip               pruned wheels
    natives/FORMAT-KEY.json     what the native files of a part or artifact need
    baselines/SYSTEM-ARCH.json  what a builder has found its system and runtime to have
    checks/KEY.json             what was found out of a set of artifacts before publishing
    deployed/FUNCTION.json      what the last deploy left, to tell that nothing has changed
    borrowed/LAYER/FUNCTION.json  that a function has another's layer attached
    leases/FUNCTION.json        which build may change the function now
    builds/BUILD_ID.json        state of a build while it runs, its reply when it ended
    repositories/SHA256.json    that a repository is large, by its address
    records/FUNCTION/….json     one account per ended build, newest first by name
    projects/PROJECT/….json     the same of a project with several functions; at a stage PROJECT@STAGE
    projects/PROJECT.json       what its functions were when all were deployed last
    recent/….json               a short one, of all functions
    stacks/SHA256.json          what CloudFormation was answered last for a custom resource, by stack and logical id
    uploads/TREE.tar.gz         projects too large for an event, as deploy.sh sent them, by git's id of their content
    toolchains/SHA256           compilers and build tools as they were fetched; NAME-VERSION-MACHINE.json says which
    caches/ID.tar.zst, ID.json  what compilers keep of a project; and what it was when it was kept
    sources/NAME/OWNER/manifest.json.gz  a project as Terraform keeps it there: small files in it, others beside it in
                                files/SHA256; OWNER is one module in one state
    vouched/SHA256/….json       which refs had a commit that was deployed from there
    fanout/BUILD_ID/items.json  the parts of a build that many invocations make, for Step Functions
    domains/ID/…                the same folders once more, for what the code of one trust domain has made
    orders/NONCE.json           the hash of an order to the worker, by which the worker knows it as the builder's; and
                                the key to what is secret in it
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from builder.aws import Expected, aws_errors, error_code
from builder.errors import AwsRefused, AwsUnavailable, StoreMissing
from builder.store import whole
from builder.store.keeping import Damaged, Parse, Store, matching, mismatch
from builder.store.values import JsonObject, UnfitError, body, value_of

if TYPE_CHECKING:
    from builder.aws import Clients

T = TypeVar("T")
_MISSING = {"404", "NoSuchKey", "NotFound"}
# Codes of a conditional request whose condition does not hold, or that met another one. If-Match on nothing is 404.
_TAKEN = {"PreconditionFailed", "412", "ConditionalRequestConflict", "OperationAborted", "409", *_MISSING}
# Codes for content that does not have the hash that it was sent with.
_OTHER_CONTENT = {"BadDigest", "XAmzContentChecksumMismatch"}
# S3 answers in some 30 ms whatever it is asked: sixteen at a time make a list of records one wait instead of many.
_READERS = 16
ARTIFACTS = "artifacts/"


@dataclass(frozen=True, kw_only=True)
class Version:
    """JSON as it was in the store at one moment; `value` is None if it is not what was written.

    `etag` changes with the content. `age_s` is the least time since it was written, by S3's own clock, which counts
    whole seconds: builders' clocks may differ.
    """

    value: JsonObject | None
    etag: str
    age_s: float


class S3Store(Store):
    """A prefix in a bucket. Downloads of large files come in parallel parts."""

    def __init__(
        self,
        clients: Clients,
        bucket: str,
        prefix: str,
        *,
        warn: Callable[[str], None] = lambda _: None,
        renew_s: float | None = None,
    ) -> None:
        """Use the objects that are there.

        Args:
            warn: called for objects that cannot be read, and count as absent.
            renew_s: age in seconds from which an artifact that is asked for is written again, so that S3, which removes
                artifacts by their age, counts from their last use. None if nothing removes them.
        """
        super().__init__(warn)
        self._clients = clients
        self.bucket = bucket
        self._prefix = prefix
        self._renew_s = renew_s
        self._put: Counter[str] = Counter()
        self._absent = _MISSING

    def below(self, folder: str) -> S3Store:
        """Return the part of this store below `folder/`; what is put there counts as put here."""
        place = f"{self._prefix}{folder}/"
        part = S3Store(self._clients, self.bucket, place, warn=self._warn, renew_s=self._renew_s)
        part._put = self._put
        return part

    @property
    def stored(self) -> int:
        """Number of objects that were put."""
        return self._put.total()

    @property
    def identity(self) -> str:
        """Text that tells this store from others; the same after it was lost and made again."""
        return hashlib.sha256(f"{self.bucket}/{self._prefix}".encode()).hexdigest()[:8]

    def key(self, name: str) -> str:
        """Return the S3 key of a name in the store."""
        return self._prefix + name

    def place(self, name: str) -> str:
        return f"s3://{self.bucket}/{self.key(name)}"

    @contextlib.contextmanager
    def _errors(self, doing: str, name: str) -> Iterator[None]:
        try:
            with aws_errors(f"{doing} {self.place(name)}"):
                yield
        except AwsRefused as error:
            if error_code(error) != "NoSuchBucket":
                raise
            raise StoreMissing(
                f"the bucket {self.bucket}, where the builder keeps what it has made, no longer exists",
                hint="run `python setup.py init`: it makes the bucket again; functions and layers are as they were",
            ) from error

    def read_bytes(self, name: str) -> bytes | None:
        found = self._got(name)
        return found[0] if found else None

    def _got(self, name: str) -> tuple[bytes, str, float] | None:
        """Return the content, its ETag and its age."""
        with self._errors("reading", name), Expected(self._absent) as absent:
            answer = self._clients.s3.get_object(Bucket=self.bucket, Key=self.key(name))
            content = answer["Body"].read()
        if absent.error:
            return None
        asked = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        # Both dates are S3's, to whole seconds: subtracting one makes the age a lower bound, so that no lease expires
        # early.
        age_s = (asked - answer["LastModified"]).total_seconds() - 1
        return content, answer["ETag"], max(0.0, age_s)

    def read_version(self, name: str) -> Version | None:
        """Read the JSON at `name` with what a conditional write needs, None if there is none."""
        found = self._got(name)
        if found is None:
            return None
        content, etag, age_s = found
        try:
            return Version(value=value_of(content), etag=etag, age_s=age_s)
        except UnfitError:
            return Version(value=None, etag=etag, age_s=age_s)

    def write_json(self, name: str, value: JsonObject) -> None:
        with self._errors("writing", name):
            self._clients.s3.put_object(
                Bucket=self.bucket, Key=self.key(name), Body=body(value), ContentType="application/json"
            )

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write an object that is no result of a build."""
        with self._errors("writing", name):
            self._clients.s3.put_object(Bucket=self.bucket, Key=self.key(name), Body=content)

    def write_all(self, values: Mapping[str, JsonObject]) -> None:
        """Write several objects at the same time."""
        with ThreadPoolExecutor(len(values)) as pool:
            # The list is complete before the first result is awaited, so all are written at the same time.
            for written in [pool.submit(self.write_json, name, value) for name, value in values.items()]:
                written.result()

    def write_if(self, name: str, value: JsonObject, *, etag: str | None) -> str | None:
        """Write `value` if the object still has `etag`, or does not exist if that is None.

        A request that is repeated after its answer was lost finds its own write in the way. So `value` must have a
        `nonce` that no other write has, and an object with it counts as written.

        Returns:
            the new ETag, None if nothing was written.
        """
        try:
            # botocore repeats a request whose answer was lost, and the repetition fails on our own write.
            return self._put_if(name, body(value), etag)
        except AwsUnavailable:
            if (written := self._written(name, value)) is None:
                raise
            return written
        except _Refused:
            return self._written(name, value)

    def _put_if(self, name: str, content: bytes, etag: str | None) -> str:
        bucket, key, kind = self.bucket, self.key(name), "application/json"
        with self._errors("writing", name), Expected(_TAKEN) as taken:
            if etag is None:
                answer = self._clients.s3.put_object(
                    Bucket=bucket, Key=key, Body=content, ContentType=kind, IfNoneMatch="*"
                )
            else:
                answer = self._clients.s3.put_object(
                    Bucket=bucket, Key=key, Body=content, ContentType=kind, IfMatch=etag
                )
        if taken.error:
            raise _Refused from taken.error
        return answer["ETag"]

    def _written(self, name: str, value: JsonObject) -> str | None:
        present = self.read_version(name)
        written = present.value if present else None
        return present.etag if present and written and written.get("nonce") == value["nonce"] else None

    def delete_if(self, name: str, *, etag: str) -> bool:
        """Remove the object if it still has `etag`; False if it does not, or is gone."""
        with self._errors("removing", name), Expected(_TAKEN) as taken:
            self._clients.s3.delete_object(Bucket=self.bucket, Key=self.key(name), IfMatch=etag)
        return taken.error is None

    def fetch(self, name: str, into: Path, *, sha256: str = "") -> bool:
        with self._errors("reading", name), whole.file(into) as partial:
            with Expected(self._absent) as absent:
                self._clients.s3.download_file(self.bucket, self.key(name), str(partial))
            return absent.error is None and matching(partial, sha256)

    def put(self, name: str, path: Path, *, sha256: str) -> None:
        # S3 computes the hash of what arrives and refuses anything else, so the content cannot be swapped on the way,
        # by code that runs beside the builder or otherwise. S3 does so for a whole object only if it comes in one
        # piece, and keeps the hash beside the object.
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
        with self._errors("writing", name), path.open("rb") as file, Expected(_OTHER_CONTENT) as other:
            self._clients.s3.put_object(
                Bucket=self.bucket, Key=self.key(name), Body=file, ChecksumSHA256=_checksum(sha256)
            )
        if other.error:
            raise mismatch(name, sha256) from other.error
        self._put[name] += 1

    def take(self, name: str, other: S3Store, *, sha256: str, size: int) -> bool:
        """Copy an object of `other` to the same name here; False if it does not have the hash and the size.

        No one can replace the object between the check and the copy.
        """
        s3, place = self._clients.s3, f"{other.bucket}/{other.key(name)}"
        with other._errors("copying", name), Expected(_TAKEN) as taken:
            found = s3.head_object(Bucket=other.bucket, Key=other.key(name), ChecksumMode="ENABLED")
            if (found.get("ChecksumSHA256"), found["ContentLength"]) != (_checksum(sha256), size):
                return False
            answer = s3.copy_object(
                Bucket=self.bucket,
                Key=self.key(name),
                CopySource=place,
                CopySourceIfMatch=found["ETag"],
                ChecksumAlgorithm="SHA256",
            )
        if taken.error:
            return False
        self._put[name] += 1
        return answer["CopyObjectResult"].get("ChecksumSHA256") == _checksum(sha256)

    def exists(self, name: str, *, sha256: str = "") -> bool:
        with self._errors("looking for", name):
            with Expected(self._absent) as absent:
                found = self._clients.s3.head_object(Bucket=self.bucket, Key=self.key(name), ChecksumMode="ENABLED")
            if absent.error:
                return False
            # Present under the right name is not enough: S3's own hash of the content has to match.
            if sha256 and found.get("ChecksumSHA256") != _checksum(sha256):
                return False
            # S3's lifecycle rules count from the last write, not from the last read.
            if self._renew_s is not None and name.startswith(ARTIFACTS):
                asked = parsedate_to_datetime(found["ResponseMetadata"]["HTTPHeaders"]["date"])
                if (asked - found["LastModified"]).total_seconds() >= self._renew_s:
                    return self._renew(name, found["ETag"])
        return True

    def _renew(self, name: str, etag: str) -> bool:
        """Copy an object onto itself, which makes it young; False if it is gone meanwhile, or another one."""
        key = self.key(name)
        with Expected(_TAKEN) as taken:
            self._clients.s3.copy_object(
                Bucket=self.bucket,
                Key=key,
                CopySource=f"{self.bucket}/{key}",
                CopySourceIfMatch=etag,
                MetadataDirective="REPLACE",  # without a change S3 refuses to copy onto itself
                ChecksumAlgorithm="SHA256",
            )
        return taken.error is None

    def version_id(self, name: str) -> str | None:
        """Return S3's id of the newest version of the content at `name`, None if the bucket keeps no versions."""
        with self._errors("looking for", name):
            found = self._clients.s3.head_object(Bucket=self.bucket, Key=self.key(name)).get("VersionId")
        return None if found == "null" else found  # S3's id of a version written while versioning was suspended

    def read_range(self, name: str, wanted: str) -> tuple[bytes, str]:
        """Return a part of the content at `name`, by a Range header, and the part's Content-Range."""
        with self._errors("reading", name):
            answer = self._clients.s3.get_object(Bucket=self.bucket, Key=self.key(name), Range=wanted)
            return answer["Body"].read(), answer.get("ContentRange", "")

    def first_names(self, folder: str, count: int, *, after: str | None = None) -> list[str]:
        """Return the first names below `folder/`, at most 1,000, in order; only those after the name `after`."""
        prefix = self.key(folder) + "/"
        with self._errors("listing", folder):
            page = self._clients.s3.list_objects_v2(
                Bucket=self.bucket, Prefix=prefix, MaxKeys=count, StartAfter=self.key(after) if after else prefix
            )
        return [entry["Key"].removeprefix(self._prefix) for entry in page.get("Contents", [])]

    def look_at_all(self, names: Sequence[str], parse: Parse[T]) -> list[T | Damaged]:
        """Parse the JSON at `names` with `parse`, in their order, read at once; objects that are gone are left out."""
        if not names:
            return []
        with ThreadPoolExecutor(min(len(names), _READERS)) as pool:
            return [found for found in pool.map(lambda name: self.look(name, parse), names) if found is not None]

    def find_all(self, names: Sequence[str], parse: Parse[T]) -> list[T]:
        """Do the same without damaged objects, which are logged."""
        whole_ones = []
        for found in self.look_at_all(names, parse):
            if isinstance(found, Damaged):
                self._warn(f"{found.place} is damaged ({found.why}), and left out; delete it, nothing else needs it")
            else:
                whole_ones.append(found)
        return whole_ones


class DomainStore(S3Store):
    """The worker's part of a store, one trust domain's: it may not know what else is there.

    Baselines, which a builder records about runtimes, are everyone's and can be read.
    """

    def __init__(
        self,
        clients: Clients,
        bucket: str,
        prefix: str,
        folder: str,
        *,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(clients, bucket, f"{prefix}{folder}/", warn=warn)
        self._root = prefix
        # Without permission to list a bucket, S3 does not say whether an object is missing or forbidden.
        self._absent = _MISSING | {"403", "AccessDenied"}

    def key(self, name: str) -> str:
        return f"{self._root}{name}" if name.startswith("baselines/") else super().key(name)


class _Refused(Exception):
    """The condition of a write did not hold."""


def _checksum(sha256: str) -> str:
    """Return a hexadecimal hash in S3's form."""
    return base64.b64encode(bytes.fromhex(sha256)).decode()
