"""A Lambda function whose code and layers are built in AWS while the stack is deployed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from aws_cdk import Annotations, Duration, Fn, Token
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from lambdasmith_cdk.build import Build
from lambdasmith_cdk.project import BuildFile, read_build_file
from lambdasmith_cdk.sources import LeftOut, left_out

_BUILD_TIMEOUT_MINUTES = 30
# What the build file says of the function, unless it is given: parameter → attribute of the custom resource, unit.
_BUILT = {
    "runtime": ("Runtime", ""),
    "handler": ("Handler", ""),
    "architecture": ("Architecture", ""),
    "memory_size": ("MemorySize", " MB"),
    "timeout": ("Timeout", " s"),
}
# Of a version's description, 256 characters at most, ours may need the rest: a handler alone may have 128.
_MOST_DESCRIBED = 50


class LambdasmithFunction(lambda_.Function):
    """A function built by the builder, from a directory of this machine or from a git commit.

    It is an aws_lambda.Function, and goes wherever one does. `layers` are its layers in their order, `resource` is the
    custom resource that builds: its attributes are those of docs/cloudformation.md. `current_version` is a new
    version whenever the build made something else, so that an alias of it follows.

        LambdasmithFunction(stack, "Thumbs", builder=arn, project="services/thumbs", memory_size=1024)
        LambdasmithFunction(stack, "Mail", builder=arn, repo="acme/mail", ref="v1.2.0", layers=["dependencies"])

    Args:
        builder: the builder function or its ARN.
        project: directory of the sources. What git or a .lambdaignore ignores, `exclude` names, or is left out by
            default (logins, keys) stays here.
        repo: instead of `project`: an https URL, or `owner/name`.
        repo_name: instead of `project`: a repository below the builder's git base.
        ref: commit, tag or branch. Name commits: a branch that moves on is no change of the stack.
        path: the directory of the build file in the project or repository.
        build_file: another name than build.yaml, build.yml or build.json.
        layers: in the order in which they are attached: names of layers in the build file; of those from elsewhere,
            ARNs or constructs. Of a `project` they are read from the build file; of a repository they must be given.
        trigger: any text; a change starts another build.
        builder_role: role of the builder, which is granted to read `project`; by default the one that `setup.py init`
            makes for a builder of that name.
        exclude: patterns in gitignore's syntax.
        build_timeout: until CloudFormation gives up, an hour at most; by default 30 minutes.
        function_name: also what the builder knows the function by, for example to let it have secrets.
        runtime, handler, architecture, memory_size, timeout: instead of what the build file says.
        properties: all else that aws_lambda.Function takes, `environment`, `role`, `vpc` …

    Raises:
        ValueError: the project is not there, or it is not said what to build.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        builder: str | lambda_.IFunction,
        project: str | Path | None = None,
        repo: str | None = None,
        repo_name: str | None = None,
        ref: str | None = None,
        path: str | None = None,
        build_file: str | None = None,
        layers: Sequence[str | lambda_.ILayerVersion] | None = None,
        trigger: str | None = None,
        builder_role: iam.IRole | None = None,
        exclude: Sequence[str] = (),
        build_timeout: Duration | None = None,
        function_name: str | None = None,
        architecture: lambda_.Architecture | None = None,
        **properties: Any,
    ) -> None:
        place = f"{scope.node.path}/{construct_id}".lstrip("/")
        _check_source(place, ref=ref, project=project, repo=repo, repo_name=repo_name)
        root = Path(project) if project else None
        known = _build_file(place, root, path, build_file)
        if layers is None:
            if known is None:
                raise ValueError(f"{place}: layers: name those of the build file, or give layers=[] if it has none")
            layers = known.layers
        staying = _left_out(root, path, known)
        asked = {"Function": function_name, "Path": path, "BuildFile": build_file, "Trigger": trigger}
        asked |= {"Repo": repo, "RepoName": repo_name, "Ref": ref}
        build = Build(
            scope,
            f"{construct_id}.Build",
            builder=builder,
            builder_role=builder_role,
            project=root,
            exclude=[*staying.patterns, *exclude],
            properties=asked | {"Architecture": architecture.name if architecture else None},
            timeout=build_timeout or Duration.minutes(_BUILD_TIMEOUT_MINUTES),
        )
        given = {"function_name": function_name, "architecture": architecture, **properties}
        settings = _settings(build, known, given)
        attached = [build.layer(layer, settings["runtime"]) for layer in layers]
        settings["current_version_options"] = _version_options(build, attached, given)
        super().__init__(scope, construct_id, **settings, code=build.code(), layers=attached)
        self.layers, self.resource = attached, build.resource
        if staying.secrets:
            _warn_of(self, staying.secrets)

    @property
    def function(self) -> lambda_.Function:
        """The function, as constructs that hold one call it: this construct itself."""
        return self


