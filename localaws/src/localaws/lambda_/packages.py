"""Zips of functions and layers: checked as AWS checks them, stored once per content."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import zipfile
from pathlib import Path

from localaws import whole
from localaws.lambda_.model import MAX_UNZIPPED_BYTES, Package
from localaws.wire.errors import AccessDeniedException, InvalidParameterValueException
from localaws.wire.requests import Json

_CANNOT_UNZIP = "Could not unzip uploaded file. Please check your file, then try to upload again."


class PackageStore:
    """Store of zips in a directory, each named by the hex sha256 of its bytes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self._directory / f"{sha256}.zip"

    def add(self, content: bytes) -> Package:
        """Store a zip that passed `inspect` and return its description."""
        package = inspect(content)
        target = self.path(package.sha256)
        # Named by its content: a second upload of the same bytes writes nothing.
        if not target.exists():
            whole.write(target, content)
        return package


def inspect(content: bytes) -> Package:
    """Check a zip and return its description, without storing it.

    Raises:
        InvalidParameterValueException: not a zip, an empty zip, or more than 250 MB unzipped.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise InvalidParameterValueException(_CANNOT_UNZIP) from error
    if not entries:
        raise InvalidParameterValueException("Uploaded file must be a non-empty zip")
    unzipped = sum(entry.file_size for entry in entries)
    if unzipped >= MAX_UNZIPPED_BYTES:
        raise InvalidParameterValueException(f"Unzipped size must be smaller than {MAX_UNZIPPED_BYTES} bytes")
    return Package(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content), unzipped_bytes=unzipped)


def code_bytes(code: Json, *, account: str, region: str, may_read: bool = True) -> bytes:
    """Return the zip that a Code or Content structure names: inline or an S3 object (of an exact version when given).

    Args:
        code: ZipFile (base64), or S3Bucket, S3Key and perhaps S3ObjectVersion.
        may_read: whether the caller's own policies allow s3:GetObject on it, which AWS requires.

    Raises:
        InvalidParameterValueException: neither or both are named, or S3 has no such object.
        AccessDeniedException: the caller may not read the object.
    """
    inline = code.get("ZipFile")
    if inline is not None:
        if code.get("S3Bucket") or code.get("S3Key"):
            raise InvalidParameterValueException(
                "Please do not provide other FunctionCode parameters when providing a ZipFile."
            )
        try:
            return base64.b64decode(inline, validate=False)
        except (binascii.Error, ValueError) as error:
            raise InvalidParameterValueException(_CANNOT_UNZIP) from error
    bucket, key = code.get("S3Bucket"), code.get("S3Key")
    if not bucket or not key:
        raise InvalidParameterValueException("Please provide a source for function code.")
    if not may_read:
        raise AccessDeniedException(
            "Your access has been denied by S3, please make sure your request credentials have permission to "
            f"GetObject for {bucket}/{key}. S3 Error Code: AccessDenied. S3 Error Message: Access Denied"
        )
    return _s3_object(account, region, bucket, key, code.get("S3ObjectVersion"))


def _s3_object(account: str, region: str, bucket_name: str, key_name: str, version: str | None) -> bytes:
    from moto.s3.exceptions import MissingBucket
    from moto.s3.models import s3_backends

    backend = s3_backends[account]["aws"]
    try:
        bucket = backend.get_bucket(bucket_name)
    except MissingBucket as error:
        raise _s3_error("NoSuchBucket", "The specified bucket does not exist") from error
    # Lambda reads code only from a bucket of its own region (Lambda API, FunctionCode).
    if bucket.region_name != region:
        raise _s3_error(
            "PermanentRedirect",
            f"The bucket is in this region: {bucket.region_name}. Please use this region to retry the request",
        )
    found = backend.get_object(bucket_name, key_name, version_id=version)
    if found is None and version is not None:
        raise _s3_error("NoSuchVersion", "The specified version does not exist.")
    if found is None:
        raise _s3_error("NoSuchKey", "The specified key does not exist.")
    return bytes(found.value)


def _s3_error(code: str, message: str) -> InvalidParameterValueException:
    return InvalidParameterValueException(
        f"Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"
    )
