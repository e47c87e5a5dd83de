"""Secrets for git servers, package indexes and the project's commands, read from AWS when they are used.

The masker gets every value before any other code does. Values stay in memory until the invocation ends and are read
once in it, so a renewed secret works for the next build.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from builder.aws import aws_errors, error_code
from builder.errors import (
    AccessDenied,
    AwsRefused,
    InvalidConfiguration,
    LambdasmithError,
    SecretMissing,
)
from builder.jsontext import read_json
from builder.network.access import GitCredentials
from builder.secrets.indexes import Indexes
from builder.secrets.logins import GitLogin, IndexLogin, is_reference, text_problem
from builder.secrets.masking import SHORTEST
from builder.secrets.references import Reference
from builder.store.values import Fields

if TYPE_CHECKING:
    from builder.context import Context
    from builder.secrets.grants import Granted

_DEFAULT_USER = "x-access-token"  # forges accept any name with a token; GitHub requires this one with an app's
_CODEARTIFACT = "codeartifact:"


def read(reference: Reference, context: Context) -> str:
    """Return the value of the secret, which is never empty.

    Raises:
        SecretMissing: there is no such secret, or no such key in it.
        AccessDenied: the builder's role may not read it.
    """
    whole = _whole(reference, context)
    if not reference.key:
        context.secrets.add(whole, key=reference.name)
        return whole
    try:
        value = Fields(read_json(whole)).value.get(reference.key)
    except ValueError:
        value = None
    if not isinstance(value, str | int | float) or isinstance(value, bool) or value == "":
        raise SecretMissing(
            f"{reference}: the secret is not a JSON object with a text under {reference.key!r}",
            hint="put one there, or leave #KEY out for the whole value",
        )
    context.secrets.add(str(value), key=f"{reference.name}#{reference.key}")
    return str(value)


def read_login(reference: Reference, context: Context) -> str:
    """Return the value of a secret that is a token, a user or a password, without surrounding white space.

    Raises:
        InvalidConfiguration: it has characters that cannot be sent in a login.
        SecretMissing, AccessDenied: as `read`.
    """
    return _sendable(read(reference, context), str(reference), _how_to_renew(reference), context)


def _sendable(value: str, place: str, renewal: str, context: Context) -> str:
    value = value.strip()
    # Registered again: without its white space it is another text.
    context.secrets.add(value, key="token")
    if not value:
        raise SecretMissing(f"{place} is empty", hint=renewal)
    if problem := text_problem(value):
        raise InvalidConfiguration(f"{place} {problem}", hint=f"{renewal}; copy the value from where it was made")
    return value


def _how_to_renew(reference: Reference) -> str:
    if reference.service == "ssm":
        return f"renew it: aws ssm put-parameter --overwrite --name {reference.name} --value file://FILE"
    return "renew it: python setup.py secret set NAME, or with the AWS CLI if setup.py did not make it"


def _whole(reference: Reference, context: Context) -> str:
    place = str(reference).partition("#")[0]
    if place in context.secret_texts:
        return context.secret_texts[place]
    try:
        with aws_errors(f"reading {place}"):
            value = _value(reference, context)
    except AccessDenied as error:
        raise AccessDenied(
            error.message,
            hint="the builder's role may read what config.ini names: run `python setup.py update`; a secret that is "
            "encrypted with a key of your own also needs kms:Decrypt for the role",
        ) from error
    except LambdasmithError as error:
        if error_code(error) not in ("ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound"):
            raise
        raise SecretMissing(f"{place} does not exist", hint=_how_to_make(reference)) from error
    if not value:
        raise SecretMissing(f"{place} is empty", hint=_how_to_make(reference))
    context.secret_texts[place] = value
    return value


def _value(reference: Reference, context: Context) -> str:
    if reference.service == "ssm":
        name = f"{reference.name}:{reference.stage}" if reference.stage else reference.name
        return context.clients.ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"].get("Value", "")
    stage = {"VersionStage": reference.stage} if reference.stage else {}
    answer = context.clients.secretsmanager.get_secret_value(SecretId=reference.name, **stage)
    if "SecretString" in answer:
        return answer["SecretString"]
    try:
        return answer["SecretBinary"].decode()
    except UnicodeDecodeError as error:
        raise AwsRefused(f"{reference} is binary; a secret has to be text") from error


def _how_to_make(reference: Reference) -> str:
    if reference.service == "ssm":
        return f"aws ssm put-parameter --type SecureString --name {reference.name} --value file://FILE"
    return "python setup.py secret set NAME, or the AWS CLI, makes one; check the spelling"


def git_credentials(context: Context) -> tuple[GitCredentials, ...]:
    """Return the logins of all configured forges, the builder's own token first.

    A login that is not available says so when a URL needs it: most projects use one forge, and the others don't concern
    them.
    """
    if context.granted is not None:
        return context.granted.git
    own = _own_git(context)
    others = tuple(_configured_git(login, context) for login in context.settings.logins.git)
    return (own, *others) if own else others


def _configured_git(login: GitLogin, context: Context) -> GitCredentials:
    if login.token:
        reference = Reference.parse(login.token)
        place, renewal = str(reference), _how_to_renew(reference)
    else:
        place, renewal = f"GitHub App {login.app_id}", "let its installation read the repository"

    def token() -> str:
        return read_login(reference, context) if login.token else _app_token(login, context)

    return _had(
        token,
        GitCredentials(
            username=login.username or _DEFAULT_USER,
            token="",
            base=login.base,
            modules=tuple(login.modules.split()),
            called=f"the login of {login.section} in config.ini, {place}",
            renewal=renewal,
        ),
        login.section,
        context,
    )


def _had(token: Callable[[], str], login: GitCredentials, section: str, context: Context) -> GitCredentials:
    """Return the login with its token, or with the reason why there is none; asked for once in an invocation."""
    if section not in context.refused_logins:
        try:
            return replace(login, token=token())
        except LambdasmithError as error:
            error.message = f"{section} in config.ini: {error.message}"
            context.refused_logins[section] = error
    return replace(login, refused=context.refused_logins[section])


def _own_git(context: Context) -> GitCredentials | None:
    settings = context.settings
    if not settings.git_secret:
        return None
    # The token is valid for the whole forge, though git_base may name one owner's part of it.
    base = urljoin(settings.git_base, "/")
    owner = urlsplit(settings.git_base).path.strip("/") or settings.git_username
    modules = (f"{urlsplit(base).hostname}/{owner}",) if owner else ()
    login = GitCredentials(username=_DEFAULT_USER, token="", base=base, modules=modules)
    try:
        user, token = _own_login(context)
    except LambdasmithError as error:
        return replace(login, refused=error)
    return replace(login, username=user, token=token) if token else None


def _own_login(context: Context) -> tuple[str, str]:
    """Return user and token of the builder's own secret; the token may be empty.

    Raises:
        InvalidConfiguration: it cannot be read as one.
        SecretMissing, AccessDenied: it cannot be had.
    """
    settings = context.settings
    text = _whole(Reference(service="secretsmanager", name=settings.git_secret), context)
    try:
        secret = Fields(read_json(text)).value
        token = str(secret["token"])
    except (ValueError, KeyError) as error:
        raise InvalidConfiguration(
            f"secret {settings.git_secret} is not JSON with a token", hint="run `python setup.py update`"
        ) from error
    if not token.strip():
        return "", ""
    renewal = "renew git_token, run setup.py update"
    token = _sendable(token, f"the token in secret {settings.git_secret}", renewal, context)
    user = str(secret.get("username") or _DEFAULT_USER).strip()
    if problem := text_problem(user):
        raise InvalidConfiguration(f"the username in secret {settings.git_secret} {problem}", hint=renewal)
    return user, token


def indexes(context: Context) -> Indexes:
    """Return the package indexes of the configuration and the environment; logins are read when they are used."""

    def login(index: IndexLogin) -> tuple[str, str]:
        if index in context.ambient_indexes:
            return context.ambient_indexes[index]
        if context.granted is not None:
            return _granted_login(index, context.granted)
        if index.token:
            return "", read_login(Reference.parse(index.token), context)
        user = read_login(Reference.parse(index.username), context) if is_reference(index.username) else index.username
        if index.password.startswith(_CODEARTIFACT):
            return user or "aws", _codeartifact_token(index.password, context)
        return user, read_login(Reference.parse(index.password), context)

    return Indexes(logins=(*context.settings.logins.indexes, *context.ambient_indexes), read=login)


def _granted_login(index: IndexLogin, granted: Granted) -> tuple[str, str]:
    if index.name not in granted.indexes:
        why = granted.refused.get(index.name, "this commit is not one that a branch or tag of its repository has")
        raise SecretMissing(f"[index {index.name}]: its login is not given to this build: {why}")
    return granted.indexes[index.name]


def is_secret(reference: Reference, name: str) -> bool:
    """Tell whether the reference means the secret `name`, by name or by ARN."""
    own, asked = (each.rpartition(":secret:")[2] for each in (name, reference.name))
    return bool(own) and re.fullmatch(rf"{re.escape(own)}(-[A-Za-z0-9]{{6}})?", asked) is not None


def _codeartifact_token(place: str, context: Context) -> str:
    if place not in context.secret_texts:
        account, _, domain = place.removeprefix(_CODEARTIFACT).partition("/")
        with aws_errors(f"reading a token of CodeArtifact's domain {domain}"):
            token = context.clients.codeartifact_token(account, domain)
        context.secrets.add(token, key="token")
        context.secret_texts[place] = token
    return context.secret_texts[place]


def _app_token(login: GitLogin, context: Context) -> str:
    from builder.secrets.github_app import installation_token

    place = f"app:{login.app_id}/{login.installation_id}"
    if place not in context.secret_texts:
        key = read(Reference.parse(login.private_key), context)
        token = installation_token(login, key)
        context.secrets.add(token, key="token")
        context.secret_texts[place] = token
    return context.secret_texts[place]


@dataclass(frozen=True)
class CommandSecrets:
    """`builder.workshop.commands.Secrets` from AWS, restricted to those that `allowance.check` has allowed."""

    context: Context

    def values(self, references: Sequence[str]) -> dict[str, str]:
        """Return the value of each reference."""
        if self.context.granted is not None:
            return {text: self.context.granted.commands[text] for text in references}
        if unchecked := [text for text in references if text not in self.context.allowed_secrets]:
            raise AssertionError(f"no one has checked whether this project may have {', '.join(unchecked)}")
        values = {text: read(Reference.parse(text), self.context) for text in references}
        for text, value in values.items():
            if not self.context.secrets.masks(value):
                self.context.progress.warn(
                    f"{text}: the value is too short to be masked, so it is readable wherever a command prints it: "
                    f"use one of {SHORTEST} characters or more"
                )
        return values

    def contained(self, content: bytes) -> bool:
        """Tell whether a secret that was read is in `content`."""
        return self.context.secrets.contained(content)
