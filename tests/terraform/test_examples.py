"""The examples, applied for real: second plans, changes, failures in terraform's own words, and what destroy leaves."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from localaws.testing import Server, git_server
from tests.e2e.conftest import Forge
from tests.terraform.conftest import ROOT, Bench, Terraform

pytestmark = pytest.mark.slow

PROJECT = "module.greeter.module.project"


def invoke(aws: Server, function: str, payload: object, **more: str) -> Any:
    answer = aws.client("lambda").invoke(FunctionName=function, Payload=json.dumps(payload), **more)
    content = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, content
    return content


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def greeter(bench: Bench) -> Terraform:
    """The first example, applied: it sets up the builder that the others use."""
    made = bench.example("function")
    made.variables |= {"package_dir": str(bench.package), "lifecycle_rules": "false"}
    made.apply()
    return made


def test_a_function_is_updated_where_it_changed_and_a_failed_build_is_tried_again(
    greeter: Terraform, bench: Bench, terraform_account: Server
) -> None:
    aws, source = terraform_account, greeter.folder / "src"
    assert invoke(aws, "greeter:live", {"name": "Bücher"})["greeting"] == "Hello, Bücher!"
    assert greeter.is_unchanged()
    layers = aws.client("lambda").list_layers()["Layers"]

    replace(source / "app.py", '"!"', '"?"')
    assert greeter.planned() == {
        f"{PROJECT}.aws_s3_object.manifest[0]": "update",
        "module.greeter.aws_lambda_invocation.package": "replace",
        "module.greeter.aws_lambda_function.this": "update",
        "module.greeter.aws_lambda_alias.this[0]": "update",
    }

    replace(source / "app.py", "import idna", "import idna\nimport certifi")
    said = greeter.failure()
    assert "importing app fails: ModuleNotFoundError: No module named 'certifi'" in said
    assert "hint: add certifi to requirements.txt" in said
    assert '"errorType": "import_failed"' in said
    assert invoke(aws, "greeter:live", {})["greeting"] == "Hello, world!"
    assert "module.greeter.aws_lambda_invocation.package" in greeter.planned(), "it would not be tried again"

    with (source / "requirements.txt").open("a") as file:
        file.write("certifi\n")
    greeter.apply()
    assert invoke(aws, "greeter:live", {})["greeting"] == "Hello, world?"
    changed = {layer["LayerName"]: layer["LatestMatchingVersion"]["Version"] for layer in layers}
    changed["greeter-dependencies"] += 1
    found = aws.client("lambda").list_layers()["Layers"]
    assert {layer["LayerName"]: layer["LatestMatchingVersion"]["Version"] for layer in found} == changed

    version = greeter.succeed("output", "-raw", "version")
    greeter.variables["package_dir"] = str(another_builder(bench))
    planned = greeter.planned()
    assert planned["module.builder.aws_lambda_function.builder"] == "update"
    assert planned["module.greeter.aws_lambda_invocation.package"] == "replace"
    assert not any(address.startswith("module.greeter.module.layers") for address in planned)
    greeter.apply()
    assert greeter.succeed("output", "-raw", "version") == version, (
        "the new builder made the same, and it was published"
    )
    assert invoke(aws, "lambdasmith", {"action": "ping"})["ready"]


def another_builder(bench: Bench) -> Path:
    """A package of the builder with other code that makes no difference."""
    folder = bench.folder / "another"
    shutil.copytree(bench.package, folder)
    with zipfile.ZipFile(folder / "builder.zip", "a") as archive:
        archive.writestr("builder/CHANGED", "")
    facts = json.loads((folder / "package.json").read_text())
    content = (folder / "builder.zip").read_bytes()
    facts["code_sha256"] = b64encode(hashlib.sha256(content).digest()).decode()
    (folder / "package.json").write_text(json.dumps(facts))
    return folder


FROM_GIT = """
module "from_git" {
  source  = "../../../integrations/terraform/function"
  builder = module.builder
  name    = "from-git"
  repo    = "%s/quiet.git"
  ref     = "%s"
  path    = "app"
  layers  = ["dependencies"]
  role    = aws_iam_role.functions.arn
  memory  = 192
  runtime = "%s"
  handler = "app.handler"
}
"""


def test_functions_share_a_layer_and_come_from_git(
    greeter: Terraform, bench: Bench, terraform_account: Server, tmp_path: Path
) -> None:
    shared, aws = bench.example("shared-layer"), terraform_account
    (tmp_path / "served").mkdir()
    (tmp_path / "clones").mkdir()
    with git_server(tmp_path / "served") as server:
        forge = Forge(url=server.url, root=tmp_path / "served", work=tmp_path / "clones")
        build = f"function:\n  runtimes: [{bench.runtime}]\n  handler: app.handler\n  memory: 256\n  timeout: 7\n"
        code = "import idna\n\ndef handler(event, context):\n    return context.memory_limit_in_mb\n"
        files = {"build.yaml": build + "layers: {dependencies: [r.txt]}\n", "app.py": code, "r.txt": "idna\n"}
        commit = forge.push("quiet", {f"app/{name}": text for name, text in files.items()})
        (shared.folder / "git.tf").write_text(FROM_GIT % (server.url, commit, bench.runtime))
        shared.succeed("init", "-input=false")
        shared.apply()
    assert invoke(aws, "hello", {"name": "Ü"}) == {"said": "Hello, Ü", "domain": "xn--tda"}
    assert invoke(aws, "bye", {"name": "you"})["said"] == "Goodbye, you"
    assert int(invoke(aws, "from-git", {})) == 192, "the variable wins"
    assert aws.client("lambda").get_function_configuration(FunctionName="from-git")["Timeout"] == 7
    assert shared.is_unchanged()

    replace(shared.folder / "layer" / "phrases.json", "Goodbye", "Farewell")
    planned = shared.planned()
    assert planned['module.shared.aws_lambda_layer_version.this["phrases"]'] == "replace"
    assert planned['module.function["bye"].aws_lambda_function.this'] == "update"
    assert not any("from_git" in address or "package" in address for address in planned)
    shared.destroy()
    assert left(aws) == {
        "functions": ["greeter", "lambdasmith", "lambdasmith-setup"],
        "layers": ["greeter-dependencies", "lambdasmith-layer"],
    }


def test_a_plan_has_only_the_functions_of_a_project_that_a_commit_changes(
    greeter: Terraform, bench: Bench, terraform_account: Server, tmp_path: Path
) -> None:
    example, aws, shop = bench.example("project"), terraform_account, ROOT / "examples" / "shop"
    files = {str(path.relative_to(shop)): path.read_text() for path in shop.rglob("*") if path.is_file()}
    # What the package of the example needs on older runtimes it does not say.
    files["orders/requirements.txt"] += "typing-extensions\n"
    files["build.yaml"] = files["build.yaml"].replace("python3.13", bench.runtime)
    module = "module.shop.aws_lambda_function.this"
    (tmp_path / "served").mkdir()
    (tmp_path / "clones").mkdir()
    with git_server(tmp_path / "served") as server:
        forge = Forge(url=server.url, root=tmp_path / "served", work=tmp_path / "clones")
        example.variables |= {"repo": f"{server.url}/shop.git", "ref": forge.push("shop", files)}
        example.apply()
        assert invoke(aws, "shop-receipts", {"cents": 150}).startswith("You paid ")
        assert invoke(aws, "shop-refunds", {"cents": 150}).endswith(" back.")
        assert len(invoke(aws, "shop-orders", {})["order"]) == 26
        found = aws.client("lambda").get_function_configuration(FunctionName="shop-refunds")
        assert (found["Timeout"], found["MemorySize"]) == (60, 256)
        assert found["Environment"]["Variables"] == {"CURRENCY": "EUR"}
        assert len(aws.client("lambda").list_layer_versions(LayerName="shop-common")["LayerVersions"]) == 1
        assert example.is_unchanged()

        orders = files["orders/app.py"].replace('"order":', '"number":')
        example.variables["ref"] = forge.push("shop", {"orders/app.py": orders})
        assert example.planned() == {f'{module}["orders"]': "update"}
        example.apply()
        assert len(invoke(aws, "shop-orders", {})["number"]) == 26

        example.variables["ref"] = forge.push("shop", {"orders/app.py": "import not_there_zq\n"})
        said = example.run("plan", "-input=false", "-no-color")
        assert said.returncode == 1
        assert "not_there_zq" in said.stderr

        build = files["build.yaml"].replace("timeout: 60", "timeout: 60, url: true")
        back = {"orders/app.py": files["orders/app.py"], "build.yaml": build}
        example.variables["ref"] = forge.push("shop", back)
        said = example.run("plan", "-input=false", "-no-color")
        assert "The build file says of refunds what this module does not set: url." in said.stderr.replace("\n│ ", " ")
        example.destroy()
    assert left(aws) == {
        "functions": ["greeter", "lambdasmith", "lambdasmith-setup"],
        "layers": ["greeter-dependencies", "lambdasmith-layer"],
    }


OPTIONS = """
variable "triggers" {
  type    = map(string)
  default = {}
}
variable "canary" {
  type    = object({ stable = string, weight = number })
  default = null
}
locals {
  policy = { Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "s3:GetObject", Resource = "*" }] }
}
module "builder" {
  source   = "../../integrations/terraform/installed"
  name     = "%(name)s"
  bucket   = "%(bucket)s"
  prefix   = "lambdasmith/"
  revision = "1"
}
module "optioned" {
  source     = "../../integrations/terraform/function"
  builder    = module.builder
  name       = "optioned"
  source_dir = "src"
  policies   = { read = jsonencode(local.policy) }
  alias      = "live"
  triggers   = var.triggers
  canary     = var.canary
  timeouts   = { update = "15m" }
}
output "told" { value = module.optioned }
"""
OPTIONED = """
function:
  runtimes: [%s]
  handler: app.handler
  log_retention: 7
  url: {cors: {AllowOrigins: ["https://example.com"]}}
  configuration:
    LoggingConfig: {LogFormat: JSON, ApplicationLogLevel: WARN, LogGroup: /own/optioned}
