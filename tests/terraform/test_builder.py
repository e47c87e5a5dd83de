"""The module builder makes what setup.py makes: the same policy, variables and lifecycle rules."""

from __future__ import annotations

import json
import re
from typing import Any

from bootstrap.config.read import read_config
from bootstrap.lifecycle import rules
from bootstrap.names import Place, names_for
from bootstrap.package import package
from bootstrap.plan.wanted import wanted
from bootstrap.policy.fan_out import machine_grants
from bootstrap.policy.statements import document
from tests.terraform.conftest import ROOT, Bench

CONFIGURATION = """
[github]
git_username = team
git_base = https://git.example.com/team
git_hosts = a.example.com, b.example.com
[builder]
function_name = smith
runtime = %s
architecture = arm64
role = arn:aws:iam::123456789012:role/app
roles = arn:aws:iam::123456789012:role/team-*
functions = shop-*, billing, odd--_name-
permissions_boundary = arn:aws:iam::123456789012:policy/edge
tag = team=shop
code_signing = arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-1
status = function
expire_days = 40
fan_out = on
fan_out_concurrency = 30
archive_caches = shop-web
index_url = https://pypi.example.com/simple
go_proxy = https://go.example.com,direct
npm_registry = https://npm.example.com
[git gitlab.example.com]
username = oauth2
token = secretsmanager:smith/gitlab#token
[git github.com]
app_id = 1
installation_id = 2
private_key = ssm:/smith/app:3
modules = go.example.com/a
[index npm]
url = https://npm.example.com
token = ssm:/smith/npm
[index corp]
url = https://corp.example.com/simple
username = reader
password = secretsmanager:arn:aws:secretsmanager:us-east-1:123456789012:secret:corp
[index aws]
url = codeartifact:shop/python
[project shop-*]
allow = secretsmanager:shop/*, ssm:/shop/*, secretsmanager:one#key
[toolchain rust]
url = https://static.example.com/rust.tar.xz
sha256 = 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
strip = 1
path = rustc/bin, cargo/bin
"""
MODULE = """
module "builder" {
  source       = "../../integrations/terraform/builder"
  package_dir  = "../../package"
  name         = "smith"
  architecture = "arm64"
  git_username = "team"
  git_base     = "https://git.example.com/team"
  git_hosts    = ["a.example.com", "b.example.com"]
  role         = "arn:aws:iam::123456789012:role/app"
  roles        = ["arn:aws:iam::123456789012:role/team-*"]
  functions    = ["shop-*", "billing", "odd--_name-"]
  permissions_boundary = "arn:aws:iam::123456789012:policy/edge"
  function_tag         = { name = "team", value = "shop" }
  code_signing         = ["arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-1"]
  status               = "function"
  expire_days          = 40
  fan_out              = true
  fan_out_concurrency  = 30

  archive_caches = ["shop-web"]
  index_url    = "https://pypi.example.com/simple"
  go_proxy     = "https://go.example.com,direct"
  npm_registry = "https://npm.example.com"
  git_logins = [
    { base = "https://gitlab.example.com", username = "oauth2", token = "secretsmanager:smith/gitlab#token" },
    {
      base            = "https://github.com"
      app_id          = "1"
      installation_id = "2"
      private_key     = "ssm:/smith/app:3"
      modules         = "go.example.com/a"
    },
  ]
  indexes = [
    { name = "npm", url = "https://npm.example.com", token = "ssm:/smith/npm" },
    {
      name     = "corp"
      url      = "https://corp.example.com/simple"
      username = "reader"
      password = "secretsmanager:arn:aws:secretsmanager:us-east-1:123456789012:secret:corp"
    },
    {
      name     = "aws"
      url      = "https://shop-123456789012.d.codeartifact.us-east-1.amazonaws.com/pypi/python/simple"
      password = "codeartifact:123456789012/shop"
    },
  ]
  projects   = [{ pattern = "shop-*", allow = ["secretsmanager:shop/*", "ssm:/shop/*", "secretsmanager:one#key"] }]
  toolchains = [{
    name   = "rust"
    url    = "https://static.example.com/rust.tar.xz"
    sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    strip  = 1
    path   = ["rustc/bin", "cargo/bin"]
  }]
}
"""


