"""The source of a project: the repository's URL, the commit, and its files."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from builder.amounts import megabytes
from builder.aws import CODECOMMIT_URL, aws_errors, codecommit_credentials, error_code
from builder.errors import (
    AccessDenied,
    AuthenticationFailed,
    AwsRefused,
    PathNotFound,
    RepositoryNotFound,
    SourceError,
    UnsafeSource,
)
from builder.event.request import ArchiveSource, GitSource, ManifestSource, ObjectSource
from builder.flow.credentials import git_credentials
from builder.sources import git

if TYPE_CHECKING:
    from builder.context import Context
    from builder.event.request import Request
    from builder.flow.order import Order, Source
    from builder.sources.manifest import Content, Manifest
    from builder.sources.partly import Choose

# The keys of archives that deploy.sh sends: git's tree id of the content.
_SENT = re.compile(r"uploads/([0-9a-f]{40})\.tar\.gz")
_SMALL_BYTES = 1 << 20


def resolve(request: Request, context: Context) -> git.Resolved | None:
    """Return the commit that the request's ref means now; None for an archive, which has no ref.

    Raises:
        SourceError, InvalidEvent: as `git.resolve`.
    """
    settings, source = context.settings, request.source
    if not isinstance(source, GitSource):
        return None
    known = git_credentials(context)
    username = settings.git_username or (known[0].username if known else None)
    urls = git.repository_urls(source.repo, source.repo_name, base=settings.git_base, username=username)
    missing: list[SourceError] = []
    for url in urls:
        try:
            there = (*known, *of_codecommit(url, context))
            found = git.resolve(url, source.ref, credentials=there, network=network(context))
            if len(urls) > 1 and found.ref == found.commit:
                tips(found, context)  # a full id is resolved without a request; this asks whether the repository exists
        except (RepositoryNotFound, AuthenticationFailed) as error:
            missing.append(error)
        else:
            return found
    if len(missing) > 1:
        missing[0].hint += f" (also asked: {', '.join(urls[1:])})"
    raise missing[0]


def tips(resolved: git.Resolved, context: Context) -> tuple[str, ...]:
    """Return the full names of the branches and tags whose tip is the commit; the server is asked once an invocation.

    Raises:
        SourceError: as `git.tips`.
    """
    if resolved not in context.tips:
        known = (*git_credentials(context), *of_codecommit(resolved.url, context))
        context.tips[resolved] = git.tips(resolved, credentials=known, network=network(context))
    return context.tips[resolved]


def source_of(request: Request, resolved: git.Resolved | None, context: Context) -> Source:
    """Return the source of the request's files, once its commit is known.

    Raises:
        AccessDenied: the source is in the builder's own store.
    """
    if resolved is not None:
        return resolved
    source = request.source
    if source is None or isinstance(source, GitSource):
        raise PathNotFound("the event names no repository")
    if isinstance(source, ObjectSource | ManifestSource):
        _refuse_own(source, context)
    return source


def _refuse_own(source: ObjectSource | ManifestSource, context: Context) -> None:
    """Raise if a source is in the builder's own store: a build of it would show its content to the caller."""
    key, store = source.key if isinstance(source, ObjectSource) else source.manifest, context.store
    sent = tuple(store.key(f"{folder}/") for folder in ("uploads", "sources"))
    if source.bucket == store.bucket and key.startswith(store.key("")) and not key.startswith(sent):
        raise AccessDenied(
            f"s3://{source.bucket}/{key} is part of the builder's own store and cannot be a source",
            hint=f"put projects below {' or '.join(sent)} in that bucket, or in another one",
        )


def fetch(order: Order, context: Context, scratch: Path, choose: Choose | None = None) -> git.Snapshot:
    """Write the files below `scratch`; none if the tree of the repository or of the project's directory is known.

    Args:
        choose: says which files of a large repository are written; archives are unpacked whole.

    Raises:
        SourceError, OutOfSpace: as `git.fetch`, `archive.extract` and `manifest.parse`.
    """
    resolved = order.source
    if not isinstance(resolved, git.Resolved):
        return _unpacked(resolved, order, context, scratch)
    context.progress.say(f"fetching {resolved.commit[:12]} ({resolved.ref})")
    # Noted where leaving files out saved something, so that the next new environment fetches only what it needs.
    large = f"repositories/{hashlib.sha256(resolved.url.encode()).hexdigest()}.json"
    known: list[bool] = []

    def is_large() -> bool:
        known.append(context.store.find(large, lambda kept: kept.text("url")) == resolved.url)
        return known[0]

    snapshot = git.fetch(
        resolved,
        scratch / "source",
        credentials=(*git_credentials(context), *of_codecommit(resolved.url, context)),
        # A repository may be larger than the disk: stop before it is full, with an error that says so.
        max_bytes=shutil.disk_usage(scratch).free,
        path=order.path,
        known=order.known,
        network=network(context),
        cache=context.workspace.cached("git"),
        choose=choose,
        is_large=is_large,
    )
    if known[:1] == [False] and not snapshot.whole:
        context.store.write_json(large, {"url": resolved.url})
    for warning in snapshot.warnings:
        context.progress.warn(warning)
    return snapshot


