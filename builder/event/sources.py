"""Where an event says that a project's files are: a repository, an archive, or an object in a bucket."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping

from builder.event.fields import Fields, bare, kind, shown
from builder.event.request import ArchiveSource, GitSource, ManifestSource, ObjectSource, Source
from builder.event.table import (
    BUCKET,
    MANIFEST_SHA256,
    MAX_REF,
    REPO_NAME,
    SOURCE_MEMBERS,
)
from builder.nearest import nearest
from builder.network.urls import url_problem

_SHA256, _BUCKET, _REPO_NAME = re.compile(MANIFEST_SHA256), re.compile(BUCKET), re.compile(REPO_NAME)


def ref_problem(ref: str) -> str | None:
    """Say what is wrong with `ref` as the name of a branch, tag or commit (git's own rules); None if nothing is."""
    if len(ref) > MAX_REF:
        return f"is longer than {MAX_REF} characters"
    # git check-ref-format has the same rules; refused here, the message is about the event and not from a server.
    if re.search(r"[\x00-\x20\x7f~^:?*\[\\]", ref):
        return f"{shown(ref)} contains a character that git allows in no name (blank, ~ ^ : ? * [ \\)"
    if (
        ref.startswith(("-", "/", "."))
        or ref.endswith(("/", ".", ".lock"))
        or ".." in ref
        or "//" in ref
        or "@{" in ref
        or "/." in ref
        or ".lock/" in ref
    ):
        return f"{shown(ref)} is not a name that git allows"
    return None


def repo_problem(repo: str) -> str | None:
    """Say what is wrong with `repo` as a URL or `owner/name`; None if nothing is. Quotes no credentials."""
    if "://" in repo or ":" in repo or "@" in repo:
        return url_problem(repo)
    segments = repo.split("/")
    if len(segments) < 2 or not all(_is_name(segment) for segment in segments):
        return f"{shown(repo)} is neither an https URL nor owner/name (a name alone goes into repo_name)"
    return None


def _is_name(text: str) -> bool:
    return bool(_REPO_NAME.fullmatch(text)) and text not in (".", "..") and text.lower() != ".git"


class SourceFields(Fields):
    """Takes the fields of an event that concern its source."""

    def source(self, *, required: bool) -> Source | None:
        """Return where the project's files come from: a repository, an archive in the event, or an object in S3."""
        given = [name for name in ("repo", "repo_name", "archive", "source") if name in self.event]
        if required and not given:
            self.problems.append("repo: missing; give repo (a URL, or owner/name), repo_name, archive or source")
        for other in given[1:]:
            self.problems.append(f"{given[0]}: given together with {other}; give one of them")
        if given and given[0] in ("archive", "source"):
            for each in ("ref", "branch"):
                if each in self.event:
                    self.problems.append(f"{each}: does not apply to an archive; leave it out")
            return self._archive() if given[0] == "archive" else self._object()
        return self._repository()

    def _archive(self) -> ArchiveSource | None:
        text = self.text("archive")
        if text is None:
            return None
        try:
            return ArchiveSource(content=base64.b64decode(text, validate=True))
        except ValueError:
            self.problems.append("archive: is not base64 of a zip, tar, tar.gz or tar.zst")
            return None

    def _object(self) -> ObjectSource | ManifestSource | None:
        given = self.event["source"]
        if not isinstance(given, Mapping):
            self.problems.append(f"source: must be an object with bucket and key, not {kind(given)}")
            return None
        found: dict[str, str] = {}
        for name, value in given.items():
            if name not in SOURCE_MEMBERS:
                self.problems.append(f"source: {bare(name)}: unknown field{nearest(str(name), SOURCE_MEMBERS)}")
            elif value is not None and (not isinstance(value, str) or not value.strip()):
                self.problems.append(f"source: {name}: must be text, not {shown(value)}")
            elif value is not None:
                found[name] = value
        if "bucket" not in given:
            self.problems.append("source: bucket: missing")
        if not {"key", "manifest"} & set(given):
            self.problems.append("source: key: missing; it names an archive (or give manifest)")
        elif {"key", "manifest"} <= set(found):
            self.problems.append("source: key: given together with manifest; give one of them")
        if "bucket" in found and not _BUCKET.fullmatch(found["bucket"]):
            self.problems.append(f"source: bucket: {shown(found['bucket'])} is not the name of a bucket")
        if "sha256" in found and not _SHA256.fullmatch(found["sha256"]):
            self.problems.append(f"source: sha256: {shown(found['sha256'])} is not 64 hexadecimal digits in lower case")
        if "sha256" in found and "key" in found:
            self.problems.append("source: sha256: is for a manifest, but key names an archive")
        if "bucket" not in found or not {"key", "manifest"} & set(found):
            return None
        bucket, version_id = found["bucket"], found.get("version_id")
        if "key" in found:
            return ObjectSource(bucket=bucket, key=found["key"], version_id=version_id)
        return ManifestSource(
            bucket=bucket, manifest=found["manifest"], version_id=version_id, sha256=found.get("sha256")
        )

    def _repository(self) -> GitSource:
        repo, repo_name = self.text("repo"), self.text("repo_name")
        if repo is not None and (problem := repo_problem(repo)):
            self.problems.append(f"repo: {problem}")
        if repo_name is not None and not _is_name(repo_name):
            self.problems.append(
                f"repo_name: {shown(repo_name)} is not allowed; use A-Z a-z 0-9 . _ - (owner/name goes into repo)"
                if "://" not in repo_name and "@" not in repo_name
                else "repo_name: is a URL; that goes into repo"
            )
        return GitSource(repo=repo, repo_name=repo_name, ref=self._ref())

    def _ref(self) -> str | None:
        given: list[str] = []
        for name in ("ref", "branch"):
            value = self.text(name)
            if value is None:
                continue
            if problem := ref_problem(value):
                self.problems.append(f"{name}: {problem}")
            given.append(value)
        if len(set(given)) > 1:
            self.problems.append(f"branch: {shown(given[1])} contradicts ref {shown(given[0])}; give one of them")
        return given[0] if given else None
