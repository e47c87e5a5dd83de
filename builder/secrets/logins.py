"""The operator's configuration of secrets: where each is, and whom it is for. No values.

`setup.py` writes it as one JSON text into the builder function's LAMBDASMITH_CREDENTIALS; Lambda allows 4 KB for all of
a function's variables.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from builder.errors import InvalidConfiguration
from builder.jsontext import read_json
from builder.network.urls import is_url, origin
from builder.store.values import Fields


@dataclass(frozen=True, kw_only=True)
class GitLogin:
    """A forge, or an owner there. `base` is a URL; either `token` is a reference, or the app's three values are set.

    A GitHub App's `private_key` is a reference to its PEM text. `modules` are prefixes of Go module paths, separated by
    blanks, that are there, besides those that begin like `base`.
    """

    base: str
    username: str = ""
    token: str = ""
    app_id: str = ""
    installation_id: str = ""
    private_key: str = ""
    modules: str = ""

    @property
    def section(self) -> str:
        """Section of config.ini that it comes from, as people write it."""
        return f"[git {self.base.removeprefix('https://')}]"


@dataclass(frozen=True, kw_only=True)
class IndexLogin:
    """A package index: of Python, a Go module proxy or an npm registry.

    `username` is plain or a reference, `password` a reference or `codeartifact:ACCOUNT/DOMAIN`; or `token` alone, a
    reference to what is sent as `Bearer`; or none of them, for an index without a login. `only` are patterns of names,
    separated by blanks, of distributions that come from this index and no other.
    """

    name: str
    url: str
    username: str = ""
    password: str = ""
    token: str = ""
    only: str = ""

    @property
    def has_login(self) -> bool:
        """Whether it wants a login."""
        return bool(self.password or self.token or not self.only)


@dataclass(frozen=True, kw_only=True)
class ProjectRule:
    """References that the build files of some projects may name.

    A `pattern` with a `/` matches repositories (`github.com/team-a/*`), one without functions (`shop-*`). `refs` are
    patterns of the refs whose commits may have the secrets, as `builder.trust.tips` reads them; without any, all
    branches and tags.
    """

    pattern: str
    allow: tuple[str, ...]
    refs: tuple[str, ...] = ()

    def covers(self, function: str, repository: str) -> bool:
        """Tell whether it applies to a project; `repository` is a URL, "" for a source without one."""
        if self.pattern == "*":
            return True
        if "/" not in self.pattern:
            return fnmatchcase(function, self.pattern)
        name = repository_name(repository)
        # A server might read these as another path than the one compared here, and hand out another team's project.
        if not repository or "%" in name or "//" in name or "\\" in name:
            return False
        return fnmatchcase(name, self.pattern)


def repository_name(url: str) -> str:
    """Return a repository as patterns name it: host and path, without `.git`."""
    parts = urlsplit(url)
    return f"{parts.netloc.lower()}/{parts.path.strip('/').removesuffix('.git')}"


@dataclass(frozen=True, kw_only=True)
class Logins:
    """The whole configuration of secrets."""

    git: tuple[GitLogin, ...] = ()
    indexes: tuple[IndexLogin, ...] = ()
    projects: tuple[ProjectRule, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Logins:
        """Parse the output of `text`.

        Raises:
            InvalidConfiguration: it is something else.
        """
        try:
            kept = Fields(read_json(text or "{}"))
            return cls(
                git=tuple(GitLogin(**one.all_texts()) for one in _rows(kept, "git")),
                indexes=tuple(IndexLogin(**one.all_texts()) for one in _rows(kept, "indexes")),
                projects=tuple(
                    ProjectRule(
                        pattern=one.text("pattern"),
                        allow=one.texts("allow"),
                        refs=one.texts("refs") if "refs" in one else (),
                    )
                    for one in _rows(kept, "projects")
                ),
            )
        except (ValueError, TypeError) as error:
            raise InvalidConfiguration(
                "LAMBDASMITH_CREDENTIALS cannot be read", hint="run `python setup.py update`"
            ) from error

    def text(self) -> str:
        """Return it as short JSON; empty if there is nothing in it."""
        value = {
            kind: [{name: given for name, given in one.items() if given} for one in map(asdict, rows)]
            for kind, rows in (("git", self.git), ("indexes", self.indexes), ("projects", self.projects))
            if rows
        }
        return json.dumps(value, separators=(",", ":")) if value else ""

    def rules(self, function: str, repository: str) -> tuple[ProjectRule, ...]:
        """Return the rules about a project; `repository` is a URL, "" for a source without one."""
        return tuple(rule for rule in self.projects if rule.covers(function, repository))

    def references(self) -> Iterable[str]:
        """Yield the references that the builder itself reads."""
        for forge in self.git:
            yield from filter(None, (forge.token, forge.private_key))
        for index in self.indexes:
            yield from (text for text in (index.username, index.password, index.token) if is_reference(text))


def _rows(kept: Fields, name: str) -> list[Fields]:
    return kept.rows(name) if name in kept else []


def text_problem(text: str, *, lines: bool = False) -> str | None:
    """Say why `text` cannot be sent as a token or password; None if it can. Only the wrong character is quoted.

    Most often it was copied from a chat or a document, which added a character that no one sees.

    Args:
        lines: whether it may have several lines.
    """
    for character in text:
        is_break = lines and character in "\n\r\t"
        if not is_break and (ord(character) > 0xFF or not character.isprintable()):
            import unicodedata

            name = unicodedata.name(character, "").lower()
            return f"has a character that cannot be sent, U+{ord(character):04X}" + (f" ({name})" if name else "")
    return None


def is_reference(text: str) -> bool:
    """Tell whether `text` names the place of a secret, rather than being one, or a name."""
    return text.startswith(("secretsmanager:", "ssm:"))


def index_for(url: str, indexes: Iterable[IndexLogin]) -> IndexLogin | None:
    """Return the configured index that `url`, of a page or a file, belongs to; None if its host is another.

    Of several on one host it is the one whose path agrees longest.
    """

    if not is_url(url):
        return None

    def agreement(index: IndexLogin) -> int:
        own, other = (urlsplit(each).path.strip("/").split("/") for each in (index.url, url))
        same = (left == right for left, right in zip(own, other, strict=False))
        return next((position for position, is_same in enumerate(same) if not is_same), min(len(own), len(other)))

    found = [index for index in indexes if origin(index.url) == origin(url)]
    return max(found, key=agreement) if found else None