layers: {dependencies: [requirements.txt]}
"""


def test_options_are_set_code_changed_by_hand_is_refused_and_destroy_needs_no_builder(
    greeter: Terraform, bench: Bench, terraform_account: Server
) -> None:
    aws = terraform_account.client("lambda")
    bucket = invoke(terraform_account, "lambdasmith", {"action": "ping"})["settings"]["bucket"]
    made = bench.configuration("options", OPTIONS % {"name": "lambdasmith", "bucket": bucket})
    source = made.folder / "src"
    source.mkdir()
    (source / "build.yaml").write_text(OPTIONED % bench.runtime)
    (source / "app.py").write_text("def handler(event, context):\n    return 1\n")
    (source / "requirements.txt").write_text("lambdasmith-has-no-such-package\n")
    said = made.failure()
    assert "does not exist in the package index" in said
    assert "Invalid index" not in said, said

    (source / "requirements.txt").write_text("idna\n")
    made.apply()
    assert made.is_unchanged()
    told = json.loads(made.succeed("output", "-json", "told"))
    assert told["log_group_name"] == "/own/optioned"
    assert told["role_arn"].endswith(":role/optioned")
    assert told["qualified_arn"].endswith(":function:optioned:1")
    configuration = aws.get_function_configuration(FunctionName="optioned")
    assert configuration["LoggingConfig"] | {"ApplicationLogLevel": "WARN"} == configuration["LoggingConfig"]
    assert configuration["LoggingConfig"]["LogGroup"] == "/own/optioned"
    url = aws.get_function_url_config(FunctionName="optioned", Qualifier="live")
    assert (url["AuthType"], url["Cors"]["AllowOrigins"]) == ("AWS_IAM", ["https://example.com"])

    hand = io.BytesIO()
    with zipfile.ZipFile(hand, "w") as archive:
        archive.writestr("app.py", "def handler(event, context):\n    return 'by hand'\n")
    aws.update_function_code(FunctionName="optioned", ZipFile=hand.getvalue())
    aws.get_waiter("function_updated_v2").wait(FunctionName="optioned")
    assert "The code of optioned is not what was built" in made.failure()
    made.variables["triggers"] = '{"repaired": "1"}'
    made.apply()
    assert aws.get_function_configuration(FunctionName="optioned")["CodeSha256"] == told["code_sha256"]

    # A plan is made by one job, and applied by another that has the same checkout at the same path below it.
    replace(source / "app.py", "return 1", "return 2")
    made.variables["canary"] = '{"stable": "1", "weight": 0.25}'
    made.succeed("plan", "-input=false", "-out=plan.bin")
    shutil.copytree(made.folder, made.folder.with_name("options-applied"))
    shutil.move(source, made.folder / "gone")
    applying = Terraform(made.folder.with_name("options-applied"), made.environment, made.variables)
    applying.succeed("apply", "-input=false", "plan.bin")
    newest = json.loads(applying.succeed("output", "-json", "told"))["version"]
    alias = aws.get_alias(FunctionName="optioned", Name="live")
    assert (alias["FunctionVersion"], alias["RoutingConfig"]["AdditionalVersionWeights"]) == ("1", {newest: 0.25})

    file = applying.folder / "main.tf"
    file.write_text(file.read_text().replace('"lambdasmith"', '"no-such-builder"'))
    shutil.rmtree(applying.folder / "src")
    applying.destroy()
    assert "optioned" not in left(terraform_account)["functions"]


def test_the_example_s_own_test_passes_without_an_account(greeter: Terraform, bench: Bench) -> None:
    said = greeter.succeed("test", "-no-color")
    assert "1 passed, 0 failed" in said


def test_go_is_compiled_by_the_builder(greeter: Terraform, bench: Bench, terraform_account: Server) -> None:
    gopher = bench.example("go")
    gopher.apply()
    assert invoke(terraform_account, "gopher", {"name": "Ada"})["greeting"] == "Hello, Ada!"
    gopher.destroy()


def test_destroy_leaves_nothing(greeter: Terraform, terraform_account: Server) -> None:
    greeter.destroy()
    assert left(terraform_account) == {"functions": [], "layers": []}
    assert terraform_account.client("s3").list_buckets()["Buckets"] == []
    assert terraform_account.client("iam").list_roles()["Roles"] == []
    state = json.loads((greeter.folder / "terraform.tfstate").read_text())
    assert state["resources"] == []


def left(aws: Server) -> dict[str, list[str]]:
    client = aws.client("lambda")
    return {
        "functions": sorted(each["FunctionName"] for each in client.list_functions()["Functions"]),
        "layers": sorted(each["LayerName"] for each in client.list_layers()["Layers"]),
    }
