"""The builder's own layer, which it makes in its own environment by the code that makes every project's layer.

The first time, only the standard library, boto3 and pip exist (the starter layer), so nothing else is imported before
a check.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from builder.arns import layer_of, name_of_layer
from builder.aws import aws_errors
from builder.errors import AccessDenied, FunctionBusy, InvalidConfiguration, NotSetUp, ResolutionFailed
from builder.flow import credentials
from builder.plan import Artifact
from builder.publishing import functions, layers
from builder.runtimes import RUNTIMES, Target, architecture_of
from builder.workspace.domains import OWN

if TYPE_CHECKING:
    from builder.aws import Clients
    from builder.context import Context
    from builder.python.layer import LayerOptions
    from builder.replies.machines import OwnLayer
    from builder.replies.reply import Reply
    from builder.secrets.indexes import Indexes

LOCK = Path(__file__).parents[1] / "requirements.lock"
# The layer keeps the botocore data of these services alone: those that aws.py has a client for.
SERVICES = (
    *("cloudformation", "codeartifact", "iam", "lambda", "logs"),
    *("s3", "secretsmanager", "ssm", "stepfunctions", "sts"),
)
_MARKER = "lambdasmith_layer.json"
_PLACEHOLDER = "__lambdasmith_placeholder__"
_SHOWN = ("boto3", "dulwich", "packaging", "pydantic", "PyYAML", "requests", "uv", "pip")


def is_ready() -> bool:
    """Tell whether the real layer is attached: the starter layer has placeholders for Dulwich and PyYAML."""
    for name in ("dulwich", "yaml"):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            return False
        if _PLACEHOLDER in Path(spec.origin).read_text(encoding="utf-8", errors="replace"):
            return False
    return True


def require_ready() -> None:
    """Raise NotSetUp if builds cannot work yet."""
    if not is_ready():
        raise NotSetUp(
            "the builder still has its starter layer and cannot build yet", hint="run `python setup.py init`"
        )


def lock_sha256() -> str:
    """Return the hash of the lock that belongs to this code."""
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of the packages that can be imported now, by name."""
    found = {}
    for name in _SHOWN:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def attached_layer() -> dict[str, str]:
    """Return the attached layer's record of itself: {"key", "lock"}; empty for the starter layer."""
    for entry in sys.path:
        marker = Path(entry) / _MARKER
        if marker.is_file():
            content: dict[str, str] = json.loads(marker.read_text())
            return content
    return {}


def own_target() -> Target:
    """Return the runtime and architecture of this process.

    Raises:
        InvalidConfiguration: Lambda has no such Python.
    """
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if name not in RUNTIMES:
        raise InvalidConfiguration(f"the builder runs on {name}, which is not a Lambda runtime")
    return Target(runtime=RUNTIMES[name], architecture=architecture_of(platform.machine()))


def _options() -> LayerOptions:
    from builder.python.layer import LayerOptions
    from builder.python.prune import PruneOptions

    return LayerOptions(target=own_target(), prune=PruneOptions(botocore_services=SERVICES))


def _layer_key() -> str:
    inputs = f"{lock_sha256()}\0{_options().key()}"
    return hashlib.sha256(inputs.encode()).hexdigest()


def set_up(context: Context, *, force: bool, attach: bool = True) -> Reply:
    """Make the builder's layer from its lock, publish it if its content is new, and attach it to this function.

    Args:
        attach: False if the caller attaches it.

    Returns:
        {"statusCode", "layer": {"arn", "reused", "size", "unzipped", …}, "versions"}.

    Raises:
        CommandFailed, ResolutionFailed, SourceUnreachable: the layer cannot be made; the one in use stays.
    """
    progress, name = context.progress, context.settings.layer
    key = _layer_key()
    if attached_layer().get("key") == key and is_ready() and attach and not force:
        return {"statusCode": 200, "layer": {"reused": True, "key": key}, "versions": versions()}
    context.workspace.enter(OWN)
    with context.workspace.scratch() as scratch:
        out = scratch / "layer.zip"
        with progress.phase("layer", "making the builder's layer"):
            artifact = _make(context, out, scratch, key)
        with progress.phase("store", "storing the layer"):
            # Before publishing: Lambda takes the layer's zip from the store.
            if not context.store.exists(artifact.name, sha256=artifact.sha256):
                context.store.put(artifact.name, out, sha256=artifact.sha256)
    with progress.phase("publish", "publishing the layer"):
        target = own_target()
        runtimes = (target.runtime.name,)
        arn = layers.known_version(
            context.clients, context.store, artifact, name=name, target=target, runtimes=runtimes
        )
        if arn is not None and name_of_layer(arn) != name:
            arn = None  # the owner of another layer may remove the version at any time
        reused = arn is not None
        if arn is None:
            arn = layers.publish_version(
                context.clients,
                context.store,
                artifact,
                name=name,
                target=target,
                runtimes=runtimes,
                description="Lambdasmith's own dependencies, made by itself",
            )
    if attach:
        with progress.phase("attach", "attaching the layer to the builder"):
            _attach(context, arn)
    layer: OwnLayer = {"arn": arn, "reused": reused, "key": key, "size": artifact.size, "unzipped": artifact.unzipped}
    locked = {entry.rpartition(" ")[0]: entry.rpartition(" ")[2] for entry in artifact.contents}
    return {"statusCode": 200, "layer": layer, "versions": locked}


