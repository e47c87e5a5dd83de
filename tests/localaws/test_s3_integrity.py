"""S3 takes what has the checksum it was sent with, copies what has the ETag that was expected, and only to and from
buckets of the owner that was named."""

from __future__ import annotations

import base64
import hashlib
import io
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import requests
from botocore.config import Config

from tests.localaws.lab import Lab, refused

SIGNED = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
MINE, OTHER = "123456789012", "210987654321"


def sha256(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def crc32(content: bytes) -> str:
    return base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()


@pytest.fixture(scope="module")
def s3(lab: Lab) -> Any:
    client = lab.server.client("s3")
    client.create_bucket(Bucket="integrity")
    return client


def stored(s3: Any, key: str) -> dict[str, Any]:
    """What is known of an object, asked for in both ways."""
    where = {"Bucket": "integrity", "Key": key, "ChecksumMode": "ENABLED"}
    head, got = s3.head_object(**where), s3.get_object(**where)
    found = {name: head.get(name) for name in ("ChecksumSHA256", "ChecksumSHA1", "ChecksumCRC32", "ETag")}
    assert found == {name: got.get(name) for name in found}
    return found


@pytest.mark.parametrize("checksum", ["SHA256", "SHA1", "CRC32"])
def test_an_upload_with_a_wrong_checksum_is_refused(s3: Any, checksum: str) -> None:
    wrong = {
        "SHA256": sha256(b"another"),
        "SHA1": base64.b64encode(hashlib.sha1(b"another").digest()).decode(),
        "CRC32": crc32(b"another"),
    }
    key = f"wrong-{checksum}"
    with refused("BadDigest", f"The {checksum} you specified did not match the calculated checksum.", 400):
        s3.put_object(Bucket="integrity", Key=key, Body=b"content", **{f"Checksum{checksum}": wrong[checksum]})
    assert s3.list_objects_v2(Bucket="integrity", Prefix=key)["KeyCount"] == 0


def test_a_right_checksum_is_kept_and_told(s3: Any) -> None:
    put = s3.put_object(Bucket="integrity", Key="right", Body=b"content", ChecksumSHA256=sha256(b"content"))
    assert put["ChecksumSHA256"] == stored(s3, "right")["ChecksumSHA256"] == sha256(b"content")
    assert "ChecksumSHA256" not in s3.head_object(Bucket="integrity", Key="right")


def test_the_checksum_that_sdks_add_is_verified_too(s3: Any) -> None:
    s3.put_object(Bucket="integrity", Key="crc", Body=io.BytesIO(b"content"))
    assert stored(s3, "crc")["ChecksumCRC32"] == crc32(b"content")


def test_what_is_no_checksum_is_refused(s3: Any) -> None:
    for value in ("short", sha256(b"x")[:-4], "not base64!"):
        with refused("InvalidRequest", "Value for x-amz-checksum-sha256 header is invalid.", 400):
            s3.put_object(Bucket="integrity", Key="k", Body=b"content", ChecksumSHA256=value)


def put_raw(s3: Any, lab: Lab, body: bytes, headers: dict[str, str]) -> requests.Response:
    """A PUT with a presigned URL: any header can be sent."""
    url = s3.generate_presigned_url("put_object", {"Bucket": "integrity", "Key": "raw"})
    return requests.put(url, body, headers={"Content-Type": "application/octet-stream", **headers}, timeout=10)


CHUNKED = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "Content-Encoding": "aws-chunked"}


@pytest.mark.parametrize(
    ("content", "more", "code"),
    [
        (b"content", {}, None),
        (b"another", {}, "BadDigest"),
        (b"content", {"x-amz-decoded-content-length": "6"}, "IncompleteBody"),
        (b"content", {"x-amz-decoded-content-length": "7"}, None),
    ],
)
def test_a_checksum_that_trails_the_content_is_verified(
    s3: Any, lab: Lab, content: bytes, more: dict[str, str], code: str | None
) -> None:
    body = b"4\r\n%b\r\n3\r\n%b\r\n0\r\nx-amz-checksum-sha256:%b\r\n\r\n" % (
        *(content[:4], content[4:]),
        sha256(b"content").encode(),
    )
    answer = put_raw(s3, lab, body, {**CHUNKED, "x-amz-trailer": "x-amz-checksum-sha256", **more})
    assert answer.ok is (code is None), answer.text
    if code:
        assert f"<Code>{code}</Code>" in answer.text
    else:
        assert s3.get_object(Bucket="integrity", Key="raw")["Body"].read() == b"content"
        assert stored(s3, "raw")["ChecksumSHA256"] == sha256(b"content")


