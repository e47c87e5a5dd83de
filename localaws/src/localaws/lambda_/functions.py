"""Operations on functions: create, read, update, delete, list."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import replace

from localaws.lambda_.calls import Call
from localaws.lambda_.configuration import changed, check_total_size, created, shown
from localaws.lambda_.model import LATEST, Function, Package, Version
from localaws.lambda_.packages import code_bytes, inspect
from localaws.lambda_.permissions import context
from localaws.wire.errors import (
    InvalidParameterValueException,
    RequestEntityTooLargeException,
    ResourceConflictException,
    function_not_found,
    stale_revision,
)
from localaws.wire.requests import Json

MAX_UPLOAD_BYTES = 70_167_211  # size of the whole request with base64: about 50 MB of zip
_NO_CODE = Package(sha256="0" * 64, size_bytes=0, unzipped_bytes=0)


def create_function(call: Call) -> Json:
    check_upload_size(call, "CreateFunction")
    params = call.params
    name, qualifier = call.reference()
    if qualifier is not None or len(name) > 64:
        raise InvalidParameterValueException(f"{params['FunctionName']} is not a name for a new function.")
    if params.get("Tags"):
        # A creation with tags is also checked as TagResource.
        call.caller.require("lambda:TagResource", call.function_arn(name), context(call))
    package = _package(call, params["Code"])
    with call.region.lock:
        if name in call.region.functions:
            raise ResourceConflictException(f"Function already exist: {name}")
        configuration = created(call, package)
        latest = Version(
            number=LATEST,
            package=package,
            configuration=configuration,
            modified_at=call.now,
            # Not at once: a deployer that does not wait for Active must fail here and not only on AWS.
            settled_at=call.now + call.platform.pending_s,
            created=True,
        )
        function = Function(name=name, account=call.region.account, region=call.region.name, latest=latest)
        function.tags.update(params.get("Tags") or {})
        function.code_signing_arn = params.get("CodeSigningConfigArn")
        call.region.functions[name] = function
        answer = shown(function, latest, call.now)
        if params.get("Publish"):
            answer = shown(function, publish(function, call.now), call.now)
    # Outside of the lock: unpacking takes long, and other requests must not wait for it.
    call.platform.prepare(function, latest)
    return answer


def get_function(call: Call) -> Json:
    function, qualifier = call.function()
    version = resolve(function, qualifier)
    answer: Json = {
        "Configuration": shown(function, version, call.now, qualifier=qualifier),
        "Code": _code(call, version),
    }
    # Tags belong to the function, not to a version (Lambda Developer Guide, configuration-tags).
    if function.tags and qualifier is None:
        answer["Tags"] = dict(function.tags)
    if function.reserved_concurrency is not None:
        answer["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved_concurrency}
    return answer


def get_function_configuration(call: Call) -> Json:
    function, qualifier = call.function()
    return shown(function, resolve(function, qualifier), call.now, qualifier=qualifier)


def update_function_code(call: Call) -> Json:
    check_upload_size(call, "UpdateFunctionCode")
    params = call.params
    function = call.unqualified_function()
    with call.region.lock:
        # Under the lock, so that of two updates with the same RevisionId only one passes.
        check_changeable(function, call)
        package = _package(call, params)
        old = function.latest
        architectures = params.get("Architectures")
        configuration = replace(
            old.configuration,
            architecture=architectures[0] if architectures else old.configuration.architecture,
            image_uri=params.get("ImageUri", old.configuration.image_uri),
        )
        check_total_size(package, configuration.layers)
        new = _next(old, call, package=package, configuration=configuration)
        # Everything is checked and nothing is kept, so the old revision and time are shown.
        if params.get("DryRun"):
            return shown(
                function, replace(new, settled_at=0, modified_at=old.modified_at, revision=old.revision), call.now
            )
        return _roll_out(function, new, call, publishing=bool(params.get("Publish")))


def update_function_configuration(call: Call) -> Json:
    function = call.unqualified_function()
    with call.region.lock:
        check_changeable(function, call)
        old = function.latest
        configuration = changed(call, old.configuration, old.package)
        return _roll_out(function, _next(old, call, configuration=configuration), call)


def delete_function(call: Call) -> Json:
    function, qualifier = call.function()
    with call.region.lock:
        if qualifier is None:
            del call.region.functions[function.name]
            # Nothing would use its environments again.
            call.platform.fleet.discard(function.arn)
        else:
            _delete_version(function, qualifier)
    return {}


def list_functions(call: Call) -> Json:
    functions = sorted(call.region.functions.values(), key=lambda function: function.name)
    shown_functions: list[Json] = []
    for function in functions:
        versions = [function.latest]
        if call.params.get("FunctionVersion") == "ALL":
            versions += function.versions.values()
        shown_functions += (
            shown(
                function,
                version,
                call.now,
                qualifier=LATEST if len(versions) > 1 and version.number == LATEST else None,
                with_state=False,
            )
            for version in versions
        )
    return page(call, "Functions", shown_functions, default=50)


def list_versions_by_function(call: Call) -> Json:
    function, _ = call.function()
    versions = [function.latest, *function.versions.values()]
    entries = [shown(function, version, call.now, qualifier=version.number, with_state=False) for version in versions]
    return page(call, "Versions", entries, default=50)


def publish_version(call: Call) -> Json:
    params = call.params
    function = call.unqualified_function()
    with call.region.lock:
        check_changeable(function, call)
        expected, actual = params.get("CodeSha256"), function.latest.package.code_sha256
        if expected and expected != actual:
            raise InvalidParameterValueException(
                f"CodeSHA256 ({expected}) is different from current CodeSHA256 in $LATEST ({actual}). Please try again "
                "with the CodeSHA256 in $LATEST."
            )
        version = publish(function, call.now, description=params.get("Description"))
        return shown(function, version, call.now)


def publish(function: Function, now: float, *, description: str | None = None) -> Version:
    """Return a version with the content of `$LATEST`: the newest one if nothing has changed since, else a new one."""
    newest = function.versions[max(function.versions)] if function.versions else None
    # Lambda publishes no version if code and configuration are the same as in the last one (Lambda API,
    # PublishVersion).
    if newest is not None and newest.published_from == function.latest.content():
        return newest
    configuration = function.latest.configuration
    if description is not None:
        configuration = replace(configuration, description=description)
    number = function.next_number
    version = Version(
        number=str(number),
        package=function.latest.package,
        configuration=configuration,
        modified_at=now,
        settled_at=function.latest.settled_at,
        created=function.latest.created,
        published_from=function.latest.content(),
    )
    function.versions[number] = version
    # Never from the versions that exist: a deleted number must not come again.
    function.next_number = number + 1
    return version


def resolve(function: Function, qualifier: str | None) -> Version:
    """Return the version that a qualifier (none, `$LATEST`, number, alias) means, without routing weights.

    Raises:
        ResourceNotFoundException: nothing has this qualifier.
    """
    if qualifier is None or qualifier == LATEST:
        return function.latest
    number = function.aliases[qualifier].version if qualifier in function.aliases else qualifier
    if number == LATEST:
        return function.latest
    version = function.versions.get(int(number)) if number.isdigit() else None
    if version is None:
        raise function_not_found(function.qualified(qualifier))
    return version


def check_changeable(function: Function, call: Call) -> None:
    """Raise when the caller's RevisionId is stale (412) or an earlier change is still being rolled out (409)."""
    revision = call.params.get("RevisionId")
    if revision is not None and revision != function.latest.revision:
        raise stale_revision()
    if function.latest.settling(call.now):
        if function.latest.created:
            reason = "The function is currently in the following state: Pending"
        else:
            reason = f"An update is in progress for resource: {function.arn}"
        raise ResourceConflictException(f"The operation cannot be performed at this time. {reason}")


