"""The real terraform with its real AWS provider, pointed at an embedded AWS of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from localaws.testing import Server, running
from tests.e2e.conftest import newest_runtime

ROOT = Path(__file__).resolve().parents[2]
# Outside of integrations/, and read by its modules.
LIST = Path("builder/sources/default_excludes.json")
_MISSING = "terraform and its AWS provider: no package registry has them"
# What is different from real AWS: nothing but that there is no account behind it.
_OVERRIDE = """
provider "aws" {
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  skip_region_validation      = true
}
"""
_MIRROR = """
provider_installation {
  filesystem_mirror {
    path    = "%s"
    include = ["registry.terraform.io/hashicorp/*"]
  }
}
"""


@dataclass
class Terraform:
    """A directory with a configuration, and terraform in it."""

    folder: Path
    environment: Mapping[str, str]
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        variables = {f"TF_VAR_{name}": value for name, value in self.variables.items()}
        return subprocess.run(
            ["terraform", *arguments],
            cwd=self.folder,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **more,
        )

    def succeed(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def apply(self) -> str:
        return self.succeed("apply", "-auto-approve", "-input=false", "-no-color")

    def failure(self) -> str:
        """What an apply that must fail says."""
        done = self.run("apply", "-auto-approve", "-input=false", "-no-color")
        assert done.returncode == 1, done.stdout
        return done.stderr

    def is_unchanged(self) -> bool:
        """Whether a plan finds nothing to do."""
        done = self.run("plan", "-detailed-exitcode", "-input=false", "-no-color")
        assert done.returncode in (0, 2), done.stderr
        return done.returncode == 0

    def planned(self) -> dict[str, str]:
        """What a plan would change: address → action."""
        lines = self.succeed("plan", "-refresh=false", "-json", "-input=false").splitlines()
        changes = (line["change"] for line in map(json.loads, lines) if line["type"] == "planned_change")
        return {change["resource"]["addr"]: change["action"] for change in changes}

    def plan(self) -> dict[str, Any]:
        self.succeed("plan", "-refresh=false", "-out=plan.bin", "-input=false", "-no-color")
        return dict(json.loads(self.succeed("show", "-json", "plan.bin")))

    def destroy(self) -> None:
        self.succeed("destroy", "-auto-approve", "-input=false", "-no-color")


def _cli_configuration(folder: Path) -> Path | None:
    """A configuration of terraform that finds the provider on this machine; None: terraform's own places have to do."""
    own = os.environ.get("TF_CLI_CONFIG_FILE")
    if own and Path(own).is_file():
        return Path(own)
    for mirror in Path("/opt").glob("*/registry.terraform.io/hashicorp/aws"):
        file = folder / "terraform.rc"
        file.write_text(_MIRROR % mirror.parents[2])
        return file
    return None


@pytest.fixture(scope="session")
def terraform_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which terraform finds its provider, and nothing else of this machine's AWS."""
    if shutil.which("terraform") is None:
        pytest.skip(_MISSING)
    folder = tmp_path_factory.mktemp("terraform")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}
    environment = {**kept, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
    if (configuration := _cli_configuration(folder)) is not None:
        environment["TF_CLI_CONFIG_FILE"] = str(configuration)
    shutil.copy(ROOT / "integrations" / "terraform" / "builder" / "versions.tf", folder)
    if Terraform(folder, environment).run("init", "-input=false").returncode:
        pytest.skip(_MISSING)
    return environment


@contextmanager
def _running(program: Path, folder: Path, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The provider in `folder`, kept running: starting it for each command anew would be most of these tests' time.

    https://developer.hashicorp.com/terraform/plugin/debugging
    """
    process = subprocess.Popen(
        [program, "-debug"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        found = next(filter(None, (re.search(r"TF_REATTACH_PROVIDERS='(.*)'", line) for line in process.stdout)), None)
        assert found, "the provider does not say where it is"
        yield {"TF_REATTACH_PROVIDERS": found[1]}
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="session")
def terraform_account(terraform_environment: dict[str, str]) -> Iterator[Server]:
    """An embedded AWS in which no test of another directory sets up a builder, and which holds it to its policy."""
    with running(forward_network=True, enforce_iam=True) as server:
        if "isolation plain" in server.ready_line:
            pytest.skip("functions read /opt, which needs the sandbox; install bubblewrap, and allow user namespaces")
        yield server


@dataclass
class Bench:
    """Copies of the modules and examples, so that they can be changed and leave nothing behind."""

    folder: Path
    package: Path
    runtime: str
    environment: Mapping[str, str]
    provider: Path
    providers: ExitStack

    def _initialised(self, folder: Path) -> Terraform:
        reattach = self.providers.enter_context(_running(self.provider, folder, self.environment))
        made = Terraform(folder, {**self.environment, **reattach})
        made.succeed("init", "-input=false")
        return made

    def example(self, name: str) -> Terraform:
        folder = self.folder / "examples" / "terraform" / name
        (folder / "zz_override.tf").write_text(_OVERRIDE)
        for file in (*folder.rglob("build.yaml"), *folder.rglob("*.tftest.hcl")):
            file.write_text(file.read_text().replace("python3.13", self.runtime))
        return self._initialised(folder)

    def configuration(self, name: str, text: str) -> Terraform:
        """A configuration of a test's own; modules are at ../../terraform."""
        folder = self.folder / "tests" / name
        folder.mkdir(parents=True)
        (folder / "main.tf").write_text(_OVERRIDE + text)
        return self._initialised(folder)


@pytest.fixture(scope="session")
def bench(
    terraform_environment: dict[str, str], terraform_account: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    folder, runtime = tmp_path_factory.mktemp("project"), newest_runtime()
    for name in ("integrations/terraform", "examples/terraform", "examples/go"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    (folder / LIST).parent.mkdir(parents=True)
    shutil.copy(ROOT / LIST, folder / LIST)
    package = folder / "package"
    command = [sys.executable, str(ROOT / "setup.py"), "package", str(package), "--runtime", runtime]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    environment = {**terraform_environment, **terraform_account.env}
    initialised = tmp_path_factory.mktemp("provider")
    shutil.copy(ROOT / "integrations" / "terraform" / "builder" / "versions.tf", initialised)
    Terraform(initialised, environment).succeed("init", "-input=false")
    provider = next(initialised.glob(".terraform/providers/*/hashicorp/aws/*/*/terraform-provider-aws_*"))
    with ExitStack() as providers:
        yield Bench(
            folder=folder,
            package=package,
            runtime=runtime,
            environment=environment,
            provider=provider,
            providers=providers,
        )
