"""Verification of a deploy: the recorded commit is built again from scratch, and its bytes compared with Lambda's."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from builder import __version__
from builder.arns import name_of_layer
from builder.errors import FunctionMissing, UnknownBuild
from builder.event.request import GitSource
from builder.flow import fetching, reply
from builder.flow.order import Fresh, Order
from builder.flow.single import product_of
from builder.flow.situation import domain_for
from builder.making.product import Product, Several, Unchanged, pinned_lock
from builder.plan import FUNCTION
from builder.publishing import layers
from builder.publishing.functions import read_function
from builder.publishing.versions import read_alias
from builder.records.builds import RECORD_HINT, Builds
from builder.runtimes import architecture_of
from builder.store.keeping import Damaged

if TYPE_CHECKING:
    from builder.context import Context
    from builder.event.request import Request
    from builder.records.record import DeploymentRecord, Record
    from builder.replies.accounts import VerifiedRow
    from builder.replies.reply import Reply

_LOOK_BACK = 100


def verify(request: Request, context: Context) -> Reply:
    """Build the commit and lock of the deployed or the named build again, and compare the result with Lambda.

    No results of earlier builds are used: wheels are downloaded again, and parts are made again.

    Returns:
        `verify {build, same, components [{name, deployed, rebuilt, same}]}`; hashes are hexadecimal.

    Raises:
        UnknownBuild: there is no record of the build, or its source or lock was not kept.
        SourceError, BuildFailed: the commit can no longer be fetched or built.
    """
    name, progress = request.function or "", context.progress
    with progress.phase("look", "looking for what was deployed"):
        record, made_of, alias = _deployed(Builds(context.store), request)
        deployed = _deployed_hashes(name, alias, made_of, context)
    source = made_of.source
    if source is None:
        raise UnknownBuild(
            f"build {record.build_id} of {name} was made from an archive that came with its event and was not kept",
            hint="deploy from git, or from an archive in S3, to be able to verify",
        )
    if record.builder != __version__:
        progress.warn(
            f"build {record.build_id} was made by builder {record.builder}, this is {__version__}: "
            "differences may come from the builders"
        )
    asked = replace(
        request,
        source=replace(source.source, ref=record.commit) if isinstance(source.source, GitSource) else source.source,
        path=source.path,
        build_file=source.build_file,
        key=source.key,
        stage=source.stage,
    )
    rebuilt = _rebuilt_hashes(asked, made_of, context)
    rows: list[VerifiedRow] = [
        {"name": each, "deployed": sha256, "rebuilt": rebuilt.get(each), "same": sha256 == rebuilt.get(each)}
        for each, sha256 in deployed.items()
    ]
    same = all(row["same"] for row in rows)
    answer: Reply = {
        "statusCode": 200,
        "commit": record.commit,
        "ref": record.ref,
        "verify": {"build": record.build_id, "same": same, "components": rows},
    }
    return answer | reply.account(progress)


def _deployed(builds: Builds, request: Request) -> tuple[Record, DeploymentRecord, str | None]:
    """Return the record of the deployed build, its deployment, and the alias."""
    name = request.function or ""
    if request.build is not None:
        record = builds.find(name, request.build)
        if record.deployed is None:
            raise UnknownBuild(f"build {request.build} of {name} has deployed nothing")
        return record, record.deployed, request.alias or record.alias
    for each in builds.records(name, _LOOK_BACK):
        if isinstance(each, Damaged):  # this may be the record of the deployed build
            raise each.error(f"name the build to verify; {RECORD_HINT}")
        if each.deployed is not None and request.alias in (None, each.alias):
            origin = builds.find(name, each.restored) if each.restored else each
            return origin, origin.deployed or each.deployed, request.alias or each.alias
    raise UnknownBuild(f"{name} has no recorded build", hint="deploy it with this builder first")


def _deployed_hashes(name: str, alias: str | None, made_of: DeploymentRecord, context: Context) -> dict[str, str]:
    """Return the sha256 of every component in Lambda."""
    served = read_alias(context.clients, name, alias) if alias else None
    state = read_function(context.clients, name, qualifier=served.version if served else "$LATEST")
    if state is None:
        raise FunctionMissing(f"function {name} does not exist")
    found = {}
    attached = {name_of_layer(arn): arn for arn in state.layers}
    for row in made_of.layers:
        arn = row.arn if row.arn in state.layers else attached.get(row.layer)
        if row.sha256 is not None:
            content = layers.read_content(context.clients, arn) if arn else None
            found[row.component] = content.sha256 if content else ""
    return found | {FUNCTION: state.code_hex}


def _rebuilt_hashes(request: Request, made_of: DeploymentRecord, context: Context) -> dict[str, str]:
    lock = None
    if made_of.lock:
        lock = context.store.read(
            f"pinned/{made_of.lock}.json",
            functools.partial(pinned_lock, lock_id=made_of.lock),
            hint="the build cannot be verified without it; deploy with force, and verify that build",
        )
        if lock is None:
            raise UnknownBuild("the lock of that build is no longer kept")
    with context.progress.phase("look", "looking for the commit"):
        resolved = fetching.resolve(request, context)
    order = Order(
        source=fetching.source_of(request, resolved, context),
        domain=domain_for(request, resolved, context),
        function=request.function or "",
        path=request.path,
        build_file=request.build_file,
        key=request.key,
        stage=request.stage,
        force=True,  # nothing is reused, also not a component with the same key
        fresh=Fresh(runtime=made_of.runtime, architecture=architecture_of(made_of.architecture), lock=lock),
    )
    made = product_of(order, context)
    match made:
        case Unchanged():
            raise AssertionError("the order knows nothing that it could be compared with")
        case Several():
            raise UnknownBuild(
                f"{request.function} was built from a build file with a single function, and it has several now",
                hint="deploy it, and verify that build",
            )
        case Product():
            return {name: artifact.sha256 for name, artifact in made.artifacts.items()}
