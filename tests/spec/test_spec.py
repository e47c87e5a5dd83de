# ruff: noqa: E501  (tables of cases read best one to a line)
"""The build file: what is read, what is refused, on which line and in which words."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.aws import service_shapes
from builder.errors import InvalidBuildFile
from builder.making.project import read_project
from builder.spec.accepted import RETENTION_DAYS
from builder.spec.build_file import (
    BuildSpec,
    FunctionSpec,
    LayerArn,
    LayerSpec,
    PruneSpec,
    find_build_file,
)
from builder.spec.tree import check_against_tree
from builder.spec.values import UrlSpec
from tests.spec.reading import read_build_file

ROOT = Path(__file__).resolve().parents[2]
SMALL = "function:\n  runtimes: [python3.13]\n  handler: app.main\n  files: [app.py]\n"
CONFIGURATION = SMALL + "  configuration:\n    "


def problems(text: str, file: str = "build.yaml") -> list[str]:
    with pytest.raises(InvalidBuildFile) as caught:
        read_build_file(text, file=file)
    error = caught.value
    assert error.hint
    assert all(problem in error.message for problem in error.problems)
    assert all(problem.startswith(f"{file}:") for problem in error.problems)
    return [problem.removeprefix(f"{file}:") for problem in error.problems]


def test_the_short_form() -> None:
    spec = read_build_file(SMALL + "layers:\n  dependencies: requirements.txt\n", file="build.yaml")
    assert spec.function == FunctionSpec(runtimes=("python3.13",), handler="app.main", files=("app.py",))
    assert (spec.file, spec.dependencies, spec.layers, spec.prune) == (
        "build.yaml",
        ("requirements.txt",),
        (),
        PruneSpec(),
    )


def test_every_key() -> None:
    text = """
function:
  runtimes: [python3.12, python3.13]
  handler: pkg/mod.main
  files: [pkg/, "*.json"]
  source_dir: src
  exclude: ["*_test.py"]
  architecture: arm64
  role: arn:aws:iam::123456789012:role/service/thumbs
  memory: 256
  timeout: 900
  environment: {LEVEL: info, "EMPTY": ""}
  description: Thumbs
  tags: {team: pictures}
  ephemeral_storage: 1024
  license: MIT
  log_retention: 14
  url: {auth: none, invoke_mode: response_stream, cors: {AllowOrigins: ["*"]}}
  configuration:
    VpcConfig: {SubnetIds: [subnet-1], SecurityGroupIds: [sg-1]}
    SnapStart: {ApplyOn: None}
    ReservedConcurrentExecutions: 0
    DestinationConfig: {OnFailure: {Destination: "arn:aws:sqs:eu-west-1:123456789012:failed"}}
layers:
  zebra:
    files: zebra/
  sdk: arn:aws:lambda:eu-west-1:210987654321:layer:sdk:7
  dependencies: [a.txt, sub/b.txt]
  data:
    description: Data
    runtimes: [python3.13]
    license: MIT
    preinstall: ["make data"]
    files: [data]
    source_dir: build
    dest_dir: data
prune:
  disable: [tests]
  keep: ["*/testing/*"]
