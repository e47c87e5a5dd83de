"""Addresses that Python cannot take apart: whoever wrote them is told, and nobody gets a ValueError."""

from __future__ import annotations

import pytest

from builder.errors import InvalidConfiguration, InvalidEvent, SourceError
from builder.network.untrusted import explained
from builder.network.urls import repository_urls
from builder.secrets.logins import IndexLogin, index_for
from builder.secrets.surroundings import Surroundings
from builder.sources.submodules import submodules_of

NONE = ("https://[x/a/b", "http://[x/a/b", "https://h:99999/a/b", "https://[x]/a/b")


@pytest.mark.parametrize("url", [*NONE, "ssh://git@[x/a/b"])
def test_as_a_repository(url: str) -> None:
    with pytest.raises(InvalidEvent, match=r"repo: .* (?:is not a URL|cannot be fetched)"):
        repository_urls(url, None, base="https://github.com", username=None)


@pytest.mark.parametrize("url", [*NONE, "ssh://git@[x/a/b"])
def test_as_a_submodule(url: str) -> None:
    modules = f'[submodule "m"]\npath = m\nurl = "{url}"\n'.encode()
    with pytest.raises(SourceError, match=r"submodule m: the url in .gitmodules: .* is not a URL"):
        submodules_of({"m": "0" * 40}, modules, parent="https://github.com/o/n")


@pytest.mark.parametrize("url", NONE)
@pytest.mark.parametrize("login", ["", "me:hunter2@"])
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "PIP_INDEX_URL", "GOPROXY"])
def test_in_a_variable(name: str, login: str, url: str) -> None:
    with pytest.raises(InvalidConfiguration, match=f"{name}: .* is not a URL") as caught:
        Surroundings.of({name: url.replace("://", f"://{login}")})
    assert "hunter2" not in str(caught.value)


def test_variables_that_are_no_urls_stay_as_they_are() -> None:
    said = {"GOPROXY": "https://a.example/x|https://b.example,off", "HTTP_PROXY": "proxy:3128", "ALL_PROXY": "[::1]:1"}
    assert Surroundings.of(said).environment == said


@pytest.mark.parametrize("url", NONE)
def test_in_what_a_tool_says(url: str) -> None:
    said = explained(f"{url}: certificate verify failed: certificate has expired")
    assert said is not None
    assert said.message.startswith("a server: the certificate has expired")


@pytest.mark.parametrize("url", NONE)
def test_as_a_file_of_no_index(url: str) -> None:
    assert index_for(url, [IndexLogin(name="corp", url="https://h/simple")]) is None
