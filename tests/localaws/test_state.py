"""With --state, an account survives a restart, and a kill."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from localaws.testing import Server, running
from tests.localaws.lab import CODE, Lab, make_lab, newest_python, wait_until


def furnish(server: Server) -> Lab:
    """Make something in every service that the builder and its tests use."""
    lab = make_lab(server)
    s3 = server.client("s3")
    s3.create_bucket(Bucket="kept")
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="kept", Key="small", Body=b"small", Metadata={"k": "v"})
    s3.put_object(Bucket="kept", Key="big", Body=b"b" * 3_000_000)
    server.client("secretsmanager").create_secret(Name="kept", SecretString="hush")
    server.client("ssm").put_parameter(Name="/kept", Value="p", Type="String")
    server.client("sqs").create_queue(QueueName="kept")
    server.client("sns").create_topic(Name="kept")
    source = "import kept\ndef handler(e, c): return kept.VALUE, c.function_version\n"
    name = lab.function(source, FunctionName="kept", Layers=[lab.layer({"python/kept.py": "VALUE = 7\n"}, "kept")])
    lab.client.publish_version(FunctionName=name)
    lab.client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    lab.client.invoke(FunctionName=name)
    return lab


def inspect(server: Server) -> dict[str, Any]:
    client, s3 = server.client("lambda"), server.client("s3")
    found = client.get_function_configuration(FunctionName="kept")
    return {
        "answer": json.load(client.invoke(FunctionName="kept", Qualifier="live")["Payload"]),
        "function": {key: found[key] for key in ("RevisionId", "CodeSha256", "LastModified", "Layers")},
        "small": s3.get_object(Bucket="kept", Key="small")["Body"].read(),
        "metadata": s3.head_object(Bucket="kept", Key="small")["Metadata"],
        "big": len(s3.get_object(Bucket="kept", Key="big")["Body"].read()),
        "versions": len(s3.list_object_versions(Bucket="kept")["Versions"]),
        "secret": server.client("secretsmanager").get_secret_value(SecretId="kept")["SecretString"],
        "parameter": server.client("ssm").get_parameter(Name="/kept")["Parameter"]["Value"],
        "queues": len(server.client("sqs").list_queues()["QueueUrls"]),
        "topics": len(server.client("sns").list_topics()["Topics"]),
        "logged": bool(server.client("logs").filter_log_events(logGroupName="/aws/lambda/kept")["events"]),
    }


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    with running(state=tmp_path) as server:
        furnish(server)
        before = inspect(server)
    assert before["answer"] == [7, "1"]
    with running(state=tmp_path) as server:
        assert inspect(server) == before
        lab = Lab(
            server=server,
            client=server.client("lambda"),
            role=server.client("iam").list_roles()["Roles"][0]["Arn"],
            runtime=newest_python(server),
        )
        lab.client.update_function_configuration(FunctionName="kept", Description="changed")
        lab.settle("kept")
        assert lab.client.publish_version(FunctionName="kept")["Version"] == "2"
        arn = lab.layer({"x": "y"}, "kept")
        assert arn.endswith(":kept:2")


def test_copies_of_a_state_are_accounts_of_their_own(tmp_path: Path) -> None:
    with running(state=tmp_path / "base", enforce_iam=True) as server:
        furnish(server)
        before = inspect(server)
    (tmp_path / "base" / "operator-token").write_text("left by a server that was killed")
    with running(copy_of=tmp_path / "base", enforce_iam=True) as one, running(copy_of=tmp_path / "base") as two:
        assert inspect(one) == before
        one.client("s3").put_object(Bucket="kept", Key="big", Body=b"other")
        one.client("lambda").update_function_code(FunctionName="kept", ZipFile=CODE)
        one.client("iam").create_user(UserName="new")
        assert inspect(two) == before
        assert not two.client("iam").list_users()["Users"]
    with running(state=tmp_path / "base") as server:
        assert inspect(server) == before


def test_a_directory_that_is_no_state_is_not_copied(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="before it was ready"), running(copy_of=tmp_path):
        pass


def test_what_was_done_a_while_before_a_kill_is_there(tmp_path: Path) -> None:
    with running(state=tmp_path) as server:
        server.client("s3").create_bucket(Bucket="kept")
        wait_until(lambda: list((tmp_path / "account").glob("s3.*.pickle")), "the state to be written")
        time.sleep(0.2)
        os.kill(server.pid, signal.SIGKILL)
    with running(state=tmp_path) as server:
        assert [bucket["Name"] for bucket in server.client("s3").list_buckets()["Buckets"]] == ["kept"]


def test_without_state_nothing_is_left(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with running(environment=environment) as server:
        furnish(server)
        assert list(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []
