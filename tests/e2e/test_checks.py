"""Checks in the builder function itself: what would not start is not published."""

from __future__ import annotations

from tests.e2e.conftest import Builder
from tests.e2e.test_build import CODE, project


def test_a_handler_that_does_not_import_is_not_published(builder: Builder) -> None:
    builder.forge.push("tried", project(builder.runtime))
    first = builder.build("tried")
    assert first["statusCode"] == 200, first
    # The embedded function is what the target is, but its code reads a file of a data layer: only when it is called.
    assert first["checks"]["tried"], first["checks"]
    before = builder.state("tried")

    builder.forge.push("tried", {"app.py": "import yaml\n" + CODE})
    broken = builder.build("tried")
    assert broken["error"]["code"] == "import_failed", broken
    assert broken["error"]["phase"] == "check"
    assert "No module named 'yaml'" in broken["error"]["message"]
    assert "PyYAML to requirements.txt" in broken["error"]["hint"]
    assert "    import yaml" in broken["error"]["log_tail"]
    assert builder.state("tried") == before

    builder.forge.push(
        "tried", {"app.py": "import boto3, os\nassert 'AWS_SECRET_ACCESS_KEY' not in os.environ\n" + CODE}
    )
    with_sdk = builder.build("tried")
    assert with_sdk["statusCode"] == 200, with_sdk


def test_a_layer_is_in_the_trial_as_lambda_would_have_it(builder: Builder) -> None:
    files = project(
        builder.runtime, **{"app.py": "import pathlib\nW = pathlib.Path('/opt/words/phrases.json').read_text()" + CODE}
    )
    builder.forge.push("opt", files)
    reply = builder.build("opt")
    assert reply["statusCode"] == 200, reply
    assert not reply["checks"]["tried"]
    assert any("/opt/words/phrases.json" in warning for warning in reply["warnings"])
    assert builder.invoke("opt")["word"] == "hello"


def test_a_build_of_the_function_alone_says_what_it_could_not_try(builder: Builder) -> None:
    builder.forge.push("alone", project(builder.runtime))
    assert builder.build("alone")["statusCode"] == 200
    builder.forge.push("alone", {"app.py": CODE + "\n# changed\n"})
    reply = builder.build("alone", components=["function"])
    assert reply["statusCode"] == 200, reply
    assert reply["checks"]["why"] == "not part of this build: dependencies, words"


def test_a_build_that_changes_nothing_pays_for_no_check(builder: Builder) -> None:
    builder.forge.push("unchanged", project(builder.runtime, **{"app.py": CODE + "\n# of its own\n"}))
    assert not builder.build("unchanged")["checks"]["reused"]
    again = builder.build("unchanged")
    assert again["checks"]["reused"]
    assert again["changed"] == []


def test_a_new_function_has_all_variables_that_its_import_needs_and_an_old_one_those_that_it_has(
    builder: Builder,
) -> None:
    code = "import os\nTABLE = os.environ['TABLE_NAME']\n" + CODE
    files = project(builder.runtime, **{"app.py": code})
    builder.forge.push("tables", files)
    refused = builder.build("tables")
    assert refused["error"]["code"] == "import_failed", refused
    assert "it needs TABLE_NAME in the environment" in refused["error"]["message"]
    assert builder.state("tables") is None

    builder.forge.push("tables", {"build.yaml": f"{files['build.yaml']}try: none\n"})
    created = builder.build("tables")
    assert created["statusCode"] == 200, created
    variables = {"Variables": {"TABLE_NAME": "orders-of-today"}}
    builder.client("lambda").update_function_configuration(FunctionName="tables", Environment=variables)
    builder.forge.push("tables", {"build.yaml": files["build.yaml"]})
    tried = builder.build("tables")
    assert tried["statusCode"] == 200, tried
    assert tried["checks"]["tried"], tried["checks"]

    builder.forge.push(
        "tables", {"app.py": "import os\nassert not os.environ['TABLE_NAME'], os.environ['TABLE_NAME']\n"}
    )
    broken = builder.build("tables")
    assert broken["error"]["code"] == "import_failed", broken
    assert "orders-of-today" not in str(broken)