def may_change_itself(clients: Clients, function: str) -> bool:
    """Tell whether IAM lets the builder change its own configuration now. The attempt changes nothing.

    Raises:
        AwsRefused: AWS refuses it for another reason.
    """
    try:
        with aws_errors(f"trying to change {function}"):
            # Lambda asks IAM before it compares the revision, and no function has this one, so nothing is changed.
            clients.lambda_.update_function_configuration(FunctionName=function, RevisionId=str(uuid.uuid4()))
    except AccessDenied:
        return False
    except FunctionBusy:
        return True
    return True


def remove_layer(context: Context) -> list[str]:
    """Remove all versions of this builder's own layer, and return sentences about it.

    The builder continues to work: functions keep a removed version that they have attached.
    """
    from builder.publishing.listing import layer_versions

    done: list[str] = []
    for version in list(layer_versions(context.clients, context.settings.layer, context.deadline)):
        with aws_errors(f"removing version {version.number} of layer {version.layer}"):
            context.clients.lambda_.delete_layer_version(LayerName=version.layer, VersionNumber=version.number)
        done.append(f"removed version {version.number} of layer {version.layer}")
    return done


def _make(context: Context, out: Path, scratch: Path, key: str) -> Artifact:
    from builder.python import gateway
    from builder.python.layer import layer_of_wheels
    from builder.python.wheels import download_with_pip

    marker = json.dumps({"key": key, "lock": lock_sha256()}, sort_keys=True).encode()
    environment = context.workspace.child_environment(context.environment, context.settings.index_url, scratch / "home")
    indexes = credentials.indexes(context)
    left = context.deadline.check("making the builder's layer")
    if is_ready():
        wheels = _resolved(context, scratch, environment, indexes, left)
    else:
        environment["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if (Path(entry) / "pip").is_dir())
        folder = scratch / "wheels"
        folder.mkdir()
        with gateway.opened(indexes, scratch) as here:
            wheels = download_with_pip(LOCK, folder, environment=here.environment(environment), timeout_s=left)
    return layer_of_wheels(wheels, out, options=_options(), scratch=scratch, extra={f"python/{_MARKER}": marker})


def _resolved(
    context: Context, scratch: Path, environment: dict[str, str], indexes: Indexes, timeout_s: float
) -> list[Path]:
    """Return the locked wheels, found by uv since the real layer has no pip. The lock's hashes are enforced."""
    from builder.python.inputs import read_inputs
    from builder.python.lock import resolve
    from builder.python.pylock import select
    from builder.python.resolver import Resolver
    from builder.python.wheels import download

    root = LOCK.parent
    # The lock has the content of a requirements file, but a name that says that people do not edit it.
    copy = scratch / "requirements.txt"
    copy.write_bytes(LOCK.read_bytes())
    target = own_target()
    inputs = read_inputs([copy.name], scratch)
    by = Resolver(root=scratch, scratch=scratch, environment=environment, timeout_s=timeout_s, indexes=indexes)
    wheels = select(resolve(inputs, target, by), target).wheels
    allowed = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", (root / LOCK.name).read_text()))
    for wheel in wheels:
        if wheel.sha256 not in allowed:
            raise ResolutionFailed(f"{wheel.filename}: its sha256 is not in the builder's lock")
    paths = download(wheels, context.workspace.cached("wheels"), indexes)
    return [paths[wheel.sha256] for wheel in wheels]


def _attach(context: Context, arn: str) -> None:
    """Attach the layer version to this function in place of the previous one; layers of others stay."""
    function = context.environment.get("AWS_LAMBDA_FUNCTION_NAME", "")
    with aws_errors(f"attaching the layer to {function}"):
        present = context.clients.lambda_.get_function_configuration(FunctionName=function)
        others = [layer["Arn"] for layer in present.get("Layers", ()) if layer_of(layer["Arn"]) != layer_of(arn)]
        wanted = [arn, *others]
        if [layer["Arn"] for layer in present.get("Layers", ())] == wanted:
            return
        context.clients.lambda_.update_function_configuration(
            FunctionName=function, Layers=wanted, RevisionId=present.get("RevisionId", "")
        )
    # Waits: until the change takes effect, the next invocation would still get the old layer.
    functions.wait_until_settled(context.clients, function, timeout_s=context.deadline.remaining())