def test_the_module_makes_what_setup_py_makes(bench: Bench) -> None:
    file = bench.folder / "config.ini"
    file.write_text(CONFIGURATION % bench.runtime)
    config = read_config(file=file, required=True, environment={}, flags={})
    names = names_for(
        function="smith", bucket=None, place=Place(partition="aws", account="123456789012", region="us-east-1")
    )
    want = wanted(config, names, package())

    plan = bench.configuration("everything", MODULE).plan()
    planned = {
        each["address"].removeprefix("module.builder."): each["values"]
        for each in plan["planned_values"]["root_module"]["child_modules"][0]["resources"]
    }
    assert planned["aws_s3_bucket.store[0]"]["bucket"] == names.bucket
    function = planned["aws_lambda_function.builder"]
    given = function["environment"][0]["variables"]
    assert comparable(given) == comparable(want.settings.environment)
    for name, value in {
        "role": names.role,
        "handler": want.settings.handler,
        "runtime": want.settings.runtime,
        "memory_size": want.settings.memory_mb,
        "timeout": want.settings.timeout_s,
        "description": want.settings.description,
        "source_code_hash": want.package.code_sha256,
        "architectures": [want.architecture],
    }.items():
        assert function.get(name, planned["aws_iam_role.builder"]["name"]) == value, name
    assert function["ephemeral_storage"] == [{"size": want.settings.ephemeral_storage_mb}]
    assert json.loads(planned["aws_iam_role_policy.builder"]["policy"]) == want.policy
    assert json.loads(planned["aws_iam_role_policy.machine[0]"]["policy"]) == document(machine_grants(names))
    assert planned["aws_iam_role.machine[0]"]["name"] == names.machine_role
    machine = planned["aws_sfn_state_machine.fan_out[0]"]
    assert (machine["name"], json.loads(machine["definition"])) == (names.machine, json.loads(want.machine))
    for role in ("builder", "setup"):
        assert planned[f"aws_iam_role.{role}"]["permissions_boundary"] == want.boundary
    made = [as_s3(rule) for rule in planned["aws_s3_bucket_lifecycle_configuration.store[0]"]["rule"]]
    assert sorted(made, key=str) == sorted((dict(rule) for rule in rules(names, expire_days=40)), key=str)


# Version 5 of the AWS provider knows no tenant isolation.
SPLIT = ("WORKER", "WORKER_ROLE")


def test_the_module_knows_every_variable_that_the_builder_reads() -> None:
    text = (ROOT / "integrations" / "terraform" / "builder" / "main.tf").read_text()
    given = re.search(r"\n  settings = \{\n(.*?)\n  \}\n", text, re.DOTALL)
    assert given
    read = re.findall(r'PREFIX \+ "(\w+)"', (ROOT / "builder" / "settings.py").read_text())
    assert set(re.findall(r"^ +([A-Z_]+) +=", given[1], re.MULTILINE)) == set(read) - {"LEASE_S", *SPLIT}


def comparable(variables: Any) -> dict[str, Any]:
    """with those variables that are JSON as values: how it is spaced and ordered says nothing."""
    as_json = {name: json.loads(value) for name, value in variables.items() if value[:1] in ("{", "[")}
    return {**variables, **as_json}


def as_s3(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule as the provider plans it, in S3's spelling."""
    made: dict[str, Any] = {
        "ID": rule["id"],
        "Status": rule["status"],
        "Filter": {"Prefix": rule["filter"][0]["prefix"]},
    }
    for each in rule["abort_incomplete_multipart_upload"]:
        made["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": each["days_after_initiation"]}
    for each in rule["expiration"]:
        made["Expiration"] = {"Days": each["days"]} if each["days"] else {"ExpiredObjectDeleteMarker": True}
        assert each["days"] or each["expired_object_delete_marker"]
    for each in rule["noncurrent_version_expiration"]:
        made["NoncurrentVersionExpiration"] = {"NoncurrentDays": each["noncurrent_days"]}
    for each in rule["transition"]:
        made["Transitions"] = [{"Days": each["days"], "StorageClass": each["storage_class"]}]
    return made