def test_content_is_not_taken_for_its_own_trailer(s3: Any) -> None:
    body = b"x-amz-checksum-sha256:" + sha256(b"other").encode()
    s3.put_object(Bucket="integrity", Key="mime", Body=body, ChecksumAlgorithm="SHA256")
    assert stored(s3, "mime")["ChecksumSHA256"] == sha256(body)


def test_other_digests_are_verified(s3: Any, lab: Lab) -> None:
    md5 = base64.b64encode(hashlib.md5(b"content").digest()).decode()
    assert put_raw(s3, lab, b"content", {"Content-MD5": md5}).ok
    assert "<Code>BadDigest</Code>" in put_raw(s3, lab, b"another", {"Content-MD5": md5}).text
    assert "<Code>InvalidDigest</Code>" in put_raw(s3, lab, b"content", {"Content-MD5": "none"}).text
    payload = {"x-amz-content-sha256": hashlib.sha256(b"content").hexdigest()}
    assert "<Code>XAmzContentSHA256Mismatch</Code>" in put_raw(s3, lab, b"another", payload).text
    both = {"x-amz-checksum-sha256": sha256(b"content"), "x-amz-checksum-crc32": crc32(b"content")}
    assert "Multiple checksum Types are not allowed" in put_raw(s3, lab, b"content", both).text


def test_a_part_with_a_wrong_checksum_is_refused(s3: Any) -> None:
    where = {"Bucket": "integrity", "Key": "parts"}
    upload = s3.create_multipart_upload(**where, ChecksumAlgorithm="SHA256")["UploadId"]
    with refused("BadDigest", "The SHA256 you specified", 400):
        s3.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"content", ChecksumSHA256=sha256(b"another"))
    part = s3.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"content", ChecksumSHA256=sha256(b"content"))
    parts = [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]}]
    s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})
    assert s3.get_object(**where)["Body"].read() == b"content"


def test_a_copy_computes_the_checksum_that_is_asked_for(s3: Any) -> None:
    s3.put_object(Bucket="integrity", Key="from", Body=b"content")
    source = {"Bucket": "integrity", "Key": "to", "CopySource": "integrity/from"}
    assert s3.copy_object(**source)["CopyObjectResult"]["ChecksumCRC32"] == crc32(b"content")
    answer = s3.copy_object(**source, ChecksumAlgorithm="SHA256")
    assert answer["CopyObjectResult"]["ChecksumSHA256"] == sha256(b"content") == stored(s3, "to")["ChecksumSHA256"]


def test_a_copy_holds_its_source_against_the_etag_that_is_expected(s3: Any) -> None:
    seen = s3.put_object(Bucket="integrity", Key="swap", Body=b"seen")["ETag"]
    source = {"Bucket": "integrity", "Key": "kept", "CopySource": "integrity/swap"}
    for etag in (seen, seen.strip('"')):
        assert s3.copy_object(**source, CopySourceIfMatch=etag)["CopyObjectResult"]["ETag"] == seen
    s3.put_object(Bucket="integrity", Key="swap", Body=b"swapped")
    with refused("PreconditionFailed", "pre-conditions", 412):
        s3.copy_object(**source, CopySourceIfMatch=seen)
    with refused("PreconditionFailed", "pre-conditions", 412):
        s3.copy_object(**source, CopySourceIfNoneMatch=stored(s3, "swap")["ETag"])
    assert s3.get_object(Bucket="integrity", Key="kept")["Body"].read() == b"seen"
    upload = s3.create_multipart_upload(Bucket="integrity", Key="kept")["UploadId"]
    with refused("PreconditionFailed", "pre-conditions", 412):
        s3.upload_part_copy(**source, UploadId=upload, PartNumber=1, CopySourceIfMatch=seen)
    with refused("NoSuchKey", "", 404):
        s3.copy_object(**{**source, "CopySource": "integrity/absent"}, CopySourceIfMatch=seen)


def test_a_copy_holds_what_is_in_its_place_against_its_conditions(s3: Any) -> None:
    etag = s3.put_object(Bucket="integrity", Key="there", Body=b"1")["ETag"]
    target = {"Bucket": "integrity", "Key": "there", "CopySource": "integrity/there", "MetadataDirective": "REPLACE"}
    with refused("PreconditionFailed", "pre-conditions", 412):
        s3.copy_object(**target, IfNoneMatch="*")
    with refused("PreconditionFailed", "pre-conditions", 412):
        s3.copy_object(**target, IfMatch='"other"')
    s3.copy_object(**target, IfMatch=etag)
    s3.copy_object(**{**target, "Key": "new"}, IfNoneMatch="*")


