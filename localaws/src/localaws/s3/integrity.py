"""What S3 holds uploads and copies against: their checksums, the ETag that was expected, the bucket's owner.

moto takes all of these as they are. Hashed are MD5, SHA-1, SHA-256 and CRC32, and with awscrt installed CRC32C and
CRC64NVME, which SDKs cannot send without it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import importlib
import io
import re
import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from localaws.iam.s3 import CopySource, located
from localaws.iam.signed import signed
from localaws.wire.wsgi import Application, Environ, StartResponse, read_body

__all__ = ["S3Integrity"]

_OWNER, _SOURCE_OWNER = "x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"
_COPY_CONDITIONS = "x-amz-copy-source-if-"
_SIZES = {"CRC32": 4, "CRC32C": 4, "CRC64NVME": 8, "SHA1": 20, "SHA256": 32}


class S3Error(Exception):
    """An error answer of S3."""

    def __init__(self, status: str, code: str, message: str, **members: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.members = {"Code": code, "Message": message, **members}


def _bad_request(code: str, message: str) -> S3Error:
    return S3Error("400 Bad Request", code, message)


def _failed(condition: str) -> S3Error:
    message = "At least one of the pre-conditions you specified did not hold"
    return S3Error("412 Precondition Failed", "PreconditionFailed", message, Condition=condition)


class S3Integrity:
    """Hands on to `application` what S3 would accept, with checksums named so that moto keeps them."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        who = signed(environ)
        if who is not None and who.service != "s3":
            return self._application(environ, start_response)
        try:
            _check_owners(environ)
            if environ["REQUEST_METHOD"] in ("PUT", "POST"):
                _check_body(environ, whole=who is not None)
            if "HTTP_X_AMZ_COPY_SOURCE" in environ:
                _check_copy(environ)
        except S3Error as error:
            return _refuse(environ, start_response, error)
        return self._application(environ, start_response)


def _header(environ: Environ, name: str) -> str | None:
    """A header, or the parameter of a presigned URL that stands for it."""
    found = environ.get(f"HTTP_{name.upper().replace('-', '_')}")
    if found is None and name in environ.get("QUERY_STRING", "").lower():
        query = {key.lower(): values[0] for key, values in parse_qs(environ["QUERY_STRING"]).items()}
        found = query.get(name)
    return found


def _check_owners(environ: Environ) -> None:
    if (expected := _header(environ, _OWNER)) is not None:
        _check_owner(expected, located(environ)[0])
    if (expected := _header(environ, _SOURCE_OWNER)) is not None:
        _check_owner(expected, CopySource.parse(environ.get("HTTP_X_AMZ_COPY_SOURCE", "")).bucket)


def _check_owner(expected: str, bucket: str) -> None:
    from moto.s3.models import s3_backends

    if not re.fullmatch(r"\d{12}", expected):
        raise _bad_request(
            "InvalidBucketOwnerAWSAccountID",
            "The value of the expected bucket owner parameter must be an AWS Account ID",
        )
    owner = s3_backends.bucket_accounts.get(bucket)
    if owner is not None and owner[1] != expected:
        raise S3Error("403 Forbidden", "AccessDenied", "Access Denied")


