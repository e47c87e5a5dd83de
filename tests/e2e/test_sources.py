"""Projects that come as archives: in the event or in S3; packages for tools that deploy by themselves."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping

from tests.e2e.conftest import Builder

CODE = "def handler(event, context):\n    return {'n': %d}\n"


def project(runtime: str, number: int = 1) -> dict[str, str]:
    return {
        "build.yaml": f"function:\n  runtimes: [{runtime}]\n  handler: app.handler\n  files: [app.py]\n",
        "app.py": CODE % number,
    }


def zipped(files: Mapping[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_an_archive_in_the_event_is_deployed_like_a_commit_of_the_same_files(builder: Builder) -> None:
    files = project(builder.runtime)
    event = {"action": "build", "function": "boxed", "archive": encoded(zipped(files))}
    first = builder.send(event)
    assert first["statusCode"] == 200, first
    assert builder.invoke("boxed") == {"n": 1}
    again = builder.send({**event, "archive": encoded(zipped(dict(reversed(files.items()))))})
    assert [phase["name"] for phase in again["phases"]] == ["look", "fetch"]
    assert again["changed"] == []
    builder.forge.push("boxed", files)
    by_git = builder.build("boxed")
    assert by_git["changed"] == []
    assert by_git["function"]["code_sha256"] == first["function"]["code_sha256"]
    verified = builder.send({"action": "verify", "function": "boxed"})
    assert verified["error"]["code"] == "unknown_build"
    assert "was not kept" in verified["error"]["message"]


def test_an_object_in_s3_is_packaged_and_not_deployed(builder: Builder) -> None:
    s3 = builder.client("s3")
    bucket = builder.send({"action": "ping"})["settings"]["bucket"]
    out = io.BytesIO()
    files = {**project(builder.runtime, 3), ".env": "TOKEN=x", "certs/a.pem": "", "data/.env": "kept", ".venv/x": ""}
    files["build.yaml"] = files["build.yaml"].replace("[app.py]", "[., data/.env]")
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in {"sub/" + name: text for name, text in files.items()}.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    put = s3.put_object(Bucket=bucket, Key="lambdasmith/uploads/x.tar.gz", Body=out.getvalue())
    source = {"bucket": bucket, "key": "lambdasmith/uploads/x.tar.gz", "version_id": put.get("VersionId")}
    s3.put_object(Bucket=bucket, Key="lambdasmith/uploads/x.tar.gz", Body=b"something else")
    event = {"action": "package", "function": "parcel", "source": source, "path": "sub"}
    reply = builder.send(event)
    assert reply["statusCode"] == 200, reply
    assert builder.state("parcel") is None
    content = s3.get_object(Bucket=reply["bucket"], Key=reply["key"])["Body"].read()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read("app.py").decode() == CODE % 3
        assert set(archive.namelist()) == {"app.py", "build.yaml", "data/.env"}
    assert any("usually hold secrets: sub/.env, sub/certs/a.pem;" in warning for warning in reply["warnings"])
    made = builder.client("lambda").create_function(
        FunctionName="parcel",
        Role=builder.role,
        Runtime=builder.runtime,
        Handler="app.handler",
        Code={"S3Bucket": reply["bucket"], "S3Key": reply["key"]},
    )
    assert made["CodeSha256"] == reply["source_code_hash"] == reply["code_sha256"]
    assert builder.send(event)["source_code_hash"] == reply["source_code_hash"]


def test_single_files_with_a_manifest_are_packaged_as_terraform_asks_for_it(builder: Builder) -> None:
    s3 = builder.client("s3")
    bucket = builder.send({"action": "ping"})["settings"]["bucket"]
    files = project(builder.runtime, 4)
    files["build.yaml"] = files["build.yaml"].replace("[app.py]", "[.]")
    files["build.yaml"] += "  memory: 512\n  environment: {LEVEL: high}\n"
    files["app.py"] = "import elsewhere\n" + files["app.py"]
    files |= {".env": "TOKEN=x"}
    place = "lambdasmith/sources/single"

    app = hashlib.sha256(files["app.py"].encode()).hexdigest()
    held = {name: {"text": text} for name, text in files.items()}
    text = json.dumps({"files": {**held, "app.py": app}, "executable": ["app.py"]}).encode()
    sha256 = hashlib.sha256(text).hexdigest()
    s3.put_object(Bucket=bucket, Key=f"{place}/files/{app}", Body=files["app.py"].encode())
    s3.put_object(Bucket=bucket, Key=f"{place}/{sha256}.json.gz", Body=gzip.compress(text))
    event = {
        "action": "package",
        "function": "handed-over",
        "source": {"bucket": bucket, "manifest": f"{place}/{sha256}.json.gz", "sha256": sha256},
        "reply": ["packages", "function"],
        "on_error": "raise",
        "tf": {"action": "create", "prev_input": None},
    }
    refused = builder.client("lambda").invoke(FunctionName="lambdasmith", Payload=json.dumps(event))
    assert refused["FunctionError"] == "Unhandled"
    error = json.loads(refused["Payload"].read())
    assert error["errorType"] == "import_failed"
    assert error["errorMessage"].startswith("function.handler: importing app fails: ")
    assert "\nhint: " in error["errorMessage"]
    assert "\nlast lines of its output:\n  | Traceback" in error["errorMessage"]

    reply = builder.send({**event, "attached": ["others"]})
    assert set(reply) == {"statusCode", "packages", "function"}
    said = {name: value for name, value in reply["function"].items() if value not in (None, {}, [])}
    assert said.pop("architecture") in ("x86_64", "arm64")
    assert said == {
        "runtime": builder.runtime,
        "handler": "app.handler",
        "memory": 512,
        "environment": {"LEVEL": "high"},
    }
    (row,) = reply["packages"]
    with zipfile.ZipFile(io.BytesIO(s3.get_object(Bucket=bucket, Key=row["key"])["Body"].read())) as archive:
        assert archive.getinfo("app.py").external_attr >> 16 & 0o777 == 0o755
        assert ".env" not in archive.namelist()

    s3.put_object(Bucket=bucket, Key=f"{place}/files/{app}", Body=b"changed = True")
    changed = builder.send({**event, "on_error": "reply"})
    assert changed["error"]["code"] == "source_error"
    assert "app.py is not the file that the manifest names" in changed["error"]["message"]
    assert builder.send({**event, "source": {}, "tf": {"action": "delete"}}) == {"statusCode": 200}
    assert builder.state("handed-over") is None


def test_what_is_deployed_already_is_packaged_all_the_same(builder: Builder) -> None:
    builder.forge.push("both", project(builder.runtime, 8))
    deployed = builder.build("both")
    assert deployed["statusCode"] == 200, deployed
    packaged = builder.send({"action": "package", "function": "both", "repo_name": "both"})
    assert packaged["source_code_hash"] == deployed["function"]["code_sha256"]
    assert builder.client("s3").head_object(Bucket=packaged["bucket"], Key=packaged["key"])


def test_a_missing_object_and_a_damaged_archive_are_told_and_nothing_is_done(builder: Builder) -> None:
    bucket = builder.send({"action": "ping"})["settings"]["bucket"]
    for source, code, words in (
        ({"source": {"bucket": bucket, "key": "lambdasmith/uploads/none.zip"}}, "path_not_found", "none.zip"),
        ({"archive": encoded(b"PK\x03\x04 rest")}, "source_error", "archive"),
        ({"archive": encoded(zipped({"../evil.py": ""}))}, "unsafe_source", "../evil.py"),
    ):
        reply = builder.send({"action": "build", "function": "nobody", **source})
        assert (reply.get("error") or {}).get("code") == code, json.dumps(reply)
        assert words in reply["error"]["message"]
    assert builder.state("nobody") is None


def test_the_older_shape_of_archive_builds_packages(builder: Builder) -> None:
    files = {**project(builder.runtime, 5)}
    reply = builder.send({"name": "parcel5", "architecture": "amd64", "archive": encoded(zipped(files))})
    assert reply["statusCode"] == 200, reply
    assert {"bucket", "key", "version_id", "code_sha256", "source_code_hash"} <= set(reply)
    event = {"name": "parcel5", "architecture": "amd64", "archive": encoded(b"PK\x03\x04 rest")}
    refused = builder.client("lambda").invoke(FunctionName="lambdasmith", Payload=json.dumps(event))
    assert refused["FunctionError"] == "Unhandled"  # Terraform's "Creation complete" would be a lie
    assert json.loads(refused["Payload"].read())["errorType"] == "source_error"
    assert builder.send({**event, "on_error": "reply"})["error"]["code"] == "source_error"
