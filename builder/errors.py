"""The one tree of errors a user can meet. Anything else that is raised is our own bug and keeps its traceback.

    LambdasmithError
    ├── InvalidEvent            the request itself
    ├── InvalidBuildFile        build.yaml and what it names
    │   ├── SecretNotAllowed    └── UnknownToolchain
    ├── InvalidConfiguration    config.ini, flags, the builder's own settings
    ├── NotSetUp                the builder has no real layer yet
    │   └── StoreMissing        or no bucket any more
    ├── StoreDamaged            an object of the store is not what was written there
    ├── OwnTarget, FunctionTaken     it would touch the builder itself, or someone else's function
    ├── FunctionsFailed         several functions of a project, each with its own error
    ├── UnknownBuild, BuildStopped   a build id without a record, or of a build that was ended
    ├── SourceError             where the project comes from
    │   ├── RepositoryNotFound  ├── AuthenticationFailed  ├── RefNotFound
    │   ├── PathNotFound        ├── UnsafeSource          ├── LfsMissing
    │   └── SourceUnreachable ── UntrustedCertificate
    ├── ResolutionFailed        dependencies cannot be locked
    │   ├── RequirementNotFound ├── NoWheelForTarget      └── WrongIndex
    ├── BuildFailed             what the project asked to run, or the artifact made of it
    │   ├── CommandFailed       ├── ArtifactTooLarge      ├── ArtifactConflict
    │   ├── NativeMismatch      ├── ImportFailed          ├── InvokeFailed
    │   ├── SecretInArtifact    ├── CompilationFailed     ├── BootstrapMissing
    │   └── SourceChanged       └── ContentMismatch
    ├── OutOfSpace, OutOfTime, OutOfMemory   the builder's own limits
    ├── WorkerFailed            the function that runs foreign code gave no answer
    └── AwsRefused              AWS said no
        ├── RoleMissing         ├── FunctionMissing       ├── FunctionBusy
        ├── AccessDenied        ├── AwsUnavailable        └── SecretMissing

`code` is stable and appears in replies, `status` is the reply's statusCode, `exit_code` what a command ends with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar


class LambdasmithError(Exception):
    """A failure with a message for the user.

    Args:
        message: what failed, in which input (file, key as typed, value).
        hint: what to do next, one sentence.
        log_tail: last lines of the child or service that failed, already masked.
        problems: every single problem where several were found at once. phase: the pipeline's, which fills it in.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 400
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        log_tail: Sequence[str] = (),
        problems: Sequence[str] = (),
        phase: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.log_tail = tuple(log_tail)
        self.problems = tuple(problems)
        self.phase = phase


class InvalidEvent(LambdasmithError):
    """The request does not say what to do, or says it wrongly."""

    code, exit_code = "invalid_event", 2


class InvalidBuildFile(LambdasmithError):
    """build.yaml cannot be read, or what it says cannot be built."""

    code, exit_code = "invalid_build_file", 3


class SecretNotAllowed(InvalidBuildFile):
    """The build file names a secret that the builder's configuration does not allow for its project."""

    code, status = "secret_not_allowed", 403


class UnknownToolchain(InvalidBuildFile):
    """The build file names a toolchain that the builder cannot get."""

    code = "unknown_toolchain"


class InvalidConfiguration(LambdasmithError):
    """config.ini, a flag or the builder's own environment is wrong."""

    code, exit_code = "invalid_configuration", 2


class NotSetUp(LambdasmithError):
    """The builder still has its starter layer."""

    code, status, exit_code = "builder_not_set_up", 409, 4


class StoreMissing(NotSetUp):
    """The bucket of the store does not exist."""

    code = "store_missing"


class StoreDamaged(LambdasmithError):
    """An object of the store that nothing else can replace is not what was written there."""

    code, status, exit_code = "store_damaged", 409, 10


class FunctionTaken(LambdasmithError):
    """A function of that name exists, and comes from somewhere else than the project that has one in its build file."""

    code, status, exit_code = "function_taken", 409, 10


class FunctionsFailed(LambdasmithError):
    """Some functions of a project could not be built or published; the reply has a row for each of them."""

    code, exit_code = "functions_failed", 7


class OwnTarget(LambdasmithError):
    """The request or the build file names the builder itself, its layer or its role."""

    code, status, exit_code = "own_target", 403, 2


class BuildStopped(LambdasmithError):
    """Someone has stopped the build before it published anything."""

    code, status, exit_code = "build_stopped", 409, 9


class UnknownBuild(LambdasmithError):
    """There is no record of that build id."""

    code, status, exit_code = "unknown_build", 404, 2


class SourceError(LambdasmithError):
    """The project could not be fetched or read."""

    code, exit_code = "source_error", 5


class RepositoryNotFound(SourceError):
    """The server does not know that repository (or hides it from this token)."""

    code, status = "repository_not_found", 404


class AuthenticationFailed(SourceError):
    """The server wants other credentials."""

    code, status = "authentication_failed", 401


class RefNotFound(SourceError):
    """No branch, tag or commit of that name."""

    code, status = "ref_not_found", 404


class PathNotFound(SourceError):
    """A requested file or directory is not in the project."""

    code, status = "path_not_found", 404


class UnsafeSource(SourceError):
    """The project contains something that must not be unpacked."""

    code = "unsafe_source"