def check_upload_size(call: Call, operation: str) -> None:
    """Raise RequestEntityTooLargeException for a request that AWS's front end refuses because of its size."""
    if len(call.request.body) >= MAX_UPLOAD_BYTES:
        raise RequestEntityTooLargeException(
            f"Request must be smaller than {MAX_UPLOAD_BYTES} bytes for the {operation} operation"
        )


def page(call: Call, member: str, entries: Iterable[Json], *, default: int) -> Json:
    """Return one page of a list answer: MaxItems entries after Marker, and NextMarker when there are more."""
    everything = list(entries)
    marker = call.params.get("Marker")
    start = int(base64.urlsafe_b64decode(marker)) if marker else 0
    # AWS returns at most this many, whatever MaxItems asks for (Lambda API, ListFunctions).
    size = min(call.params.get("MaxItems") or default, default)
    answer: Json = {member: everything[start : start + size]}
    if start + size < len(everything):
        answer["NextMarker"] = base64.urlsafe_b64encode(str(start + size).encode()).decode()
    return answer


def keep(call: Call, code: Json) -> Callable[[], Package]:
    """Check the package of a Code or Content structure; call the result to store it."""
    bucket, key = code.get("S3Bucket"), code.get("S3Key")
    action = "s3:GetObjectVersion" if code.get("S3ObjectVersion") else "s3:GetObject"
    may_read = not (bucket and key) or call.caller.allows(action, f"arn:aws:s3:::{bucket}/{key}")
    content = code_bytes(code, account=call.region.account, region=call.region.name, may_read=may_read)
    inspect(content)
    return lambda: call.platform.packages.add(content)


def _package(call: Call, code: Json) -> Package:
    if code.get("ImageUri"):
        return _NO_CODE
    store = keep(call, code)
    return store()


def _code(call: Call, version: Version) -> Json:
    uri = version.configuration.image_uri
    if uri:
        return {"RepositoryType": "ECR", "ImageUri": uri, "ResolvedImageUri": uri}
    return {"RepositoryType": "S3", "Location": f"{call.platform.endpoint_url}/_localaws/code/{version.package.sha256}"}


def _next(old: Version, call: Call, **changes: object) -> Version:
    """Return `$LATEST` after a change: with a new revision and build, in progress for a while."""
    return Version(
        number=LATEST,
        package=changes.get("package", old.package),  # type: ignore[arg-type]
        configuration=changes.get("configuration", old.configuration),  # type: ignore[arg-type]
        modified_at=call.now,
        settled_at=call.now + call.platform.pending_s,
    )


def _roll_out(function: Function, new: Version, call: Call, *, publishing: bool = False) -> Json:
    # The previous state stays: invokes run it until the new one has settled.
    function.previous, function.latest = function.latest, new
    call.platform.prepare(function, new)
    if publishing:
        return shown(function, publish(function, call.now), call.now)
    return shown(function, new, call.now)


def _delete_version(function: Function, qualifier: str) -> None:
    if qualifier == LATEST:
        raise InvalidParameterValueException("$LATEST version cannot be deleted without deleting the function.")
    if not qualifier.isdigit():
        raise InvalidParameterValueException(f"Deletion of aliases is not currently supported: {qualifier}")
    version = resolve(function, qualifier)
    # Also an alias that sends it a share only (Lambda API, DeleteFunction).
    users = [alias.name for alias in function.aliases.values() if version.number in (alias.version, *alias.weights)]
    if users:
        raise ResourceConflictException(
            f"Version {qualifier} of {function.arn} is referenced by alias {', '.join(sorted(users))} "
            "and cannot be deleted."
        )
    del function.versions[int(qualifier)]
