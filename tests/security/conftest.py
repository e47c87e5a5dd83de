"""A builder with a secret of its own in every place where a secret may be."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from localaws.testing import git_server
from tests.bootstrapped import Bootstrapped
from tests.e2e.conftest import TOKEN, Builder, Forge, make_builder
from tests.index import Index, serving
from tests.python.locking import BACKEND, PYPROJECT, source_files
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


@contextmanager
def _lab(isolation: str, bootstrapped: Bootstrapped, factory: pytest.TempPathFactory) -> Iterator[Lab]:
    canaries = Canaries()
    folders = [factory.mktemp(name) for name in ("served", "clones", "other", "others", "index", "operator")]
    served, clones, other, others, files, operator = folders
    make_wheel(files, "apple", "1.0", files={"apple.py": "NAME = 'apple'\n"})
    make_sdist(files, "spied", "1.0", files=spying_source("spied"))
    with (
        bootstrapped(enforce_iam=True, isolation=isolation) as aws,
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
            f"isolation = {isolation}\n",
            f"[git {second.url}]\ntoken = ssm:/corp/forge\n",
            f"[index corp]\nurl = {index.simple}\n",
            "username = secretsmanager:corp/index#user\npassword = secretsmanager:corp/index#password\n",
            "[project team-*]\nallow = secretsmanager:team/*, ssm:/team/*\n",
        )
        second_forge = Forge(url=second.url, root=other, work=others)
        second_forge.push("kernel", dict(source_files("kernel")))
        yield Lab(builder=builder, canaries=canaries, index=index, second=second_forge)


@contextmanager
def _tenancy(isolation: str, bootstrapped: Bootstrapped, factory: pytest.TempPathFactory) -> Iterator[Builder]:
    root, work, operator = (factory.mktemp(name) for name in ("served", "clones", "operator"))
    with bootstrapped(enforce_iam=True, isolation=isolation) as aws, git_server(root, TOKEN) as server:
        forge = Forge(url=server.url, root=root, work=work)
        yield make_builder(aws, forge, operator, f"isolation = {isolation}\n")


Kept = TypeVar("Kept")
Make = Callable[[str, Bootstrapped, pytest.TempPathFactory], AbstractContextManager[Kept]]


@contextmanager
def _kept(
    make: Make[Kept], bootstrapped: Bootstrapped, factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Kept]]:
    """One by isolation, made at the first use and ended with the file, as each takes memory: pytest would end one
    to begin the other.
    """
    if shutil.which("git") is None:
        pytest.skip("git is not here; install git")
    made: dict[str, Kept] = {}
    with ExitStack() as stack:

        def of(isolation: str) -> Kept:
            if isolation not in made:
                made[isolation] = stack.enter_context(make(isolation, bootstrapped, factory))
            return made[isolation]

        yield of


@pytest.fixture(scope="module")
def labs(bootstrapped: Bootstrapped, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Lab]]:
    with _kept(_lab, bootstrapped, tmp_path_factory) as kept:
        yield kept


@pytest.fixture(scope="module", params=["shared", "split"])
def lab(request: pytest.FixtureRequest, labs: Callable[[str], Lab]) -> Lab:
    """A builder with a secret in every place, in both ways to run foreign code."""
    return labs(request.param)


@pytest.fixture(scope="module")
def tenancies(
    bootstrapped: Bootstrapped, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Builder]]:
    with _kept(_tenancy, bootstrapped, tmp_path_factory) as kept:
        yield kept


@pytest.fixture(scope="module", params=["shared", "split"])
def tenancy(request: pytest.FixtureRequest, tenancies: Callable[[str], Builder]) -> Builder:
    """One builder for repositories that do not trust each other, in both ways to run their code."""
    return tenancies(request.param)


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