def _check_body(environ: Environ, *, whole: bool) -> None:
    """Hold the body against what the request says of it; `whole`: also against what any service's request may say."""
    claimed = _claimed(environ)
    digest = environ.get("HTTP_CONTENT_MD5") if whole else None
    payload = environ.get("HTTP_X_AMZ_CONTENT_SHA256", "") if whole else ""
    chunked = payload.startswith("STREAMING-")
    trailing = "HTTP_X_AMZ_TRAILER" in environ
    if not (claimed or digest or trailing or re.fullmatch("[0-9a-fA-F]{64}", payload)):
        return
    raw = read_body(environ)
    environ["wsgi.input"] = io.BytesIO(raw)
    environ["CONTENT_LENGTH"] = str(len(raw))
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    content, trailers = _unchunked(raw) if chunked else (raw, {})
    length = environ.get("HTTP_X_AMZ_DECODED_CONTENT_LENGTH")
    if chunked and length is not None and int(length) != len(content):
        raise _bad_request(
            "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header"
        )
    claimed |= {name: value for name, value in trailers.items() if name in _SIZES}
    if not chunked and payload and hashlib.sha256(content).hexdigest() != payload.lower() and len(payload) == 64:
        raise _bad_request(
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )
    if digest is not None:
        _check_md5(digest, content)
    if len(claimed) > 1:
        raise _bad_request(
            "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    for algorithm, value in claimed.items():
        _check_checksum(algorithm, value, content)
        # moto keeps a checksum only if both are there, and looks for a trailer anywhere in the content.
        environ["HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM"] = algorithm
        environ[f"HTTP_X_AMZ_CHECKSUM_{algorithm}"] = value


def _claimed(environ: Environ) -> dict[str, str]:
    """The checksums of the body that are in headers, by algorithm. Completing an upload has that of the object."""
    query = environ.get("QUERY_STRING", "")
    if environ["REQUEST_METHOD"] == "POST" and "uploadId=" in query:
        return {}
    headers = {name: environ.get(f"HTTP_X_AMZ_CHECKSUM_{name}") for name in _SIZES}
    return {name: value for name, value in headers.items() if value}


def _unchunked(raw: bytes) -> tuple[bytes, dict[str, str]]:
    """The content of an aws-chunked body, and the checksums that trail it, by algorithm."""
    stream = io.BytesIO(raw)
    chunks: list[bytes] = []
    try:
        while size := int(stream.readline().split(b";")[0].strip() or b"0", 16):
            chunks.append(stream.read(size))
            stream.readline()
    except ValueError as error:
        raise _bad_request("IncompleteBody", "The request body terminated unexpectedly") from error
    trailers = {}
    for line in stream.read().decode("latin-1").splitlines():
        name, _, value = line.partition(":")
        if name.lower().startswith("x-amz-checksum-"):
            trailers[name.lower().removeprefix("x-amz-checksum-").upper()] = value.strip()
    return b"".join(chunks), trailers


def _check_md5(claimed: str, content: bytes) -> None:
    if len(_decoded(claimed) or b"") != 16:
        raise _bad_request("InvalidDigest", "The Content-MD5 you specified was invalid.")
    if hashlib.md5(content, usedforsecurity=False).digest() != _decoded(claimed):
        raise _bad_request("BadDigest", "The Content-MD5 you specified did not match what we received.")


def _check_checksum(algorithm: str, claimed: str, content: bytes) -> None:
    given = _decoded(claimed)
    if given is None or len(given) != _SIZES[algorithm]:
        raise _bad_request("InvalidRequest", f"Value for x-amz-checksum-{algorithm.lower()} header is invalid.")
    computed = _hashes().get(algorithm)
    if computed is not None and computed(content) != given:
        raise _bad_request("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


def _hashes() -> Mapping[str, Callable[[bytes], bytes]]:
    """What computes a checksum's bytes, by algorithm."""
    found: dict[str, Callable[[bytes], bytes]] = {
        "CRC32": lambda content: zlib.crc32(content).to_bytes(4, "big"),
        "SHA1": lambda content: hashlib.sha1(content, usedforsecurity=False).digest(),
        "SHA256": lambda content: hashlib.sha256(content).digest(),
    }
    try:
        checksums: Any = importlib.import_module("awscrt.checksums")
    except ImportError:
        return found
    return {
        **found,
        "CRC32C": lambda content: checksums.crc32c(content).to_bytes(4, "big"),
        "CRC64NVME": lambda content: checksums.crc64nvme(content).to_bytes(8, "big"),
    }


def _check_copy(environ: Environ) -> None:
    """Hold a copy against its conditions on the source, and on what is in its place so far."""
    source = CopySource.parse(environ.get("HTTP_X_AMZ_COPY_SOURCE", ""))
    if any(name.startswith("HTTP_X_AMZ_COPY_SOURCE_IF_") for name in environ):
        found = _object(source.bucket, source.key, source.version_id)
        if found is not None:  # otherwise moto has the right error
            _check_source(environ, found)
    if "uploadId=" in environ.get("QUERY_STRING", ""):
        return
    present = _object(*located(environ), None)
    if environ.get("HTTP_IF_NONE_MATCH") == "*" and present is not None:
        raise _failed("If-None-Match")
    if (wanted := environ.get("HTTP_IF_MATCH")) is not None:
        if present is None:
            raise S3Error("404 Not Found", "NoSuchKey", "The specified key does not exist.")
        if not _same(wanted, present.etag):
            raise _failed("If-Match")


def _check_source(environ: Environ, found: Any) -> None:
    conditions = {name: _header(environ, f"{_COPY_CONDITIONS}{name}") for name in ("match", "none-match")}
    if (wanted := conditions["match"]) is not None and not _same(wanted, found.etag):
        raise _failed("x-amz-copy-source-If-Match")
    if (unwanted := conditions["none-match"]) is not None and _same(unwanted, found.etag):
        raise _failed("x-amz-copy-source-If-None-Match")


def _same(wanted: str, etag: str) -> bool:
    return wanted == "*" or wanted.strip('"') == etag.strip('"')


def _object(bucket: str, key: str, version_id: str | None) -> Any:
    """moto's object; None if there is none."""
    from moto.s3.models import s3_backends

    owner = s3_backends.bucket_accounts.get(bucket)
    if owner is None:
        return None
    partition, account = owner
    return s3_backends[account][partition].get_object(bucket, key, version_id=version_id)


def _refuse(environ: Environ, start_response: StartResponse, error: S3Error) -> Iterable[bytes]:
    read_body(environ)  # a client that is still sending would not see the answer
    members = {**error.members, "RequestId": uuid.uuid4().hex[:16].upper()}
    text = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in members.items())
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{text}</Error>'.encode()
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
    start_response(error.status, headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
