"""A project that goes looking for the builder's credentials, wherever its code is run, and what it gets."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from tests.e2e.conftest import Builder
from tests.security.conftest import SPY, Lab

HANDLER = "def lambda_handler(event, context):\n    return 'ok'\n"


def build_file(runtime: str, *layers: str) -> str:
    head = (
        f"function: {{runtimes: [{runtime}], handler: lambda_function.lambda_handler, files: [lambda_function.py]}}\n"
    )
    return head + ("layers:\n" + "".join(layers) if layers else "")


SPYING_LAYER = "  spy:\n    preinstall: ['python spy.py seen.json']\n    files: [seen.json]\n"


def layer_content(builder: Builder, reply: dict[str, Any], layer: str, name: str) -> bytes:
    """A file of a component that a build has made."""
    sha256 = next(one["sha256"] for one in reply["artifacts"] if one["name"] == layer)
    bucket = builder.send({"action": "ping"})["settings"]["bucket"]
    key = f"lambdasmith/artifacts/{sha256}.zip"
    content = builder.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(name)


def layer_file(lab: Lab, reply: dict[str, Any], layer: str, name: str) -> bytes:
    return layer_content(lab.builder, reply, layer, name)


def judged(seen: dict[str, Any]) -> None:
    """Nothing that was seen is of use to a thief."""
    assert seen["environ"] == []
    assert seen["api"] is False, "the address of the Runtime API is in the environment"
    for address, answer in seen["metadata"].items():
        assert not answer.startswith("200"), address
    builders = [
        one for one in seen["processes"].values() if "awslambdaric" in one["name"] or "bootstrap" in one["name"]
    ]
    assert builders, "the builder itself was not seen, and nothing is shown"
    for one in builders:
        assert one["environ"] == "Permission denied"
        assert one["memory"] == "Permission denied"
    for pid, one in seen["processes"].items():
        for what in ("environ", "cmdline", "memory"):
            assert isinstance(one[what], str) or one[what] == [], (pid, what, one)


def test_a_command_of_the_build_file(lab: Lab) -> None:
    files = {
        "build.yaml": build_file(lab.builder.runtime, SPYING_LAYER),
        "spy.py": SPY,
        "lambda_function.py": HANDLER,
    }
    lab.builder.forge.push("mal-command", files)
    reply = lab.builder.build("mal-command")
    assert reply["statusCode"] == 200, reply
    judged(json.loads(layer_file(lab, reply, "spy", "seen.json")))


def test_the_build_of_a_dependency(lab: Lab) -> None:
    files = {
        "build.yaml": build_file(lab.builder.runtime, "  dependencies: [requirements.txt]\n"),
        "requirements.txt": f"--index-url {lab.index.simple}\nspied\n",
        "lambda_function.py": HANDLER,
    }
    lab.builder.forge.push("mal-dependency", files)
    reply = lab.builder.build("mal-dependency")
    assert reply["statusCode"] == 200, reply
    judged(json.loads(layer_file(lab, reply, "dependencies", "python/seen_by_the_build.py")))


def test_the_import_of_the_handler(lab: Lab) -> None:
    spying = "import subprocess, sys, json\n" + (
        "seen = subprocess.run([sys.executable, __file__.replace('lambda_function', 'spy')], capture_output=True)\n"
        "raise ImportError('SE' + 'EN ' + seen.stdout.decode() + ' EN' + 'D')\n"
    )
    files = {"build.yaml": build_file(lab.builder.runtime), "spy.py": SPY, "lambda_function.py": spying + HANDLER}
    files["build.yaml"] = files["build.yaml"].replace("[lambda_function.py]", "[lambda_function.py, spy.py]")
    lab.builder.forge.push("mal-handler", files)
    reply = lab.builder.build("mal-handler")
    assert reply["error"]["code"] == "import_failed", reply
    text = "\n".join(reply["error"]["log_tail"]) + reply["error"]["message"]
    judged(json.loads(text.partition("SEEN ")[2].partition(" END")[0]))