def _check_source(place: str, *, ref: str | None, **given: object) -> None:
    said = [name for name, one in given.items() if one]
    if len(said) != 1:
        raise ValueError(f"{place}: give one of {', '.join(given)}, not {' and '.join(said) or 'none'}")
    if ref and "project" in said:
        raise ValueError(f"{place}: ref: goes with repo or repo_name; the files of a project are sent as they are")


def _build_file(place: str, root: Path | None, path: str | None, name: str | None) -> BuildFile | None:
    """That of a project; None of a repository, which is not read before the stack is deployed."""
    if root is None:
        return None
    folder = root / (path or "")
    if not folder.is_dir():
        raise ValueError(f"{place}: {'path' if root.is_dir() else 'project'}: {folder} is not a directory")
    return read_build_file(folder, name)


def _left_out(root: Path | None, path: str | None, known: BuildFile | None) -> LeftOut:
    if root is None or known is None:
        return LeftOut(patterns=(), secrets=())
    named = [str(PurePosixPath(path or "", one)) for one in known.named]
    return left_out(root, named=named, build_text=known.text)


def _warn_of(construct: Construct, secrets: Sequence[str]) -> None:
    more = f" and {len(secrets) - 5} more" if len(secrets) > 5 else ""
    Annotations.of(construct).add_warning_v2(
        "lambdasmith:secrets-left-out",
        f"left out, because such files usually hold secrets: {', '.join(secrets[:5])}{more}; "
        "name in `files` of the build file what belongs to the function",
    )


def _settings(build: Build, known: BuildFile | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """What aws_lambda.Function is told: what is given, and for the rest what the build file says."""
    settings = {
        "runtime": _runtime(known.runtime if known else None, build),
        "handler": build.text("Handler"),
        "architecture": lambda_.Architecture.custom(build.text("Architecture")),
        "memory_size": build.number("MemorySize"),
        "timeout": Duration.seconds(build.number("Timeout")),
    }
    return settings | {name: value for name, value in given.items() if value is not None}


def _runtime(name: str | None, build: Build) -> lambda_.Runtime:
    """That of the build file where it can be read, so that the CDK knows what the runtime can do."""
    if name is None:
        # Whether it has SnapStart is for Lambda to say.
        return lambda_.Runtime(build.text("Runtime"), None, supports_snap_start=True)
    return next((one for one in lambda_.Runtime.ALL if one.name == name), None) or lambda_.Runtime(name)


def _version_options(
    build: Build, layers: Sequence[lambda_.ILayerVersion], given: Mapping[str, Any]
) -> lambda_.VersionOptions:
    """Options by which a version is replaced exactly when the build has changed the function.

    The CDK names a version by what the template says of the function, which has only references to what was built. But
    CloudFormation replaces a version when its CodeSha256 or Description changes. Nothing else may change these: where
    the function is as before, Lambda has that version already, and CloudFormation fails.
    """
    present = given.get("current_version_options") or {}
    names = list(inspect.signature(lambda_.VersionOptions).parameters)
    options = dict(present) if isinstance(present, Mapping) else {name: getattr(present, name) for name in names}
    versions = [Fn.select(7, Fn.split(":", layer.layer_version_arn)) for layer in layers]
    parts = [f"layers {' '.join(versions)}"] if versions else []
    parts += [build.text(attribute) + unit for name, (attribute, unit) in _BUILT.items() if given.get(name) is None]
    text = options.get("description") or ""
    if len(text) > _MOST_DESCRIBED and not Token.is_unresolved(text):
        raise ValueError(f"current_version_options: description: has more than {_MOST_DESCRIBED} characters")
    options["description"] = ", ".join([text, *parts] if text else parts)
    options["code_sha256"] = build.text("CodeSha256")
    return lambda_.VersionOptions(**{name: value for name, value in options.items() if value is not None})