OWNED: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "put": lambda s3, who: s3.put_object(Bucket="integrity", Key="owned", Body=b"x", **who),
    "get": lambda s3, who: s3.get_object(Bucket="integrity", Key="owned", **who),
    "head": lambda s3, who: s3.head_object(Bucket="integrity", Key="owned", **who),
    "list": lambda s3, who: s3.list_objects_v2(Bucket="integrity", **who),
    "head bucket": lambda s3, who: s3.head_bucket(Bucket="integrity", **who),
    "tag": lambda s3, who: s3.put_object_tagging(
        Bucket="integrity", Key="owned", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}, **who
    ),
    "copy": lambda s3, who: s3.copy_object(Bucket="integrity", Key="copied", CopySource="integrity/owned", **who),
    "begin parts": lambda s3, who: s3.create_multipart_upload(Bucket="integrity", Key="p", **who),
    "send a part": lambda s3, who: s3.upload_part(
        Bucket="integrity", Key="p", UploadId=begun(s3), PartNumber=1, Body=b"x", **who
    ),
    "list parts": lambda s3, who: s3.list_parts(Bucket="integrity", Key="p", UploadId=begun(s3), **who),
    "copy a part": lambda s3, who: s3.upload_part_copy(
        Bucket="integrity", Key="p", UploadId=begun(s3), PartNumber=1, CopySource="integrity/owned", **who
    ),
    "end parts": lambda s3, who: s3.complete_multipart_upload(
        Bucket="integrity", Key="p", UploadId=(upload := begun(s3)), MultipartUpload={"Parts": sent(s3, upload)}, **who
    ),
    "give parts up": lambda s3, who: s3.abort_multipart_upload(Bucket="integrity", Key="p", UploadId=begun(s3), **who),
    "versioning": lambda s3, who: s3.get_bucket_versioning(Bucket="integrity", **who),
    "delete": lambda s3, who: s3.delete_object(Bucket="integrity", Key="copied", **who),
    "delete several": lambda s3, who: s3.delete_objects(
        Bucket="integrity", Delete={"Objects": [{"Key": "copied"}]}, **who
    ),
}


def begun(s3: Any) -> str:
    return str(s3.create_multipart_upload(Bucket="integrity", Key="p")["UploadId"])


def sent(s3: Any, upload: str) -> list[dict[str, Any]]:
    part = s3.upload_part(Bucket="integrity", Key="p", UploadId=upload, PartNumber=1, Body=b"x")
    return [{"PartNumber": 1, "ETag": part["ETag"]}]


@pytest.mark.parametrize("case", OWNED)
def test_a_bucket_of_another_account_is_refused(s3: Any, case: str) -> None:
    s3.put_object(Bucket="integrity", Key="owned", Body=b"x")
    with refused("403" if case.startswith("head") else "AccessDenied", "", 403):
        OWNED[case](s3, {"ExpectedBucketOwner": OTHER})
    OWNED[case](s3, {"ExpectedBucketOwner": MINE})


def test_a_source_of_another_account_is_refused(s3: Any) -> None:
    s3.put_object(Bucket="integrity", Key="owned", Body=b"x")
    for case in ("copy", "copy a part"):
        with refused("AccessDenied", "Access Denied", 403):
            OWNED[case](s3, {"ExpectedSourceBucketOwner": OTHER})
        OWNED[case](s3, {"ExpectedSourceBucketOwner": MINE})


def test_an_owner_is_an_account(s3: Any) -> None:
    with refused("InvalidBucketOwnerAWSAccountID", "must be an AWS Account ID", 400):
        s3.get_object(Bucket="integrity", Key="owned", ExpectedBucketOwner="me")


def test_the_owner_in_a_presigned_url_counts(s3: Any, lab: Lab) -> None:
    s3.put_object(Bucket="integrity", Key="owned", Body=b"x")
    signer = lab.server.client("s3", config=Config(signature_version="s3v4"))
    for owner, status in ((MINE, 200), (OTHER, 403)):
        parameters = {"Bucket": "integrity", "Key": "owned", "ExpectedBucketOwner": owner}
        url = signer.generate_presigned_url("get_object", parameters)
        headers = {"x-amz-expected-bucket-owner": owner}
        assert requests.get(url, headers=headers, timeout=10).status_code == status
        assert requests.get(f"{url}&x-amz-expected-bucket-owner={owner}", timeout=10).status_code == status


def test_buckets_below_localhost_are_what_they_are_called(s3: Any, lab: Lab) -> None:
    s3.put_object(Bucket="integrity", Key="owned", Body=b"x")
    port = lab.server.endpoint_url.rsplit(":", 1)[-1]
    for host in ("integrity.localhost", "integrity.s3.localhost", "integrity.S3.us-east-1.LocalHost"):
        for owner, status in ((MINE, 200), (OTHER, 403)):
            headers = {"Host": f"{host}:{port}", "x-amz-expected-bucket-owner": owner, "Authorization": SIGNED}
            answer = requests.get(f"{lab.server.endpoint_url}/owned", headers=headers, timeout=10)
            assert answer.status_code == status, (host, answer.text)