def _unpacked(
    source: ArchiveSource | ObjectSource | ManifestSource, order: Order, context: Context, scratch: Path
) -> git.Snapshot:
    from builder.archives.archived import Limits
    from builder.sources.archive import is_of_git, snapshot_of

    file, path = scratch / "archive", order.path
    limits = Limits(max_bytes=min(Limits.max_bytes, shutil.disk_usage(scratch).free))
    if isinstance(source, ManifestSource):
        from builder.sources.manifest import snapshot_of_manifest

        manifest = _manifest(source, context)
        into = scratch / "source"
        snapshot = snapshot_of_manifest(
            manifest, _files_beside(source, context), into, path=path, limits=limits, label=source.place
        )
        _leave_out(snapshot, order, context)
        return snapshot
    if isinstance(source, ArchiveSource):
        label = "archive"
        file.write_bytes(source.content)
    else:
        label = f"s3://{source.bucket}/{source.key}"
        context.progress.say(f"fetching {label}")
        version = {"VersionId": source.version_id} if source.version_id else None
        try:
            with aws_errors(f"reading {label}"):
                context.clients.s3.download_file(source.bucket, source.key, str(file), ExtraArgs=version)
        except AwsRefused as error:
            if error_code(error) != "404":
                raise
            raise PathNotFound(f"{label} does not exist", hint="check bucket, key and version_id of source") from error
    try:
        snapshot = snapshot_of(file, scratch / "source", path=path, limits=limits, label=label)
        if not is_of_git(file):
            _leave_out(snapshot, order, context)
    finally:
        # The build needs the room.
        file.unlink(missing_ok=True)
    if isinstance(source, ObjectSource):
        _compare_with_name(source, snapshot, context)
    return snapshot


def _leave_out(snapshot: git.Snapshot, order: Order, context: Context) -> None:
    """Remove files on the list of default excludes: unlike those of a commit, no one has chosen them."""
    from builder.sources.excludes import SECRETS, Excludes, leave_out, left_out_warning, text_of_build_file

    text = text_of_build_file(snapshot.root / order.path, order.build_file)
    gone = leave_out(snapshot.root, Excludes(text, order.path))
    context.progress.warn(left_out_warning(gone.get(SECRETS, ())))


def _manifest(source: ManifestSource, context: Context) -> Manifest:
    from builder.sources import manifest

    context.progress.say(f"fetching {source.place}")
    content = _object(context, source.bucket, source.manifest, source.version_id)
    if content.size > manifest.MAX_BYTES:
        raise SourceError(f"{source.place}: is larger than the {megabytes(manifest.MAX_BYTES)} of a manifest")
    return manifest.parse(b"".join(content.chunks()), label=source.place, sha256=source.sha256)


def _files_beside(source: ManifestSource, context: Context) -> Callable[[str], Content]:
    folder = source.manifest.rpartition("/")[0]
    beside = f"{folder}/files/" if folder else "files/"
    return lambda sha256: _object(context, source.bucket, beside + sha256)


def _object(context: Context, bucket: str, key: str, version_id: str | None = None) -> Content:
    """Return an object in S3; a small one is read at once, so that several threads read at the same time."""
    from builder.sources.manifest import Content

    place, s3 = f"s3://{bucket}/{key}", context.clients.s3
    try:
        with aws_errors(f"reading {place}"):
            if version_id:
                answer = s3.get_object(Bucket=bucket, Key=key, VersionId=version_id)
            else:
                answer = s3.get_object(Bucket=bucket, Key=key)
            size, body = answer["ContentLength"], answer["Body"]
            small = body.read() if size <= _SMALL_BYTES else None
    except AwsRefused as error:
        if error_code(error) not in ("404", "NoSuchKey", "NoSuchVersion"):
            raise
        raise PathNotFound(f"{place} does not exist", hint="check bucket, manifest and version_id of source") from error

    def chunks() -> Iterator[bytes]:
        if small is not None:
            yield small
            return
        with aws_errors(f"reading {place}"):
            yield from body.iter_chunks(_SMALL_BYTES)

    return Content(size=size, chunks=chunks)


def _compare_with_name(source: ObjectSource, snapshot: git.Snapshot, context: Context) -> None:
    """Raise if the archive's tree is not the one in its name: clients do not send a tree that is already there."""
    settings = context.settings
    named = _SENT.fullmatch(source.key.removeprefix(settings.store_prefix))
    if source.bucket == settings.bucket and named and named[1] != snapshot.tree:
        raise UnsafeSource(
            f"{source.place} has content that does not match its name: {snapshot.tree}",
            hint="someone else put it there; remove it, and send the project again",
        )


def network(context: Context) -> git.Network:
    """Return the servers and certificates that git requests may use, and their time limit."""
    settings = context.settings
    return git.Network(
        allowed_hosts=settings.git_hosts,
        ca_bundle=settings.ca_bundle,
        remaining=context.deadline.remaining,
        greetings=context.greetings,
    )


def of_codecommit(url: str, context: Context) -> tuple[git.GitCredentials, ...]:
    """Return a login for CodeCommit, signed by the builder's own role; nothing for any other `url`."""
    if context.granted is not None or not CODECOMMIT_URL.match(url):
        return ()
    username, password = codecommit_credentials(context.clients, url)
    context.secrets.add(password)
    login = git.GitCredentials(
        username=username,
        token=password,
        base=url,
        called="the builder's own role",
        renewal="give the role codecommit:GitPull on the repository",
    )
    return (login,)
