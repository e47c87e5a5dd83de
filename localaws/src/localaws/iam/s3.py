"""What an S3 request needs permission for, told from its method, path and query."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from localaws.iam.conditions import Value
from localaws.wire.wsgi import Environ

# Query flags that address a part of a bucket, and how IAM calls that part.
_BUCKET_PARTS = {
    "acl": "BucketAcl",
    "accelerate": "AccelerateConfiguration",
    "cors": "BucketCORS",
    "encryption": "EncryptionConfiguration",
    "inventory": "InventoryConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "logging": "BucketLogging",
    "notification": "BucketNotification",
    "object-lock": "BucketObjectLockConfiguration",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "replication": "ReplicationConfiguration",
    "requestPayment": "BucketRequestPayment",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
    "website": "BucketWebsite",
}
_BUCKET_LISTS = {
    "versions": "ListBucketVersions",
    "uploads": "ListBucketMultipartUploads",
    "location": "GetBucketLocation",
    "policyStatus": "GetBucketPolicyStatus",
}
_OBJECT_PARTS = {"acl": "Acl", "tagging": "Tagging", "retention": "Retention", "legal-hold": "LegalHold"}


@dataclass(frozen=True, kw_only=True)
class S3Request:
    """An S3 request: bucket and key as addressed ("" for none), query and the two headers that matter."""

    method: str
    bucket: str
    key: str
    query: Mapping[str, str]
    copy_source: str = ""
    body: bytes = b""

    @property
    def bucket_arn(self) -> str:
        return f"arn:aws:s3:::{self.bucket}"

    @property
    def object_arn(self) -> str:
        return f"{self.bucket_arn}/{self.key}"


@dataclass(frozen=True, kw_only=True)
class CopySource:
    """What a copy is made of, read from its header exactly as moto does."""

    bucket: str
    key: str
    version_id: str | None

    @classmethod
    def parse(cls, header: str) -> CopySource:
        parts = urlparse(header)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        return cls(bucket=bucket, key=key, version_id=parse_qs(parts.query).get("versionId", [None])[0])


def located(environ: Environ) -> tuple[str, str]:
    """Bucket and key that a request addresses, "" for none."""
    path = unquote(urlparse(environ.get("RAW_URI", "").partition("?")[0]).path) or environ["PATH_INFO"]
    return address(environ.get("HTTP_HOST", ""), path)


def address(host: str, path: str) -> tuple[str, str]:
    """Bucket and key of a path-style request, or of one to a name below `localhost`, whose first label is a bucket.

    Exactly as moto tells them apart: whatever it understood otherwise would be checked as something else.
    """
    name = host.partition(":")[0]
    if name.lower().endswith(".localhost") and not name.startswith("localhost"):
        return name.removeprefix("www.").partition(".")[0], path.lstrip("/")
    bucket, _, key = path.lstrip("/").partition("/")
    return bucket, key


def context(request: S3Request) -> dict[str, Value]:
    """Condition keys of the request: those of a listing only where the request has them, as on AWS."""
    from moto.s3.models import s3_backends

    keys: dict[str, Value] = {
        f"s3:{key}": request.query[key] for key in ("prefix", "delimiter", "max-keys") if key in request.query
    }
    if "versionId" in request.query:
        keys["s3:VersionId"] = request.query["versionId"]
    if owner := s3_backends.bucket_accounts.get(request.bucket):
        keys["s3:ResourceAccount"] = keys["aws:ResourceAccount"] = owner[1]
    return keys


def permissions(request: S3Request) -> list[tuple[str, str]]:
    """Every (action, resource) pair that the request needs."""
    if not request.bucket:
        return [("s3:ListAllMyBuckets", "*")]
    if request.key:
        return _object_permissions(request)
    if request.method == "POST" and "delete" in request.query:
        return [(action, f"{request.bucket_arn}/{key}") for action, key in _deletions(request.body)]
    return [(f"s3:{_bucket_action(request)}", request.bucket_arn)]


def _deletions(body: bytes) -> list[tuple[str, str]]:
    """Action and key of every object that a DeleteObjects names, read by the parser that moto has.

    What cannot be read needs the right to all: moto has the error for whoever has it.
    """
    xmltodict: Any = importlib.import_module("xmltodict")  # untyped
    try:
        found = xmltodict.parse(body, strip_whitespace=False)["Delete"]["Object"]
        objects = found if isinstance(found, list) else [found]
        return [
            ("s3:DeleteObjectVersion" if one.get("VersionId") else "s3:DeleteObject", one["Key"]) for one in objects
        ]
    except Exception:  # expat's errors, and whatever other structures there are
        return [("s3:DeleteObject", "*")]


def _bucket_action(request: S3Request) -> str:
    for flag, action in _BUCKET_LISTS.items():
        if flag in request.query:
            return action
    for flag, part in _BUCKET_PARTS.items():
        if flag in request.query:
            deletes = request.method == "DELETE" and part in ("BucketPolicy", "BucketWebsite")
            verb = "Delete" if deletes else "Get" if request.method in ("GET", "HEAD") else "Put"
            return verb + part
    return {"PUT": "CreateBucket", "DELETE": "DeleteBucket", "POST": "PutObject"}.get(request.method, "ListBucket")


def _object_permissions(request: S3Request) -> list[tuple[str, str]]:
    needed = [(f"s3:{_object_action(request)}", request.object_arn)]
    if request.copy_source:
        source = CopySource.parse(request.copy_source)
        action = "s3:GetObjectVersion" if source.version_id else "s3:GetObject"
        needed.append((action, f"arn:aws:s3:::{source.bucket}/{source.key}"))
    return needed


def _object_action(request: S3Request) -> str:
    query, version = request.query, "Version" if "versionId" in request.query else ""
    for flag, part in _OBJECT_PARTS.items():
        if flag in query:
            verb = {"GET": "Get", "HEAD": "Get", "DELETE": "Delete"}.get(request.method, "Put")
            return f"{verb}Object{version}{part}"
    match request.method:
        case "GET" | "HEAD":
            return "ListMultipartUploadParts" if "uploadId" in query else f"GetObject{version}"
        case "DELETE":
            return "AbortMultipartUpload" if "uploadId" in query else f"DeleteObject{version}"
        case _:
            return "RestoreObject" if "restore" in query else "PutObject"
