"""`make demo`: the whole product in the embedded AWS, with real parts only, and nothing left behind.

A private git repository is served over HTTP, `setup.py init` bootstraps the builder, `deploy.sh` deploys the greeter
example, it is invoked, one line is changed, and it is deployed again.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from localaws.runtime.interpreters import find
from localaws.testing import Server, git_server, running

ROOT = Path(__file__).resolve().parent.parent
FUNCTION = "greeter"
# The builder runs on the newest Python of this machine that is a Lambda runtime.
SUPPORTED = ("3.14", "3.13", "3.12", "3.11")


def say(text: str) -> None:
    print(f"\n\033[1m── {text}\033[0m" if sys.stdout.isatty() else f"\n-- {text}", flush=True)


def run(*argv: str, cwd: Path, env: Mapping[str, str]) -> float:
    """Run a command as a user would, showing what it prints; the seconds it took."""
    print(f"$ {' '.join(argv)}", flush=True)
    started = time.monotonic()
    subprocess.run(argv, cwd=cwd, env=env, check=True)
    return time.monotonic() - started


def quiet(*argv: str, cwd: Path, env: Mapping[str, str]) -> None:
    subprocess.run(argv, cwd=cwd, env=env, check=True, capture_output=True)


def newest_runtime() -> str:
    found = find(os.environ)
    for version in SUPPORTED:
        if version in found:
            return f"python{version}"
    raise SystemExit("no CPython from 3.11 to 3.14 was found on this machine; on Debian: apt-get install python3-venv")


def make_repository(home: Path, served: Path, runtime: str, env: Mapping[str, str]) -> Path:
    """A clone of a new bare repository that holds the example and deploy.sh; the clone."""
    quiet("git", "init", "--bare", "-b", "main", str(served / f"{FUNCTION}.git"), cwd=home, env=env)
    clone = home / FUNCTION
    shutil.copytree(ROOT / "examples" / FUNCTION, clone)
    shutil.copy(ROOT / "deploy.sh", clone)
    build_file = clone / "build.yaml"
    build_file.write_text(build_file.read_text().replace("python3.13", runtime))
    quiet("git", "init", "-b", "main", cwd=clone, env=env)
    # The demo pushes to the directory; only the builder goes through the server, with the token.
    quiet("git", "remote", "add", "push", str(served / f"{FUNCTION}.git"), cwd=clone, env=env)
    push(clone, "The greeter", env)
    return clone


def push(clone: Path, message: str, env: Mapping[str, str]) -> None:
    who = ("-c", "user.name=demo", "-c", "user.email=demo@localhost")
    quiet("git", "add", "build.yaml", "lambda_function.py", "requirements.txt", "data", "deploy.sh", cwd=clone, env=env)
    quiet("git", *who, "commit", "-m", message, cwd=clone, env=env)
    quiet("git", "push", "-u", "push", "main", cwd=clone, env=env)


def make_role(aws: Server) -> str:
    """The role that the deployed function runs with; in a real account you have one."""
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    role = aws.client("iam").create_role(RoleName="greeter-role", AssumeRolePolicyDocument=json.dumps(trust))
    return str(role["Role"]["Arn"])


def invoke(aws: Server, payload: Mapping[str, str]) -> None:
    started = time.monotonic()
    answer = aws.client("lambda").invoke(FunctionName=FUNCTION, Payload=json.dumps(payload))
    body = answer["Payload"].read().decode()
    print(f"{FUNCTION}({json.dumps(payload)}) answers in {time.monotonic() - started:.2f} s:\n  {body}", flush=True)
    if "FunctionError" in answer:
        raise SystemExit("the function failed")


def demo(home: Path) -> None:
    token = secrets.token_hex(16)
    served = home / "served"
    served.mkdir()
    runtime = newest_runtime()
    say(f"starting the embedded AWS and a private git server (builder runtime: {runtime})")
    with running(forward_network=True) as aws, git_server(served, token) as forge:
        print(aws.ready_line, flush=True)
        env = {
            **os.environ,
            **aws.env,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "LAMBDASMITH_GITHUB_GIT_TOKEN": token,
        }
        config = home / "config.ini"
        config.write_text(
            f"[github]\ngit_username = demo\ngit_base = {forge.url}\n"
            f"[builder]\nruntime = {runtime}\nfunctions = {FUNCTION}\nrole = {make_role(aws)}\n"
        )
        clone = make_repository(home, served, runtime, env)

        say("bootstrap: setup.py init")
        bootstrap = run(
            sys.executable, str(ROOT / "setup.py"), "init", "--yes", "--config", str(config), cwd=home, env=env
        )
        say("first deploy: everything is built")
        deploy = ("./deploy.sh", "-y", "-t", "-g", FUNCTION, "-b", "main")
        first = run(*deploy, cwd=clone, env=env)
        invoke(aws, {"name": "Ada", "language": "fr"})

        say("one line is changed and pushed")
        source = clone / "lambda_function.py"
        source.write_text(re.sub(r'PUNCTUATION = "!"', 'PUNCTUATION = "!!!"', source.read_text()))
        push(clone, "More joy", env)
        second = run(*deploy, cwd=clone, env=env)
        invoke(aws, {"name": "Ada", "language": "fr"})

        say("done")
        print(f"bootstrap {bootstrap:.1f} s, first deploy {first:.1f} s, deploy of one changed line {second:.1f} s")
        print("(wall time of the whole command each; most of the last is the start of the AWS CLI)", flush=True)


def main() -> int:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lambdasmith-demo-") as directory:
        try:
            demo(Path(directory))
        except subprocess.CalledProcessError as error:
            words = " ".join(map(str, error.cmd))
            print(f"demo: `{words}` ended with exit status {error.returncode}", file=sys.stderr)
            if error.stderr:
                print(error.stderr.decode(errors="replace"), file=sys.stderr)
            return 1
    print(f"everything has stopped; {time.monotonic() - started:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
