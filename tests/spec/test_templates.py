"""Templates of SAM and CloudFormation are read as they stand, and what is wrong in them is said by their own words."""

from __future__ import annotations

import json

import pytest

from builder.errors import InvalidBuildFile
from builder.spec.document import read_document
from builder.spec.members import BuildFile, read_functions
from builder.spec.templates.writing import Changes, Place, rewritten

TEMPLATE = """
AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31
Parameters:
  Python: {Type: String, Default: python3.13}
  Stage: {Type: String, Default: dev}
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
Globals:
  Function:
    Timeout: 3
    Runtime: !Ref Python
    Layers: [!Ref Common]
    Environment: {Variables: {TABLE: !Ref Table, LEVEL: info}}
Resources:
  Hello:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: hello/
      Handler: app.handler
      Architectures: [!If [IsProd, arm64, x86_64]]
      Environment: {Variables: {NAME: !Sub "${Stage}-hello", ARN: !GetAtt Table.Arn}}
  Made:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: makefile}
    Properties: {CodeUri: ./made, Handler: made.handler}
  Bundle:
    Type: AWS::Serverless::Function
    Metadata:
      BuildMethod: esbuild
      BuildProperties: {EntryPoints: [src/app.ts], Minify: true, External: [sharp], Target: es2022}
    Properties: {CodeUri: web, Handler: app.handler, Runtime: nodejs24.x, Layers: []}
  Thumbs:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: go1.x}
    Properties: {CodeUri: thumbs, Handler: bootstrap, Runtime: provided.al2023}
  Plain:
    Type: AWS::Lambda::Function
    Properties: {Code: plain, Handler: plain.run, Runtime: python3.12, Role: !GetAtt Role.Arn, Layers: [!Ref Packages]}
  Inline:
    Type: AWS::Serverless::Function
    Properties: {InlineCode: "def handler(e, c): pass", Handler: index.handler}
  Zipped:
    Type: AWS::Lambda::Function
    Properties: {Code: {ZipFile: "x"}, Handler: index.handler, Runtime: python3.12}
  Image:
    Type: AWS::Serverless::Function
    Properties: {PackageType: Image, ImageUri: "x"}
  Uploaded:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: "s3://bucket/key", Handler: x.y}
  Skipped:
    Type: AWS::Serverless::Function
    Metadata: {SkipBuild: true}
    Properties: {CodeUri: skipped, Handler: x.y}
  Java:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: java, Handler: x.y, Runtime: java21}
  Common:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: layers/common}
  Packages:
    Type: AWS::Serverless::LayerVersion
    Metadata: {BuildMethod: python3.12}
    Properties: {ContentUri: layers/packages}
  Unused:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: layers/unused}
  Table: {Type: AWS::DynamoDB::Table, Condition: IsProd}
"""


def read(text: str = TEMPLATE, file: str = "template.yaml") -> BuildFile:
    return read_functions(text, file=file)


def test_functions_of_a_template_are_functions_of_a_project() -> None:
    file = read()
    assert [*file.functions] == ["Hello", "Made", "Bundle", "Thumbs", "Plain"]
    hello = file.functions["Hello"].function
    assert hello is not None
    assert (hello.runtimes, hello.source_dir, hello.handler) == (("python3.13",), "hello", "app.handler")
    assert hello.architecture == "x86_64"
    # What only CloudFormation knows has a name, for the trial of the handler.
    assert hello.environment == {"TABLE": "Table", "LEVEL": "info", "NAME": "dev-hello", "ARN": "Table.Arn"}
    assert [layer.name for layer in file.functions["Hello"].layers] == ["Common"]
    made, bundle, thumbs = (file.functions[key].function for key in ("Made", "Bundle", "Thumbs"))
    assert made
    assert made.build
    assert made.build.kind == "command"
    assert "make build-Made" in str(made.build)
    assert bundle
    assert bundle.build
    said = bundle.build.model_dump()
    assert {key: said[key] for key in ("bundle", "minify", "external")} == {
        "bundle": "src/app.ts",
        "minify": True,
        "external": ("sharp",),
    }
    assert thumbs
    assert thumbs.build
    assert (thumbs.build.kind, thumbs.source_dir) == ("go", "thumbs")
    assert file.functions["Plain"].dependencies == ("layers/packages/requirements.txt",)


def test_what_needs_no_build_is_left_as_it_is() -> None:
    template = read().template
    assert template is not None
    assert template.left == {
        "Inline": "its code is in the template",
        "Zipped": "its code is in the template",
        "Image": "it is a container image",
        "Uploaded": "its code is in S3 already",
        "Skipped": "SkipBuild says so",
        "Java": "java21 is not built here",
        "Unused": "no function that is built here has it",
    }


