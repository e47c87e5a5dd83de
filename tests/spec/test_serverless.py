"""A serverless.yml is read as it stands, and what is not done for it is named."""

from __future__ import annotations

import pytest

from builder.errors import InvalidBuildFile
from builder.spec.members import BuildFile, read_functions

TEXT = """
service: shop
frameworkVersion: "4"
plugins: [serverless-python-requirements, serverless-offline]
custom:
  python: python3.13
  sizes: {dev: 256, prod: 1024}
provider:
  name: aws
  runtime: ${self:custom.python}
  stage: ${opt:stage, 'dev'}
  memorySize: ${self:custom.sizes.${sls:stage}}
  environment: {STAGE: "${sls:stage}", TABLE: "${env:TABLE}", KEY: "${ssm:/shop/key}"}
package:
  patterns: ["!tests/**", "!**/*.md"]
functions:
  orders:
    handler: orders/app.handler
    events: [{httpApi: "GET /orders"}]
  report:
    handler: report.run
    architecture: arm64
    package: {individually: true, patterns: ["!**", "report.py", "shared/**", "!shared/secret.txt"]}
    layers: [{Ref: CommonLambdaLayer}, "arn:aws:lambda:eu-west-1:123456789012:layer:sdk:1"]
    environment: {LEVEL: "${opt:level, 'info'}"}
  web:
    handler: web/index.handler
    runtime: nodejs24.x
  image: {image: repository}
  ready: {handler: x.y, package: {artifact: ready.zip}}
  old: {handler: x.y, runtime: ruby3.3}
layers:
  common: {path: layers/common}
  unused: {path: layers/unused}
"""


def read(text: str = TEXT, stage: str = "") -> BuildFile:
    return read_functions(text, file="serverless.yml", stage=stage)


def test_functions_of_a_serverless_file_are_functions_of_a_project() -> None:
    file = read()
    assert [*file.functions] == ["orders", "report", "web"]
    orders, report = file.functions["orders"].function, file.functions["report"].function
    assert orders
    assert report
    assert (orders.runtimes, orders.handler, orders.files) == (("python3.13",), "orders/app.handler", ())
    assert {"tests", "**/*.md", "serverless.yml", ".env"} <= {*orders.exclude}
    assert orders.environment == {"STAGE": "dev", "TABLE": "env:TABLE", "KEY": "ssm:/shop/key"}
    assert (report.architecture, report.files) == ("arm64", ("report.py", "shared"))
    assert "shared/secret.txt" in report.exclude
    assert report.environment
    assert report.environment["LEVEL"] == "info"
    assert [layer.name for layer in file.functions["report"].layers] == ["common"]
    assert len(file.functions["report"].layer_order) == 2


def test_a_stage_is_that_of_the_framework() -> None:
    orders = read(stage="prod").functions["orders"].function
    assert orders
    assert orders.environment
    assert orders.environment["STAGE"] == "prod"


def test_what_is_not_built_is_named() -> None:
    template = read().template
    assert template is not None
    assert template.left == {
        "plugin serverless-offline": "plugins are not run here",
        "image": "it is a container image",
        "ready": "it is a zip already",
        "old": "ruby3.3 is not built here",
        "unused": "no function that is built here has it",
    }


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "runtime: ${self:custom.python}",
            "runtime: ${ssm:/runtime}",
            "serverless.yml:10: provider.runtime: ${ssm:/runtime} is known to the Serverless Framework alone",
        ),
        (
            '"!shared/secret.txt"]',
            '"!shared/a.txt", "shared/a.txt"]',
            "functions.report.package.patterns: 'shared/a.txt' brings back what an earlier pattern leaves out",
        ),
        ("python: python3.13", "python: ${self:custom.python}", "the variables lead to each other"),
        ("handler: report.run", "handler: report", "serverless.yml:21: functions.report.handler: 'report' must be"),
    ],
)
def test_what_is_wrong_is_said_by_its_place(old: str, new: str, said: str) -> None:
    with pytest.raises(InvalidBuildFile) as caught:
        read(TEXT.replace(old, new))
    assert said in caught.value.message, caught.value.message
