"""Where a project comes from: the repository's URL, the commit that is meant, its files, and the credentials for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from builder.aws import aws_errors
from builder.errors import InvalidConfiguration, PathNotFound
from builder.sources import git

if TYPE_CHECKING:
    from builder.context import Context
    from builder.event import Request


def resolve(request: Request, context: Context) -> git.Resolved:
    """The commit that the request means now.

    Raises:
        SourceError, InvalidEvent: as `git.resolve`.
    """
    settings, source = context.settings, request.source
    if source is None:
        raise PathNotFound("the event names no repository")
    known = credentials(context)
    username = settings.git_username or (known.username if known else None)
    url = git.repository_url(source.repo, source.repo_name, base=settings.git_base, username=username)
    return git.resolve(url, source.ref, credentials=known)


def fetch(
    resolved: git.Resolved, path: str, context: Context, scratch: Path, *, known: Collection[str] = ()
) -> git.Snapshot:
    """Its files, below `scratch`; none where the tree of the repository or of its directory `path` is a `known` one.

    Raises:
        SourceError, OutOfSpace: as `git.fetch`.
    """
    context.progress.say(f"fetching {resolved.commit[:12]} ({resolved.ref})")
    snapshot = git.fetch(
        resolved,
        scratch / "source",
        credentials=credentials(context),
        max_bytes=shutil.disk_usage(scratch).free,
        path=path,
        known=known,
    )
    if snapshot.submodules:
        context.progress.warn(f"submodules are left empty: {', '.join(snapshot.submodules)}")
    return snapshot


def credentials(context: Context) -> git.GitCredentials | None:
    """The git token, for the forge that it belongs to. Read once for every build: a rotated one works at once.

    Raises:
        InvalidConfiguration: the secret cannot be read as one.
    """
    settings = context.settings
    if not settings.git_secret:
        return None
    text = context.secret_texts.get(settings.git_secret)
    if text is None:
        with aws_errors(f"reading secret {settings.git_secret}"):
            text = context.clients.secretsmanager.get_secret_value(SecretId=settings.git_secret)["SecretString"]
        context.secret_texts[settings.git_secret] = text
    try:
        secret = json.loads(text)
        token = str(secret["token"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidConfiguration(
            f"secret {settings.git_secret} is not JSON with a token", hint="run `python setup.py update`"
        ) from error
    if not token:
        return None
    context.secrets.add(token)
    return git.GitCredentials(
        username=str(secret.get("username") or "x-access-token"), token=token, base=settings.git_base
    )