def test_the_same_template_in_json_is_the_same() -> None:
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def long_form(loader: yaml.Loader, suffix: str, node: yaml.Node) -> object:
        if isinstance(node, yaml.ScalarNode):
            value: object = loader.construct_scalar(node)
        else:
            value = loader.construct_sequence(node, deep=True)  # type: ignore[arg-type]  # no mapping here
        return {"Ref" if suffix == "Ref" else f"Fn::{suffix}": value}

    Loader.add_multi_constructor("!", long_form)
    text = json.dumps(yaml.load(TEMPLATE, Loader))  # of our own text
    ours, theirs = read(), read(text, "template.json")
    assert [*ours.functions] == [*theirs.functions]
    for key, spec in ours.functions.items():
        assert spec.function == theirs.functions[key].function


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Handler: app.handler", "Handler: app", "template.yaml:20: Resources.Hello.Properties.Handler: 'app' must be"),
        ("CodeUri: hello/", "CodeUri: ../hello", "template.yaml:19: Resources.Hello.Properties.CodeUri: "),
        (
            "Default: python3.13}",
            "AllowedValues: [python3.13]}",
            "template.yaml:12: Globals.Function.Runtime: the parameter Python has no default",
        ),
        ("!Ref Python", "python3.31", "template.yaml:12: Globals.Function.Runtime.0: 'python3.31'"),
        (
            "CodeUri: hello/",
            "CodeUri: !ImportValue Code",
            "template.yaml:19: Resources.Hello.Properties.CodeUri: Fn::ImportValue is known to CloudFormation alone",
        ),
    ],
)
def test_what_is_wrong_is_said_by_its_place_in_the_template(old: str, new: str, said: str) -> None:
    with pytest.raises(InvalidBuildFile) as caught:
        read(TEMPLATE.replace(old, new))
    assert said in caught.value.message, caught.value.message


def test_short_tags_mean_nothing_in_a_build_file() -> None:
    with pytest.raises(InvalidBuildFile, match="the tag !Ref has no meaning here"):
        read("function: {runtimes: [python3.13], handler: !Ref x}\n", "build.yaml")


def changes() -> Changes:
    made, place = Changes(), Place(bucket="bucket", key="artifacts/abc.zip")
    made.properties["Hello"] = {"CodeUri": place.of("AWS::Serverless::Function"), "Layers": [{"Ref": "Common"}]}
    made.properties["Plain"] = {"Code": place.of("AWS::Lambda::Function")}
    made.properties["Common"] = {"ContentUri": place.of("AWS::Serverless::LayerVersion")}
    name = made.dependencies(place, "0123456789abcdef", ["python3.13"])
    assert name == made.dependencies(place, "0123456789abcdef", ["python3.13", "python3.12"])
    made.properties["Made"] = {"CodeUri": place.of("AWS::Serverless::Function"), "Layers": [{"Ref": name}]}
    return made


COMMENTED = TEMPLATE.replace("  Hello:\n", "  # says hello\n  Hello:\n").replace(
    "CodeUri: hello/", "CodeUri: hello/   # where it is"
)


@pytest.mark.parametrize(
    "text",
    [
        COMMENTED,
        COMMENTED.replace("CodeUri: hello/", "CodeUri:\n        hello/"),
        COMMENTED.replace("CodeUri: hello/", "CodeUri: !Sub\n        - hello/\n        - {}\n      # below"),
        COMMENTED.replace("CodeUri: hello/", "CodeUri: >-\n        hello/\n      # below"),
        COMMENTED.replace("\n", "\r\n"),
        COMMENTED + "Outputs:\n  Größe: {Value: !Ref Table}\n",
    ],
    ids=["plain", "next line", "a block", "folded", "carriage returns", "other letters"],
)
def test_a_template_is_written_with_new_places_and_all_else_as_it_was(text: str) -> None:
    made = rewritten(text, "template.yaml", changes())
    meant = changes().applied(read_document(text, file="template.yaml").value)
    assert read_document(made, file="template.yaml").value == meant
    assert "# says hello" in made
    before, after = [line.rstrip() for line in text.splitlines()], [line.rstrip() for line in made.splitlines()]
    gone = [line for line in before if line not in after]
    assert len(gone) <= 7, gone


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("template.yaml", TEMPLATE.replace("  Hello:", "  Other: &other {Type: X}\n  Again: *other\n  Hello:")),
        (
            "template.yaml",
            TEMPLATE.replace("    Properties: {CodeUri: ./made", "    Properties: &p {CodeUri: ./made").replace(
                "Properties: {CodeUri: skipped, Handler: x.y}", "Properties: *p"
            ),
        ),
    ],
    ids=["elsewhere", "shared"],
)
def test_anchors_mean_the_same_afterwards(file: str, text: str) -> None:
    made = rewritten(text, file, changes())
    assert read_document(made, file=file).value == changes().applied(read_document(text, file=file).value)


def test_a_template_without_properties_gets_some() -> None:
    text = "Globals: {Function: {CodeUri: a}}\nResources:\n  Hello:\n    Type: AWS::Serverless::Function\n"
    made = Changes(properties={"Hello": {"CodeUri": {"Bucket": "b", "Key": "k"}}})
    assert read_document(rewritten(text, "t.yaml", made), file="t.yaml").value == {
        "Globals": {"Function": {"CodeUri": "a"}},
        "Resources": {
            "Hello": {"Type": "AWS::Serverless::Function", "Properties": {"CodeUri": {"Bucket": "b", "Key": "k"}}}
        },
    }
