"""A builder with a secret of its own in every place where a secret may be."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from localaws.testing import git_server
from tests.bootstrapped import Bootstrapped
from tests.builder.locking import BACKEND, PYPROJECT, source_files
from tests.e2e.conftest import TOKEN, Builder, Forge, make_builder
from tests.index import Index, serving
from tests.wheelhouse import make_sdist, make_wheel

ATTACKER = Path(__file__).with_name("attacker.py").read_text()
CAMP = "/tmp/lambdasmith-attacker"
SPY = Path(__file__).with_name("spy.py").read_text()


def canary(name: str) -> str:
    """A secret that can be recognised."""
    return f"cnry-{name}-{secrets.token_hex(8)}"


@dataclass(frozen=True)
class Canaries:
    """The secrets, by the place they are in."""

    forge: str = field(default_factory=lambda: canary("forge"))
    index: str = field(default_factory=lambda: canary("index"))
    variable: str = field(default_factory=lambda: canary("variable"))
    netrc: str = field(default_factory=lambda: canary("netrc"))
    other: str = field(default_factory=lambda: canary("other"))

    def all(self) -> dict[str, str]:
        return {**vars(self), "git": TOKEN}


@dataclass
class Lab:
    """All that the tests of secrets need."""

    builder: Builder
    canaries: Canaries
    index: Index
    second: Forge

    def client(self, service: str) -> Any:
        return self.builder.client(service)


def spying_source(name: str) -> Mapping[str, str]:
    """An sdist whose build spies, and packs what it saw into the wheel."""
    spying = """
_honest = build_wheel

def build_wheel(directory, config_settings=None, metadata_directory=None):
    import subprocess, sys
    subprocess.run([sys.executable, "spy_of_the_build.py", "seen_by_the_build.py"], check=True)
    return _honest(directory, config_settings, metadata_directory)
"""
    return {
        "pyproject.toml": PYPROJECT,
        "backend.py": BACKEND.format(name=name, version="1.0", requires=()) + spying,
        f"{name}.py": "",
        "spy_of_the_build.py": SPY,
    }


@pytest.fixture(scope="session", params=["shared", "split"])
def lab(
    request: pytest.FixtureRequest, bootstrapped: Bootstrapped, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """A builder with a secret in every place, in both ways to run foreign code."""
    if shutil.which("git") is None:
        pytest.skip("git is not here; install git")
    canaries = Canaries()
    folders = [tmp_path_factory.mktemp(name) for name in ("served", "clones", "other", "others", "index", "operator")]
    served, clones, other, others, files, operator = folders
    make_wheel(files, "apple", "1.0", files={"apple.py": "NAME = 'apple'\n"})
    make_sdist(files, "spied", "1.0", files=spying_source("spied"))
    with (
        bootstrapped(enforce_iam=True) as aws,
        git_server(served, TOKEN) as first,
        git_server(other, canaries.forge) as second,
        serving(files) as index,
    ):
        index.login = ("reader", canaries.index)
        manager, parameters = aws.client("secretsmanager"), aws.client("ssm")
        value = {"user": "reader", "password": canaries.index}
        manager.create_secret(Name="corp/index", SecretString=json.dumps(value))
        manager.create_secret(Name="team/npm", SecretString=json.dumps({"token": canaries.variable}))
        manager.create_secret(Name="others/npm", SecretString=canaries.other)
        netrc = f"machine registry.example.com login deploy password {canaries.netrc}\n"
        parameters.put_parameter(Name="/team/netrc", Value=netrc, Type="SecureString")
        parameters.put_parameter(Name="/corp/forge", Value=canaries.forge, Type="SecureString")
        builder = make_builder(
            aws,
            Forge(url=first.url, root=served, work=clones),
            operator,
            f"isolation = {request.param}\n",
            f"[git {second.url}]\ntoken = ssm:/corp/forge\n",
            f"[index corp]\nurl = {index.simple}\n",
            "username = secretsmanager:corp/index#user\npassword = secretsmanager:corp/index#password\n",
            "[project team-*]\nallow = secretsmanager:team/*, ssm:/team/*\n",
        )
        second_forge = Forge(url=second.url, root=other, work=others)
        second_forge.push("kernel", dict(source_files("kernel")))
        yield Lab(builder=builder, canaries=canaries, index=index, second=second_forge)


@pytest.fixture(scope="session", params=["shared", "split"])
def tenancy(
    request: pytest.FixtureRequest, bootstrapped: Bootstrapped, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Builder]:
    """One builder for repositories that do not trust each other, in both ways to run their code."""
    if shutil.which("git") is None:
        pytest.skip("git is not here; install git")
    root, work, operator = (tmp_path_factory.mktemp(name) for name in ("served", "clones", "operator"))
    with bootstrapped(enforce_iam=True) as aws, git_server(root, TOKEN) as server:
        forge = Forge(url=server.url, root=root, work=work)
        yield make_builder(aws, forge, operator, f"isolation = {request.param}\n")


@pytest.fixture(scope="session")
def hostile_index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """An index with `apple`, a wheel, and `hostile`, a source distribution whose build does not end with itself."""
    files = tmp_path_factory.mktemp("index")
    attacking = f"""
_honest = build_wheel

def build_wheel(directory, config_settings=None, metadata_directory=None):
    import subprocess, sys
    subprocess.run([sys.executable, "attacker.py", {CAMP!r}, "lambdasmith-attacker"], check=True)
    return _honest(directory, config_settings, metadata_directory)
"""
    source = {
        "pyproject.toml": PYPROJECT,
        "backend.py": BACKEND.format(name="hostile", version="1.0", requires=()) + attacking,
        "hostile.py": "",
        "attacker.py": ATTACKER,
    }
    make_sdist(files, "hostile", "1.0", files=source)
    make_wheel(files, "apple", "1.0", files={"apple.py": "NAME = 'apple'\n"})
    with serving(files) as served:
        yield served
