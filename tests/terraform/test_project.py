"""What the module project sends of a directory, what it refuses, and whose a name is."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from builder.sources import manifest
from localaws.testing import Server
from tests.terraform.conftest import LIST, ROOT, Bench, Terraform

pytestmark = pytest.mark.slow

BUCKET = "sources-of-projects"
# The same directory in two modules: one takes everything as it is, the other what the variables say.
CONFIGURATION = """
variable "name" {}
locals {
  builder = {
    function_name = "none"
    bucket        = "%s"
    prefix        = "smith/"
    architecture  = "x86_64"
    version       = ""
    fingerprint   = ""
  }
}
module "plain" {
  source     = "../../integrations/terraform/project"
  builder    = local.builder
  name       = var.name
  source_dir = "${path.module}/src"
}
module "asked" {
  source       = "../../integrations/terraform/project"
  builder      = local.builder
  name         = "${var.name}-asked"
  source_dir   = "${path.module}/src"
  path         = "sub"
  ignore_files = []
  exclude      = ["*.txt", "deep", "{x,y}.[ch]"]
  executable   = ["sub/*.py"]
  layer_inputs = ["sub/**/*.dat"]
}
output "hashes" {
  value = [module.plain.layer_hash, module.asked.layer_hash]
}
"""
BUILD = "function: {handler: app.handler, files: [app.py, certs/ca.pem, ./node_modules/, 'keys/*.key']}\n"
LARGE = bytes(range(256)) * 1100
SENT: Mapping[str, bytes] = {
    "app.py": b"print('\xc3\xa9 <&>')\r\n",
    "build.yaml": BUILD.encode(),
    "certs/ca.pem": b"ca",
    "deep/" + "".join(f"d{number}/" for number in range(37)) + "file": b"deep",
    "empty": b"",
    "keep.log": b"kept",
    "keys/a.key": b"a",
    "large.bin": LARGE,
    "latin": b"\xe9",
    "node_modules/x/index.js": b"js",
    "normalised": b"e\xcc\x81",
    "project/project/project/app.py": b"",
    "run": b"#!/bin/sh\n",
    "same.bin": LARGE,
    "sub/app.py": b"",
    "sub/build.yaml": b"function: {runtimes: [nodejs22.x]}\n",
    "sub/data/a.dat": b"",
    "x.c": b"",
}
NOT_SENT = {
    ".env.local": b"",
    "certs/b.pem": b"",
    "deeper/.aws/credentials": b"",
    "no.log": b"",
    "node_modules/x/.env": b"",
    "notes.txt": b"",
    "out/a": b"",
    "sub/.npmrc": b"",
    "sub/keys/b.key": b"",
}
IGNORED = b"# what is made\n*.log\n!keep.log\n/out/\nnotes.txt\n\n"


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def is_said(text: str, said: str) -> bool:
    """Whether terraform says `text`, which it breaks into lines."""
    return " ".join(text.split()) in " ".join(said.split())


@pytest.fixture(scope="module")
def projects(bench: Bench, terraform_account: Server) -> Iterator[Terraform]:
    """The configuration, not applied; no builder is needed for it."""
    s3 = terraform_account.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    yield bench.configuration("projects", CONFIGURATION % BUCKET)
    for row in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        s3.delete_object(Bucket=BUCKET, Key=row["Key"])
    s3.delete_bucket(Bucket=BUCKET)


def objects(aws: Server, name: str = "") -> dict[str, bytes]:
    s3 = aws.client("s3")
    rows = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"smith/sources/{name}").get("Contents", ())
    return {row["Key"]: s3.get_object(Bucket=BUCKET, Key=row["Key"])["Body"].read() for row in rows}


def sent(aws: Server, name: str) -> manifest.Manifest:
    (content,) = (content for key, content in objects(aws, f"{name}/").items() if key.endswith("/manifest.json.gz"))
    return manifest.parse(content, label="m")


def test_what_is_sent_is_what_lies_there_but_for_secrets_and_clutter(
    projects: Terraform, terraform_account: Server, bench: Bench
) -> None:
    names = [name for group in json.loads((ROOT / LIST).read_text()).values() for name in group]
    source = projects.folder / "src"
    listed = {f"other/{name.replace('*', 'some')}/file": b"" for name in names}
    write(source, {**SENT, **NOT_SENT, **listed, ".gitignore": IGNORED})
    (source / ".#app.py").symlink_to("someone@example.com:1")
    projects.variables["name"] = "one"
    projects.apply()

    said = sent(terraform_account, "one")
    large = hashlib.sha256(LARGE).hexdigest()
    expected = {**SENT, ".gitignore": IGNORED, "large.bin": large, "same.bin": large}
    assert said.files == expected
    assert said.executable == {"run"}
    assert [content for key, content in objects(terraform_account, "one/").items() if "/files/" in key] == [LARGE]

    asked = sent(terraform_account, "one-asked")
    gone = {name for name in expected if name.startswith("deep/")}
    gone |= {"x.c", "certs/ca.pem", "keys/a.key"}
    node = {"sub/.npmrc", "other/.npmrc/file", "other/node_modules/file"}
    assert set(asked.files) == {*expected, *node, "no.log", "out/a"} - gone
    assert asked.executable == {"sub/app.py"}
    assert projects.is_unchanged()

    before = json.loads(projects.succeed("output", "-json", "hashes"))
    write(source, {"sub/data/a.dat": b"changed"})
    text = projects.succeed("plan", "-input=false", "-no-color", "-refresh=false", "-out=plan.bin")
    assert "print(" not in text, "the plan shows the files"
    planned = json.loads(projects.succeed("show", "-json", "plan.bin"))["planned_values"]["outputs"]["hashes"]["value"]
    assert before[0] == planned[0], "layers are not made of it"
    assert before[1] != planned[1]
    write(source, {"sub/data/a.dat": b""})


def test_a_name_that_another_state_holds_is_refused_before_anything_is_written(
    projects: Terraform, terraform_account: Server, bench: Bench
) -> None:
    before = objects(terraform_account)
    other = bench.configuration("other", CONFIGURATION % BUCKET)
    write(other.folder / "src", {"app.py": b"other"})
    other.variables["name"] = "one"
    said = other.failure()
    assert is_said(f"Another module or state holds the name one in s3://{BUCKET}: smith/sources/one/", said)
    assert "Choose another name" in said
    assert objects(terraform_account) == before
    other.variables["name"] = "two"
    other.apply()
    assert sent(terraform_account, "two").files == {"app.py": b"other"}
    assert projects.is_unchanged()
    other.destroy()
    assert objects(terraform_account) == before


def planning(projects: Terraform) -> str:
    done = projects.run("plan", "-input=false", "-no-color", "-refresh=false", timeout=400)
    assert done.returncode == 1, done.stdout
    return done.stderr


def test_what_terraform_cannot_list_is_refused_and_destroy_needs_no_directory(
    projects: Terraform, terraform_account: Server
) -> None:
    source = projects.folder / "src"
    for folder in ("deep", "other"):
        shutil.rmtree(source / folder)
    dangling = source / "sub" / "gone"
    dangling.symlink_to("nowhere")
    said = planning(projects)
    assert is_said("has a symbolic link that leads nowhere (find './src' -xtype l)", said)
    dangling.unlink()

    # Two links of each kind: 2 to the power of 40 directories, if they were followed.
    for links in (("a", "sub/data/up"), ("p/q/r/s/one", "p/q/r/s/two")):
        for link in links:
            (source / link).parent.mkdir(parents=True, exist_ok=True)
            (source / link).symlink_to(source, target_is_directory=True)
        said = planning(projects)
        assert "leads back into its own directory: " in " ".join(said.split()), said
        assert len(said) < 5000, "it shows what it should only count"
        for link in links:
            (source / link).unlink()
    shutil.rmtree(source / "p")

    write(source, {".gitignore": b"[z-a]\n"})
    assert is_said("These patterns are not understood: **/[z-a].", planning(projects))

    shutil.move(source, projects.folder / "elsewhere")
    said = planning(projects)
    assert is_said("source_dir ./src does not exist, or has no files.", said)
    projects.destroy()
    assert objects(terraform_account) == {}