keep: 5
"""
    spec = read_build_file(text, file="build.yaml")
    assert spec.function == FunctionSpec(
        runtimes=("python3.12", "python3.13"),
        handler="pkg/mod.main",
        files=("pkg/", "*.json"),
        source_dir="src",
        exclude=("*_test.py",),
        architecture="arm64",
        role="arn:aws:iam::123456789012:role/service/thumbs",
        memory=256,
        timeout=900,
        environment={"LEVEL": "info", "EMPTY": ""},
        description="Thumbs",
        tags={"team": "pictures"},
        ephemeral_storage=1024,
        license="MIT",
        log_retention=14,
        url=UrlSpec(auth="none", invoke_mode="response_stream", cors={"AllowOrigins": ["*"]}),
        configuration={
            "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
            "SnapStart": {"ApplyOn": "None"},
            "ReservedConcurrentExecutions": 0,
            "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:eu-west-1:123456789012:failed"}},
        },
    )
    sdk = LayerArn(name="sdk", arn="arn:aws:lambda:eu-west-1:210987654321:layer:sdk:7")
    assert spec.layer_order == ("zebra", sdk, "dependencies", "data")
    assert spec.keep == 5
    assert spec.dependencies == ("a.txt", "sub/b.txt")
    assert spec.layers == (
        LayerSpec(name="zebra", runtimes=("python3.12", "python3.13"), files=("zebra/",)),
        LayerSpec(
            name="data",
            description="Data",
            runtimes=("python3.13",),
            license="MIT",
            preinstall=("make data",),
            files=("data",),
            source_dir="build",
            dest_dir="data",
        ),
    )
    assert spec.prune == PruneSpec(disable=("tests",), keep=("*/testing/*",))


@pytest.mark.parametrize("example", ["build.yaml.example", "build.json.example"])
def test_the_examples_are_valid(example: str) -> None:
    spec = read_build_file((ROOT / example).read_text(), file=example.removesuffix(".example"))
    assert spec.function
    assert spec.dependencies == ("requirements.txt",)


def uncommented(example: str) -> str:
    """The example with the keys in force that stand in its comments; of the ways to build, the commands."""
    lines = [line for line in example.splitlines() if not re.match(r" *# build: +[^ #]", line)]
    start = lines.index("function:")
    keys = [line.replace("# ", "", 1) for line in lines[start:] if not line.lstrip().startswith(("# The", "# FILE"))]
    return "\n".join(line for line in keys if ":" in line.split("#")[0] or line.lstrip().startswith("- "))


def test_the_commented_lines_of_the_example_are_valid_too() -> None:
    spec = read_build_file(uncommented((ROOT / "build.yaml.example").read_text()), file="build.yaml")
    assert spec.function
    assert spec.function.memory == 512
    assert spec.function.environment == {"LOG_LEVEL": "info", "RETRIES": "3"}
    assert spec.function.url == UrlSpec(
        auth="none",
        invoke_mode="response_stream",
        cors={"AllowOrigins": ["https://shop.example"], "AllowMethods": ["GET", "POST"], "MaxAge": 3600},
    )
    assert {
        "VpcConfig",
        "KMSKeyArn",
        "RuntimeManagementConfig",
        "DestinationConfig",
    } <= spec.function.configuration.keys()
    assert spec.layers[0].dest_dir == "data"
    assert [getattr(entry, "name", entry) for entry in spec.layer_order] == ["dependencies", "nltk_punkt", "insights"]
    assert spec.keep == 10
    assert spec.prune.keep == ("*/testing/*",)


def test_layers_alone_need_their_own_runtimes() -> None:
    spec = read_build_file("layers: {data: {runtimes: python3.13, files: data}}", file="build.yaml")
    assert spec.function is None
    assert "layers.data: runtimes: missing, and there is no function" in problems("layers: {data: {files: data}}")[0]


def test_anchors_and_merges_work() -> None:
    text = SMALL + "layers:\n  a: &a {files: [x], license: MIT}\n  b: {<<: *a, files: [y]}\n"
    spec = read_build_file(text, file="build.yaml")
    assert [(layer.files, layer.license) for layer in spec.layers] == [(("x",), "MIT"), (("y",), "MIT")]


MISTAKES = [
    pytest.param(SMALL + "  memry: 128\n", "5: function.memry: unknown key; did you mean memory?", id="typo"),
    pytest.param(
        SMALL.replace("handler", "handlr"), "3: function.handlr: unknown key; did you mean handler?", id="typo-required"
    ),
    pytest.param(SMALL + "layer: {}\n", "5: layer: unknown key; did you mean layers?", id="typo-top"),
    pytest.param(SMALL + "  name: x\n", "5: function.name: unknown key", id="unknown"),
    pytest.param(SMALL + "  build: {go: x}\n", "5: function.build: go is for the runtime provided.al2023, not python3.13", id="build-runtime"),
    pytest.param(SMALL + "  build: golang\n", "must be go, node, none, or a mapping such as go: ./cmd/api or command: […], not 'golang'", id="build-word"),
    pytest.param(SMALL + "  build: {go: x, node: y}\n", "function.build: has both go and node", id="build-two"),
    pytest.param(SMALL + "  build: {go: {cgo: 1}}\n", "5: function.build.go.cgo: must be true or false, not 1", id="build-type"),
    pytest.param(SMALL + "  build: {go: {pakage: x}}\n", "function.build.go.pakage: unknown key; did you mean package?", id="build-key"),
    pytest.param(SMALL + "  build: {go: ../x}\n", "function.build.go.package: '../x' leaves the project", id="build-leaves"),
    pytest.param(SMALL + "  build: {node: {minify: true}}\n", "function.build.node: minify: only for bundle, and there is none", id="build-minify"),
    pytest.param(SMALL + "  build: {command: [make]}\n", "function.build.output: missing", id="build-output"),
    pytest.param(SMALL + "  build: {command: [make], output: out, input: src}\n", "function.build.input: unknown key; did you mean inputs?", id="build-inputs"),
    pytest.param("function:\n  runtimes: [go1.x]\n  handler: main\n", "'go1.x' is retired, AWS creates no functions with it; use runtimes: [provided.al2023] with build: go", id="go1.x"),
    pytest.param("function:\n  runtimes: [provided.al2023]\n  build: {python: x}\n", "'python' is not one of these", id="build-unknown"),
    pytest.param(
        SMALL + "  native_libraries: yes\n",
        "5: function.native_libraries: must be 'auto' or 'none', not yes",
        id="native-libraries",
    ),
    pytest.param("function:\n  runtimes: [nodejs24.x]\n", "1: function.handler: missing", id="missing"),
    pytest.param("function:\n  runtimes: [python3.13]\n  build: {command: [make], output: out}\n", "1: function.handler: missing", id="missing-made"),
    pytest.param(SMALL + "  timeout: 901\n", "5: function.timeout: must be from 1 to 900, not 901", id="timeout"),
    pytest.param(SMALL + "  memory: 64\n", "5: function.memory: must be from 128 to 10240, not 64", id="memory"),
    pytest.param(SMALL + "  memory: 1 GB\n", "must be a whole number, not '1 GB'", id="memory-unit"),
    pytest.param(SMALL + "  memory: 128.5\n", "must be a whole number, not 128.5", id="memory-float"),
    pytest.param(SMALL + "  memory: true\n", "must be a whole number, not true", id="memory-bool"),
    pytest.param(SMALL + "  architecture: arm\n", "must be 'x86_64' or 'arm64', not 'arm'", id="architecture"),
    pytest.param(SMALL + "  role: thumbs\n", "'thumbs' is not a role's ARN", id="role"),
    pytest.param(
        SMALL + "  description: 3.10\n",
        '5: function.description: 3.10 is read as the number 3.1, text is wanted; put it in quotes: "3.10"',
        id="float",
    ),
    pytest.param(SMALL + "  environment:\n    PORT: 80\n", '6: function.environment.PORT: 80 is read', id="env-int"),
    pytest.param(SMALL + "  environment:\n    LAND: NO\n", 'put it in quotes: "NO"', id="norway"),
    pytest.param(SMALL + "  environment: {AWS_REGION: x}\n", "AWS_REGION: Lambda sets it itself", id="env-reserved"),
    pytest.param(SMALL + "  environment: {1A: x}\n", "'1A' is not a name of a variable", id="env-name"),
    pytest.param(SMALL + f"  environment: {{AB: '{'x' * 4096}'}}\n", "takes 4,098 bytes", id="env-size"),
    pytest.param(SMALL + "  environment: [A]\n", "must be a mapping (name: value), not a list", id="env-list"),
    pytest.param(SMALL + f"  description: {'x' * 257}\n", "is 257 characters long; at most 256", id="description"),
    pytest.param(SMALL + "  tags: {'aws:x': y}\n", "does not begin with aws:", id="tags"),
    pytest.param(SMALL + "  files: [b.py]\n", "5: function.files: is given twice (first on line 4)", id="twice"),
    pytest.param(SMALL + "  source_dir: ../x\n", "function.source_dir: '../x' leaves the project", id="source-dir"),
    pytest.param(SMALL + "  exclude: [/x]\n", "function.exclude.0: '/x' is absolute", id="exclude"),
    pytest.param(SMALL + "  exclude:\n", "5: function.exclude: is empty; give it a value", id="empty"),
    pytest.param(SMALL.replace("[app.py]", "{a: b}"), "must be a list, not a mapping", id="files-map"),
    pytest.param(SMALL.replace("[app.py]", "[a, 1]"), "function.files.1: 1 is read as the number", id="files-int"),
    pytest.param(SMALL.replace("[app.py]", "[a, ../b]"), "function.files.1: '../b' leaves the project", id="files-up"),
    pytest.param(SMALL.replace("app.main", "main"), "'main' must be FILE.FUNCTION", id="handler"),
    pytest.param(SMALL.replace("app.main", "..main"), "must be FILE.FUNCTION", id="handler-dots"),
    pytest.param(SMALL.replace("python3.13", "pyton3.13"), "not a runtime we know; did you mean python3.13?", id="runtime"),
    pytest.param(SMALL.replace("python3.13", "3.13"), "write the runtime's whole name, python3.13", id="runtime-number"),
    pytest.param(SMALL.replace("[python3.13]", "[]"), "2: function.runtimes: is empty", id="no-runtime"),
    pytest.param("function: [a]\n", "1: function: must be a mapping (key: value), not a list", id="function-list"),
    pytest.param("function:\n", "1: function: is empty", id="function-empty"),
    pytest.param("- a\n", "1: must be a mapping, not a list", id="top-list"),
    pytest.param("", "1: is empty; it begins with", id="nothing"),
    pytest.param("layers: {}\n", "1: builds nothing", id="builds-nothing"),
    pytest.param(SMALL + "layers: [x]\n", "5: layers: must be a mapping of names to layers", id="layers-list"),
    pytest.param(SMALL + "layers:\n  data: [x]\n", "6: layers.data: must be a mapping with `files`", id="layer-list"),
    pytest.param(SMALL + "layers:\n  data: {}\n", "6: layers.data.files: missing", id="layer-files"),
    pytest.param(SMALL + "layers:\n  a b: {files: x}\n", "6: layers.a b: a layer's name", id="layer-name"),
    pytest.param(SMALL + "layers:\n  function: {files: x}\n", "is not `function`", id="layer-function"),
    pytest.param(SMALL + "layers:\n  d: {files: x, name: y}\n", "the layer's name is the key above it", id="layer-named"),
    pytest.param(SMALL + "layers:\n  dependencies:\n", "6: layers.dependencies: is empty", id="dependencies-empty"),
    pytest.param(SMALL + "layers:\n  dependencies: {a: b}\n", "must be a list, not a mapping", id="dependencies-map"),
    pytest.param(
        SMALL + "layers:\n" + "".join(f"  l{n}: {{files: x}}\n" for n in range(6)), "6 layers; Lambda allows 5", id="six"
    ),
    pytest.param(SMALL + "layers: {a: 'arn:aws:lambda:eu-west-1:123456789012:layer:x'}\n", "5: layers.a: 'arn:aws:lambda:eu-west-1:123456789012:layer:x' has no version; add it, for example arn:", id="arn-unversioned"),
    pytest.param(SMALL + "layers: {a: requirements.txt}\n", "layers.a: 'requirements.txt' is not a layer version's ARN", id="arn-file"),
    pytest.param(SMALL + "layers:\n  dependencies: 'arn:aws:lambda:eu-west-1:123456789012:layer:x:1'\n", "give a layer from elsewhere another name", id="arn-dependencies"),
    pytest.param(SMALL + "layers:\n  a: 'arn:aws:lambda:eu-west-1:123456789012:layer:x:1'\n  b: 'arn:aws:lambda:eu-west-1:123456789012:layer:x:2'\n", "7: layers.b: is the same layer as a", id="arn-twice"),
    pytest.param(SMALL + "layers:\n" + "".join(f"  l{n}: 'arn:aws:lambda:eu-west-1:123456789012:layer:l{n}:1'\n" for n in range(6)), "6 layers; Lambda allows 5", id="six-arns"),
    pytest.param(SMALL + "keep: 0\n", "5: keep: must be at least 1, not 0", id="keep"),
    pytest.param(SMALL + "keep: all\n", "5: keep: must be a whole number, not 'all'", id="keep-text"),
    pytest.param(SMALL + "  log_retention: 8\n", "5: function.log_retention: 8 days is not a period that CloudWatch Logs accepts", id="retention"),
    pytest.param(SMALL + "  url: false\n", "5: function.url: must be true or a mapping; a URL is never removed", id="url-false"),
    pytest.param(SMALL + "  url: {auth: public}\n", "function.url.auth: must be 'iam' or 'none', not 'public'", id="url-auth"),
    pytest.param(SMALL + "  url: {cors: {AllowOrigin: ['*']}}\n", "5: function.url.cors.AllowOrigin: unknown name; did you mean AllowOrigins?", id="cors"),
    pytest.param(SMALL + "  url: {cors: {MaxAge: 90000}}\n", "function.url.cors.MaxAge: must be at most 86400, not 90000", id="cors-range"),
    pytest.param(SMALL + "  configuration: [a]\n", "5: function.configuration: must be a mapping (name: value), not a list", id="configuration-list"),
    pytest.param(CONFIGURATION + "VpcConf: {}\n", "6: function.configuration.VpcConf: unknown name; did you mean VpcConfig?", id="member"),
    pytest.param(CONFIGURATION + "Zzz: {}\n", "unknown name; known are AcceleratorConfig, CapacityProviderConfig, CodeSigningConfigArn", id="member-unlike"),
    pytest.param(CONFIGURATION + "MemorySize: 3\n", "6: function.configuration.MemorySize: is set by `function.memory:`; write it there", id="member-friendly"),
    pytest.param(CONFIGURATION + "Layers: []\n", "is set by `layers:`; write it there", id="member-layers"),
    pytest.param(CONFIGURATION + "timeout: 3\n", "unknown name; `timeout:` is a key beside `configuration:`", id="member-lower"),
    pytest.param(CONFIGURATION + "FunctionName: a\n", "does not belong here: the client names the function", id="member-name"),
    pytest.param(CONFIGURATION + "VpcConfig: {SubnetId: []}\n", "6: function.configuration.VpcConfig.SubnetId: unknown name; did you mean SubnetIds?", id="member-below"),
    pytest.param(CONFIGURATION + "VpcConfig:\n      SubnetIds: [subnet-1, 7]\n", "7: function.configuration.VpcConfig.SubnetIds.1: 7 is read as the number 7, text is wanted", id="member-number"),
    pytest.param(CONFIGURATION + "VpcConfig: {SubnetIds: [net-1]}\n", "SubnetIds.0: 'net-1' does not have the form that Lambda requires: subnet-[0-9a-z]*", id="member-pattern"),
    pytest.param(CONFIGURATION + f"VpcConfig: {{SecurityGroupIds: [{', '.join(['sg-1'] * 6)}]}}\n", "SecurityGroupIds: has 6 entries; at most 5", id="member-entries"),
    pytest.param(CONFIGURATION + "VpcConfig: {Ipv6AllowedForDualStack: 1}\n", "must be true or false, not 1", id="member-bool"),
    pytest.param(CONFIGURATION + "TracingConfig: Active\n", "TracingConfig: must be a mapping (name: value), not 'Active'", id="member-mapping"),
    pytest.param(CONFIGURATION + "TracingConfig: {Mode: On}\n", "Mode: On is read as true, text is wanted", id="member-on"),
    pytest.param(CONFIGURATION + "SnapStart: {ApplyOn: Published}\n", "must be 'PublishedVersions' or 'None', not 'Published'", id="member-enum"),
    pytest.param(CONFIGURATION + "FileSystemConfigs: [{LocalMountPath: /mnt/a}]\n", "6: function.configuration.FileSystemConfigs.0.Arn: missing", id="member-required"),
    pytest.param(CONFIGURATION + "FileSystemConfigs: [{LocalMountPath: /mnt/a, arn: b}]\n", "FileSystemConfigs.0.arn: unknown name; did you mean Arn?", id="member-required-typo"),
    pytest.param(CONFIGURATION + "FileSystemConfigs: [{LocalMountPath: /mnt/a, Arn: b}]\n", "'b' does not have the form that Lambda requires: FileSystemArn in Lambda's API reference", id="member-long-pattern"),
    pytest.param(CONFIGURATION + "ReservedConcurrentExecutions: -1\n", "must be at least 0, not -1", id="concurrency"),
    pytest.param(CONFIGURATION + "MaximumRetryAttempts: 3\n", "must be at most 2, not 3", id="retries"),
    pytest.param(CONFIGURATION + "MaximumEventAgeInSeconds: 59\n", "must be from 60 to 21600, not 59", id="event-age"),
    pytest.param(CONFIGURATION + "RuntimeManagementConfig: {}\n", "RuntimeManagementConfig.UpdateRuntimeOn: missing", id="runtime-management"),
    pytest.param(CONFIGURATION + "KMSKeyArn:\n", "is empty; give it a value or leave the key out", id="member-empty"),
    pytest.param("a: [b\n", "not valid YAML", id="yaml"),
    pytest.param(SMALL + "\tx: y\n", "5: is not valid YAML", id="tab"),
    pytest.param("a: b\n---\nc: d\n", "a second document begins", id="documents"),
    pytest.param("a: \x01\n", "1: contains a character that YAML does not allow", id="control"),
    pytest.param('function: "\\UFFFFFFFF"\n', "not valid YAML", id="escape"),
    pytest.param(SMALL + "  license: !!python/name:os.system x\n", "has no meaning here", id="tag"),
    pytest.param("&a a: *b\n", "not valid YAML: found undefined alias", id="alias"),
    pytest.param("[" * 50_000, "nested deeper than", id="deep"),
    pytest.param("x: y\n" * 100_000, "longer than 256,000 characters", id="long"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), MISTAKES)
def test_one_mistake_is_one_problem(text: str, problem: str) -> None:
    found = problems(text)
    assert len(found) == 1, found
    assert problem in found[0]


def test_the_periods_of_log_retention_are_those_of_the_sdk_in_use() -> None:
    member = service_shapes("logs")["PutRetentionPolicyRequest"]["members"]["retentionInDays"]
    described = service_shapes("logs")[member["shape"]]["documentation"]
    assert tuple(map(int, re.findall(r"\d+", described.partition(".</p>")[0]))) == RETENTION_DAYS


def test_layers_are_built_and_attached_in_the_order_of_the_file(tmp_path: Path) -> None:
    layers = "layers:\n  b: {files: x}\n  sdk: 'arn:aws:lambda:eu-west-1:123456789012:layer:sdk:1'\n  dependencies: r.txt\n  a: {files: x}\n"
    for name in ("app.py", "x", "r.txt"):
        (tmp_path / name).write_text("idna\n" if name == "r.txt" else "")
    (tmp_path / "build.yaml").write_text(SMALL + layers)
    project = read_project(tmp_path, None, commit_time=0)
    assert project.names == ("b", "dependencies", "a", "function")
    assert [getattr(entry, "name", entry) for entry in project.spec.layer_order] == ["b", "sdk", "dependencies", "a"]
    (tmp_path / "build.yaml").write_text(SMALL + layers.replace("r.txt", "[]"))
    assert read_project(tmp_path, None, commit_time=0).names == ("b", "a", "function")


def test_the_sdk_is_loaded_only_for_lambdas_own_names() -> None:
    named = CONFIGURATION + "KMSKeyArn: ''\n"
    code = (
        "import sys\nfrom builder.spec.members import read_functions as r\n"
        f"r({SMALL!r}, file='build.yaml'); assert 'botocore' not in sys.modules\n"
        f"r({named!r}, file='build.yaml'); assert 'boto3' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_all_problems_come_together_in_the_order_of_the_file() -> None:
    found = problems(
        "function:\n  runtimes: [python3.13, x]\n  handler: main\n  memory: 1\nlayers:\n  data: {file: x}\nprun: {}\n"
    )
    assert [problem.split(":")[0] for problem in found] == ["2", "3", "4", "6", "7"]


def test_a_bomb_of_aliases_is_refused_at_once() -> None:
    lines = ["a0: &a0 [" + ",".join("x" * 9) + "]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "has more than 20,000 values" in problems("\n".join(lines))[0]


def test_an_alias_of_itself_is_refused() -> None:
    assert "nested deeper than" in problems("layers: &a {x: *a}")[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '{"function": {\n\t"runtimes": ["python3.13"],\n\t"handlr": "a.b"}}',
            "3: function.handlr: unknown key; did you mean",
        ),
        ('{"a": 1,}', "1: is not valid JSON: "),
        ('{"layers": {},\n "layers": {}}', "2: layers: is given twice (first on line 1)"),
        ('{"function": NaN}', "NaN is not JSON"),
        ('{"function": {"runtimes": "python3.13", "handler": "a.b", "description": 1e5}}', "1e5 is read as the number"),
        ("[" * 50_000, "nested deeper than"),
        ("[" * 100 + "]" * 100, "nested deeper than 30"),
    ],
)
def test_json_is_as_exact(text: str, problem: str) -> None:
    found = problems(text, "build.json")
    assert len(found) == 1, found
    assert problem in found[0]


def test_json_says_the_same_as_yaml() -> None:
    text = '{"function": {"runtimes": ["python3.13"], "handler": "app.m\\u00e4\\ud83d\\ude00", "files": ["a:b, [c] \\"d\\""]}}'
    spec = read_build_file(text, file="build.json")
    assert spec.function == FunctionSpec(runtimes=("python3.13",), handler="app.mä😀", files=('a:b, [c] "d"',))


# --- names and trees --------------------------------------------------------------------------------------------------


def test_finding_the_build_file() -> None:
    assert find_build_file(["x.py", "build.yml"], None) == "build.yml"
    assert find_build_file(["build.yaml", "other.json"], "other.json") == "other.json"


@pytest.mark.parametrize(
    ("names", "wanted", "words"),
    [
        ([], None, "looked for build.yaml, build.yml, build.json"),
        (["buidl.yaml"], None, "did you mean buidl.yaml?"),
        (["build.yaml", "build.json"], None, "several build files: build.yaml and build.json"),
        (["build.yaml"], "biuld.yaml", "'biuld.yaml' is not in the project; did you mean build.yaml?"),
    ],
)
def test_no_build_file_or_too_many(names: list[str], wanted: str | None, words: str) -> None:
    with pytest.raises(InvalidBuildFile) as caught:
        find_build_file(names, wanted)
    assert words in str(caught.value)
    assert caught.value.hint


def tree_problems(text: str, root: Path, *files: str) -> list[str]:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    spec = read_build_file(text, file="build.yaml")
    try:
        check_against_tree(spec, root)
    except InvalidBuildFile as error:
        return [problem.removeprefix("build.yaml:") for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("handler", "listed", "files"),
    [
        ("app.main", "app.py", ["app.py"]),
        ("pkg.mod.main", "pkg/", ["pkg/mod.py"]),
        ("pkg/mod.main", '"**/*.py"', ["pkg/mod.py"]),
        ("pkg.main", "pkg", ["pkg/__init__.py"]),
    ],
)
def test_a_tree_that_fits(tmp_path: Path, handler: str, listed: str, files: list[str]) -> None:
    text = f"function: {{runtimes: python3.13, handler: {handler}, files: [{listed}]}}"
    assert tree_problems(text, tmp_path, *files) == []


def test_python_without_a_handler_means_the_usual_file(tmp_path: Path) -> None:
    """As the build files of the original implementation, which name none."""
    text = "---\nfunction:\n  runtimes:\n    - python3.13\n  files:\n    - app.py\n"
    assert tree_problems(text, tmp_path, "app.py") == [
        "2: function.handler: missing; name FILE.FUNCTION "
        "(without it lambda_function.lambda_handler, and there is no lambda_function.py)"
    ]
    (tmp_path / "lambda_function.py").write_text("", encoding="utf-8")
    assert tree_problems(text, tmp_path) == [
        "2: function.handler: 'lambda_function.lambda_handler' is in lambda_function.py, which is not among "
        "the files; add it to function.files"
    ]
    text = text.replace("app.py", "lambda_function.py")
    assert tree_problems(text, tmp_path) == []
    function = read_build_file(text, file="build.yaml").function
    assert function is not None
    assert function.handler == "lambda_function.lambda_handler"


def test_handlers_of_other_runtimes(tmp_path: Path) -> None:
    assert (
        tree_problems("function: {runtimes: provided.al2023, handler: main, files: bootstrap}", tmp_path, "bootstrap")
        == []
    )
    assert tree_problems("function: {runtimes: nodejs22.x, handler: a.b, files: a.mjs}", tmp_path, "a.mjs") == []
    assert (
        "needs the file b.js"
        in tree_problems("function: {runtimes: nodejs22.x, handler: b.b, files: a.mjs}", tmp_path)[0]
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"handler: app.main": "handler: ap.main"}, "3: function.handler: 'ap.main' needs the file ap.py, which does not exist; did you mean app.main?"),
        ({"handler: app.main": "handler: util.main"}, "3: function.handler: 'util.main' is in util.py, which is not among the files"),
        ({"[app.py]": "[app.py, utils.py]"}, "4: function.files.1: 'utils.py' does not exist; did you mean util.py?"),
        ({"[app.py]": "[app.py, templates/]"}, "4: function.files.1: 'templates/' does not exist"),
        ({"[app.py]": "[app.py, '*.html']"}, "4: function.files.1: '*.html' matches nothing"),
        ({"[app.py]": "util.py"}, "'app.main' is in app.py, which is not among the files"),
        ({"[app.py]": "[app.py]\n  exclude: ['*.py']"}, "function.exclude: excludes every file"),
        ({"[app.py]": "[app.py]\n  source_dir: scr"}, "5: function.source_dir: 'scr' is not a directory; did you mean src?"),
        ({"requirements.txt": "requirement.txt"}, "6: layers.dependencies.0: 'requirement.txt' does not exist; did you mean requirements.txt?"),
        ({"requirements.txt": "boto3"}, "name files such as requirements.txt, not packages"),
        ({"requirements.txt": "src"}, "'src' is a directory"),
        ({"requirements.txt]": "requirements.txt]\n  d: {files: [nothing]}"}, "7: layers.d.files.0: 'nothing' does not exist"),
        ({"requirements.txt]": "requirements.txt]\n  d: {files: [x], source_dir: nowhere}"}, "layers.d.source_dir: 'nowhere' is not a directory"),
        ({"[app.py]": "[app.py, out]"}, "4: function.files.1: out: the symbolic link leaves the project"),
        ({"[app.py]": "[app.py]\n  source_dir: outdir"}, "function.source_dir: 'outdir' leaves the project"),
    ],
)  # fmt: skip
def test_one_mistake_in_a_tree_is_one_problem(tmp_path: Path, change: dict[str, str], problem: str) -> None:
    root = tmp_path / "project"
    root.mkdir()
    (tmp_path / "private").write_text("key")
    (root / "out").symlink_to("../private")
    (root / "outdir").symlink_to("..")
    text = SMALL + "layers:\n  dependencies: [requirements.txt]\n"
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    found = tree_problems(text, root, "app.py", "util.py", "requirements.txt", "src/app.py")
    assert len(found) == 1, found
    assert problem in found[0]


def test_all_problems_of_a_tree_come_together(tmp_path: Path) -> None:
    text = SMALL + "layers:\n  dependencies: r.txt\n  a: {files: [x, y]}\n  b: {files: z, preinstall: make}\n"
    found = tree_problems(text, tmp_path)
    assert [problem.split(":")[1].strip() for problem in found] == [
        "function.files.0",
        "layers.dependencies",
        "layers.a.files.0",
        "layers.a.files.1",
    ]


# --- anything at all --------------------------------------------------------------------------------------------------

yaml_bits = st.text(alphabet=" \n\t:-[]{},&*!|>'\"#%@`?~<ab0.1\x85\ufeff", max_size=60)
keys = st.sampled_from(
    ["function", "layers", "runtimes", "handler", "files", "memory", "dependencies", "data", "prune", "x"]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["python3.13", "a.b", "..", ""])
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def reads_or_refuses(text: str, file: str) -> BuildSpec | None:
    try:
        return read_build_file(text, file=file)
    except InvalidBuildFile as error:
        assert error.problems  # noqa: PT017
        assert all(problem.startswith(f"{file}:") for problem in error.problems)  # noqa: PT017
        return None


@given(yaml_bits | st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for file in ("build.yaml", "build.json"):
        reads_or_refuses(text, file)
        reads_or_refuses(SMALL + text, file)


@given(st.dictionaries(keys, values, max_size=4) | values)
def test_any_value_is_the_same_in_yaml_and_json(value: object) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False)
    assert reads_or_refuses(text, "build.json") == reads_or_refuses(text.replace("\ufeff", ""), "build.json")
    reads_or_refuses(text, "build.yaml")


def test_yaml_is_read_without_its_dangerous_constructors() -> None:
    """The composer alone is used: no tag can make an object."""
    code = (
        "from builder.spec.members import read_functions as r\n"
        "try: r('function: !!python/object/apply:os._exit [7]', file='build.yaml')\n"
        "except Exception as e: print(type(e).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "InvalidBuildFile\n")


def test_entries_of_dependencies_may_name_an_extra_or_a_group(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    text = 'layers:\n  dependencies: ["pyproject.toml[web]", pyproject.toml#group=prod, "pyproject.tom[x"]\n'
    spec = read_build_file(text.replace('"pyproject.tom[x"', "uv.lok#group=x"), file="build.yaml")
    assert spec.dependencies == ("pyproject.toml[web]", "pyproject.toml#group=prod", "uv.lok#group=x")
    with pytest.raises(InvalidBuildFile, match=r"'uv\.lok' does not exist") as caught:
        check_against_tree(spec, tmp_path)
    assert len(caught.value.problems) == 1
    with pytest.raises(InvalidBuildFile, match="write FILE"):
        check_against_tree(read_build_file(text, file="build.yaml"), tmp_path)