class SourceUnreachable(SourceError):
    """The server did not answer, or broke off."""

    code, status, retryable = "source_unreachable", 502, True


class UntrustedCertificate(SourceUnreachable):
    """A server's certificate is from an authority that is not known here, or is not the server's, or not valid now."""

    code, status, retryable = "untrusted_certificate", 502, False


class LfsMissing(SourceError):
    """The content of files to ship is in Git LFS and could not be had.

    `lacking` is path → problem.
    """

    code, status = "lfs_missing", 404
    lacking: Mapping[str, str] = MappingProxyType({})

    def with_message(self) -> LfsMissing:
        """Return the error, with a message about what is `lacking`."""
        self.problems = tuple(self.lacking.values())
        self.message = "; ".join(self.problems)
        self.args = (self.message,)
        return self


class ResolutionFailed(LambdasmithError):
    """The dependencies do not fit together or cannot be read."""

    code, exit_code = "resolution_failed", 6


class RequirementNotFound(ResolutionFailed):
    """No such distribution, or no such version of it."""

    code = "requirement_not_found"


class NoWheelForTarget(ResolutionFailed):
    """The distribution exists, but not for the target runtime and architecture."""

    code = "no_wheel_for_target"


class WrongIndex(ResolutionFailed):
    """A distribution does not come from the index that the builder's configuration reserves for its name."""

    code = "wrong_index"


class BuildFailed(LambdasmithError):
    """Something that the build ran, or made, is wrong."""

    code, exit_code = "build_failed", 7


class CommandFailed(BuildFailed):
    """A command of the project ended with an error."""

    code = "command_failed"


class CompilationFailed(BuildFailed):
    """A compiler or packager rejects the project's source; `log_tail` has its words."""

    code = "compilation_failed"


class ArtifactTooLarge(BuildFailed):
    """Over one of Lambda's size limits."""

    code = "artifact_too_large"


class ArtifactConflict(BuildFailed):
    """Two inputs want the same path in one artifact with different bytes."""

    code = "artifact_conflict"


class NativeMismatch(BuildFailed):
    """A native file cannot be loaded on the target: wrong machine, missing library, C library too old."""

    code = "native_mismatch"


class ImportFailed(BuildFailed):
    """The handler cannot be imported from the finished artifacts."""

    code = "import_failed"


class InvokeFailed(BuildFailed):
    """The function returned an error for the payload that it was tried with."""

    code = "invoke_failed"


class BootstrapMissing(BuildFailed):
    """A custom runtime has no program to start."""

    code = "bootstrap_missing"


class SecretInArtifact(BuildFailed):
    """A result of the project's commands contains a secret."""

    code = "secret_in_artifact"


class SourceChanged(BuildFailed):
    """Code that a build ran has written to the project itself, from which other components are built."""

    code = "source_changed"


class ContentMismatch(BuildFailed):
    """The uploaded content, or Lambda's, is not what was built."""

    code, status = "content_mismatch", 409


class OutOfSpace(LambdasmithError):
    """The builder's /tmp is full."""

    code, status, exit_code = "out_of_space", 507, 8


class OutOfTime(LambdasmithError):
    """The builder stopped by itself before Lambda would have killed it."""

    code, status, exit_code, retryable = "out_of_time", 504, 9, True


class OutOfMemory(LambdasmithError):
    """A child of the builder needs more memory than the builder has."""

    code, status, exit_code = "out_of_memory", 507, 8


class WorkerFailed(LambdasmithError):
    """The worker, in which foreign code runs, ended without an answer, or with one that is not valid."""

    code, status, exit_code, retryable = "worker_failed", 502, 10, True


class AwsRefused(LambdasmithError):
    """AWS returned an error that the user can fix."""

    code, status, exit_code = "aws_refused", 502, 10


class AccessDenied(AwsRefused):
    """The role may not do that."""

    code, status = "access_denied", 403


class RoleMissing(AwsRefused):
    """A function is to be created and no usable role is named."""

    code, status = "role_missing", 400


class FunctionMissing(AwsRefused):
    """The function does not exist."""

    code, status = "function_missing", 404


class FunctionBusy(AwsRefused):
    """Someone else is updating the function."""

    code, status, retryable = "function_busy", 409, True


class AwsUnavailable(AwsRefused):
    """AWS throttles, has trouble or does not answer, even after several tries."""

    code, status, retryable = "aws_unavailable", 503, True


class SecretMissing(AwsRefused):
    """A secret that is named somewhere does not exist, or lacks the key."""

    code, status = "secret_missing", 404


def error_of(value: Mapping[str, object]) -> LambdasmithError:
    """Return the exception that another process of ours has turned into JSON, see `reply.failure`."""
    classes = {kind.code: kind for kind in _tree(LambdasmithError)}
    kind = classes.get(str(value.get("code")), LambdasmithError)
    return kind(
        str(value.get("message", "")),
        hint=str(value.get("hint") or ""),
        log_tail=_lines(value.get("log_tail")),
        problems=_lines(value.get("problems")),
        phase=str(value.get("phase") or ""),
    )


def _lines(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(value.splitlines())
    return tuple(str(line) for line in value) if isinstance(value, list) else ()


def _tree(kind: type[LambdasmithError]) -> Iterator[type[LambdasmithError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)
