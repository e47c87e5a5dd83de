"""What a build runs asks the Runtime API for the event of its own invocation, as any process of a function can"""

from __future__ import annotations

import base64

from tests.security.conftest import Lab
from tests.security.test_malicious import HANDLER, build_file, layer_file

ASKING = """
import os, re, urllib.request

for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            found = re.search(rb"AWS_LAMBDA_RUNTIME_API=([0-9.:]+)", file.read())
    except OSError:
        continue
    if found:
        break
url = f"http://{found[1].decode()}/2018-06-01/runtime/invocation/next"
with urllib.request.urlopen(url, timeout=20) as answer, open("event.txt", "wb") as file:
    file.write(answer.read())
"""
LAYER = "  event:\n    preinstall: ['python asking.py']\n    files: [event.txt]\n"


def test_the_event_tells_nothing_that_is_secret(lab: Lab) -> None:
    lab.builder.forge.push(
        "asking",
        {"build.yaml": build_file(lab.builder.runtime, LAYER), "asking.py": ASKING, "lambda_function.py": HANDLER},
    )
    reply = lab.builder.build("asking")
    assert reply["statusCode"] == 200, reply
    event = layer_file(lab, reply, "event", "event.txt")
    assert b"asking" in event, "this is not the event of the build"
    told = {
        name
        for name, secret in lab.canaries.all().items()
        if secret.encode() in event or base64.b64encode(secret.encode()).rstrip(b"=")[:-1] in event
    }
    assert told == set()
    assert b"session_token" not in event
