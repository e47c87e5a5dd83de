"""Secrets that config.ini and build files refer to: set, listed and removed, only below the builder's own prefix.

Each has the tag by which `setup.py` recognises its own resources. The git token of `init` is not among them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bootstrap.names import Names
from builder.aws import Clients, aws_errors, error_code
from builder.errors import InvalidConfiguration, LambdasmithError, SecretMissing
from builder.secrets.logins import text_problem
from builder.trust.reach import OWNER_TAG

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+=.@-]*(?:/[A-Za-z0-9_][A-Za-z0-9_+=.@-]*)*")
_MAX_NAME, _MAX_BYTES = 200, 65_536
_DESCRIPTION = "For builds, set by Lambdasmith's setup.py"
# The shortest period that Secrets Manager allows (API, DeleteSecret); meanwhile `secret set` restores the secret.
_RECOVERY_DAYS = 7


@dataclass(frozen=True, kw_only=True)
class KnownSecret:
    """A secret of this builder. `changed` is the day of its last value, as 2026-11-21."""

    name: str
    reference: str
    changed: str


def full_name(names: Names, name: str) -> str:
    """Return the secret's name in Secrets Manager.

    Raises:
        InvalidConfiguration: `name` is not valid, or is the git token's.
    """
    name = name.removeprefix(f"{names.function}/")
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
        raise InvalidConfiguration(
            f"{name[:80]!r} is not a name for a secret: 1 to {_MAX_NAME} of A-Z a-z 0-9 / _ + = . @ -"
        )
    if f"{names.function}/{name}" == names.secret:
        raise InvalidConfiguration(
            f"{names.secret} holds the git token", hint="change git_token and run: python setup.py update"
        )
    return f"{names.function}/{name}"


def set_secret(clients: Clients, names: Names, name: str, value: str) -> bool:
    """Set the secret's value, and return whether the secret is new.

    Raises:
        InvalidConfiguration: the name or the value cannot be used, or someone else has made a secret of that name.
    """
    secret = full_name(names, name)
    if not value.strip():
        raise InvalidConfiguration(f"no value was given for secret {secret}")
    if problem := text_problem(value, lines=True):
        raise InvalidConfiguration(
            f"the value of secret {secret} {problem}",
            hint="copy it from where it was made, not from a chat or a document; if it is right as it is, set it with "
            "the AWS CLI",
        )
    if len(value.encode()) > _MAX_BYTES:
        raise InvalidConfiguration(f"the value of secret {secret} is larger than {_MAX_BYTES:,} bytes")
    manager, state = clients.secretsmanager, _state(clients, names, secret)
    with aws_errors(f"setting secret {secret}"):
        if state is None:
            tags = [{"Key": key, "Value": text} for key, text in names.tags.items()]
            manager.create_secret(Name=secret, Description=_DESCRIPTION, SecretString=value, Tags=tags)  # type: ignore[arg-type]
            return True
        if state == "deleted":
            manager.restore_secret(SecretId=secret)
        manager.put_secret_value(SecretId=secret, SecretString=value)
    return state == "deleted"


def remove_secret(clients: Clients, names: Names, name: str) -> str:
    """Delete the secret; for a week `set_secret` can restore it. Returns the full name.

    Raises:
        SecretMissing: there is none.
    """
    secret = full_name(names, name)
    if _state(clients, names, secret) != "there":
        raise SecretMissing(f"there is no secret {secret}", hint="python setup.py secret list")
    with aws_errors(f"removing secret {secret}"):
        clients.secretsmanager.delete_secret(SecretId=secret, RecoveryWindowInDays=_RECOVERY_DAYS)
    return secret


def list_secrets(clients: Clients, names: Names) -> tuple[KnownSecret, ...]:
    """Return this builder's secrets, by name, without values."""
    found = []
    with aws_errors("listing secrets"):
        pages = clients.secretsmanager.get_paginator("list_secrets").paginate(
            Filters=[{"Key": "name", "Values": [f"{names.function}/"]}]
        )
        for page in pages:
            for secret in page["SecretList"]:
                name, tags = (
                    secret.get("Name", ""),
                    {tag.get("Key"): tag.get("Value") for tag in secret.get("Tags", [])},
                )
                # The filter matches any name that begins so, and others may use our prefix: the tag decides.
                if name != names.secret and tags.get(OWNER_TAG) == names.function_arn and "DeletedDate" not in secret:
                    changed = secret.get("LastChangedDate") or secret.get("CreatedDate")
                    day = changed.strftime("%Y-%m-%d") if changed else ""
                    found.append(KnownSecret(name=name, reference=f"secretsmanager:{name}", changed=day))
    return tuple(sorted(found, key=lambda secret: secret.name))


def _state(clients: Clients, names: Names, secret: str) -> str | None:
    """Return `there`, `deleted`, or None.

    Raises:
        InvalidConfiguration: it is not ours.
    """
    try:
        with aws_errors(f"looking for secret {secret}"):
            found = clients.secretsmanager.describe_secret(SecretId=secret)
    except LambdasmithError as error:
        if error_code(error) == "ResourceNotFoundException":
            return None
        raise
    # Before anything is written: a secret of this name may belong to an application.
    if not any(tag == {"Key": OWNER_TAG, "Value": names.function_arn} for tag in found.get("Tags", [])):
        raise InvalidConfiguration(
            f"secret {secret} exists, but setup.py did not make it",
            hint="choose another name, or change it with the AWS CLI",
        )
    return "deleted" if "DeletedDate" in found else "there"
