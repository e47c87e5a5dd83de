"""Pure functions from the wanted and the present state to the steps between, each with a sentence for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bootstrap.changes import (
    AllowSetUp,
    AttachToWorker,
    CreateFunction,
    CreateWorker,
    DeleteFunction,
    DeleteLayers,
    DeleteLogGroup,
    DeleteRole,
    DeleteSecret,
    DeleteStoreRole,
    DeleteWorker,
    DeleteWorkerLogGroup,
    DeleteWorkerRole,
    EmptyBucket,
    EndSetUp,
    MakeBucket,
    MakeLogGroup,
    MakeWorkerLogGroup,
    NeverRepeat,
    NeverRepeatWorker,
    PublishStarter,
    PutLifecycle,
    PutRole,
    PutSecret,
    PutStoreRole,
    PutWorkerRole,
    ReplaceWorker,
    SetUp,
    Step,
    UpdateCode,
    UpdateConfiguration,
    UpdateWorkerCode,
    UpdateWorkerConfiguration,
)
from bootstrap.config import Config, Isolation
from bootstrap.lifecycle import rules, same
from bootstrap.login_sections import expanded
from bootstrap.names import Names
from bootstrap.package import Package
from bootstrap.policy.roles import TRUST, policy, store_grants, store_trust, worker_grants
from bootstrap.policy.scope import Scope
from bootstrap.policy.statements import Document, document
from bootstrap.state import FunctionSettings, FunctionState, GitSecret, LayerVersion, Present, RoleState
from builder.errors import InvalidConfiguration
from builder.secrets.logins import Logins
from builder.toolchains.catalogue import text_of

_HANDLER = "builder.handler.handler"
_DESCRIPTION = "Lambdasmith: builds and deploys Lambda functions"
_WORKER_HANDLER = "builder.worker.handler"
_WORKER_DESCRIPTION = "Lambdasmith: runs the code of the projects that are built"
# Start of the description of every version that the bootstrap publishes; the key of its content follows.
STARTER = "lambdasmith starter layer"
_ENVIRONMENT_PREFIX = "LAMBDASMITH_"
# Lambda allows 4,096 bytes for all of a function's variables; someone else may have added some.
_MAX_VARIABLES = 3_900
# Limit of all inline policies of a role together, without blanks.
_MAX_POLICY = 10_240


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The wanted state of the account."""

    names: Names
    secret: GitSecret | None
    policy: Document
    setup_policy: Document  # while `setup` runs
    boundary: str | None  # ARN of the role's permissions boundary; None leaves it unchanged
    architecture: str
    settings: FunctionSettings
    package: Package
    starter: str  # description of the starter layer's version
    worker: FunctionSettings | None = None  # with `isolation = split`
    expire_days: int = 0  # of artifacts


def wanted(config: Config, names: Names, package: Package) -> Wanted:
    """Return the wanted state for `config`."""
    roles = tuple(role for role in (config.role, *config.roles) if role)
    secret = None
    if config.git_token:
        # Forges accept any user name with a token; GitHub Apps use this one.
        username = config.git_username or "x-access-token"
        secret = GitSecret(username=username, token=config.git_token, email=config.git_email or "")
    scope = Scope(
        functions=config.functions,
        roles=roles,
        logins=_logins(config, names),
        code_signing=config.code_signing,
        tag=config.tag,
        split=config.isolation == "split",
    )
    standing, setup = (policy(names, scope, setting_up=setting_up) for setting_up in (False, True))
    if (size := len(json.dumps(setup, separators=(",", ":")))) > _MAX_POLICY:
        raise InvalidConfiguration(
            f"the policy of role {names.role} would have {size:,} characters; IAM allows {_MAX_POLICY:,}",
            hint="name functions, roles and secrets by patterns (shop-*) instead of one by one",
        )
    settings = FunctionSettings(
        runtime=config.runtime,
        handler=_HANDLER,
        role=names.role_arn,
        memory_mb=config.memory_mb,
        timeout_s=config.timeout_s,
        ephemeral_storage_mb=config.ephemeral_storage_mb,
        description=_DESCRIPTION,
        environment=_environment(config, names),
    )
    worker = replace(
        settings,
        handler=_WORKER_HANDLER,
        role=names.role_arn_of(names.worker_role),
        description=_WORKER_DESCRIPTION,
        environment=_worker_environment(scope.logins, settings.environment),
    )
    return Wanted(
        names=names,
        secret=secret,
        policy=standing,
        setup_policy=setup,
        boundary=names.policy_arn_of(config.permissions_boundary) if config.permissions_boundary else None,
        architecture=config.architecture,
        settings=settings,
        package=package,
        starter=f"{STARTER} {package.starter_key[:32]}",
        worker=worker if scope.split else None,
        expire_days=config.expire_days or 0,
    )


def own_layer(names: Names, present: Present) -> str:
    """Return the ARN of the builder's own layer that its function uses, or an empty string."""
    layers = present.function.layers if present.function else ()
    return next((layer for layer in layers if layer.startswith(f"{names.layer_arn}:")), "")


def isolation_of(present: Present) -> Isolation:
    """Return the present setting `isolation`."""
    there = present.function.settings.environment if present.function else {}
    return "split" if there.get(f"{_ENVIRONMENT_PREFIX}WORKER") else "shared"


def functions_of(present: Present) -> tuple[str, ...]:
    """Return the functions that the builder may deploy now."""
    there = present.function.settings.environment if present.function and present.function.made_here else {}
    return tuple(filter(None, there.get(f"{_ENVIRONMENT_PREFIX}FUNCTIONS", "").split(",")))


def expire_days_of(present: Present) -> int:
    """Return the days until artifacts expire now; 0 is never."""
    there = present.function.settings.environment if present.function and present.function.made_here else {}
    days = there.get(f"{_ENVIRONMENT_PREFIX}EXPIRE_DAYS", "")
    return int(days) if days.isdecimal() else 0


def _environment(config: Config, names: Names) -> dict[str, str]:
    values = {
        "BUCKET": names.bucket,
        "PREFIX": names.prefix,
        "LAYER": names.layer,
        "GIT_BASE": config.git_base or "",
        "GIT_USERNAME": config.git_username or "",
        "GIT_HOSTS": ",".join(config.git_hosts),
        "CA_BUNDLE": config.ca_bundle or "",
        "ARCHIVE_CACHES": ",".join(config.archive_caches),
        "INDEX_URL": config.index_url or "",
        "GO_PROXY": config.go_proxy or "",
        "NPM_REGISTRY": config.npm_registry or "",
        "CREDENTIALS": _logins(config, names).text(),
        "TOOLCHAINS": text_of(config.toolchains),
        "ROLE": names.role_arn_of(config.role) if config.role else "",
        "FUNCTIONS": ",".join(config.functions),
        "ROLES": ",".join(dict.fromkeys(names.role_arn_of(role) for role in (config.role, *config.roles) if role)),
        "OWN_ROLES": ",".join(names.own_role_arns),
        "CODE_SIGNING": ",".join(config.code_signing),
        "TAG": "=".join(config.tag or ()),
        "STATUS": config.status if config.status != "all" else "",
        "EXPIRE_DAYS": str(config.expire_days or ""),
    }
    if config.isolation == "split":
        values |= {"WORKER": names.worker, "WORKER_ROLE": names.role_arn_of(names.store_role)}
    variables = {_ENVIRONMENT_PREFIX + name: value for name, value in values.items() if value}
    size = sum(len(name.encode()) + len(value.encode()) for name, value in variables.items())
    if size > _MAX_VARIABLES:
        raise InvalidConfiguration(
            f"the configuration takes {size:,} bytes of the function's variables; there is room for {_MAX_VARIABLES:,}",
            hint="shorten ca_bundle, name functions, roles and projects by patterns, or have fewer [toolchain …]",
        )
    return variables


# Variables of the builder that the worker also needs; logins are sent with each order that may have them.
_OF_THE_WORKER = (
    *("BUCKET", "PREFIX", "GIT_BASE", "GIT_HOSTS", "CA_BUNDLE", "INDEX_URL", "GO_PROXY", "NPM_REGISTRY", "TOOLCHAINS"),
)


def _worker_environment(logins: Logins, builders: Mapping[str, str]) -> dict[str, str]:
    variables = {_ENVIRONMENT_PREFIX + name: builders.get(_ENVIRONMENT_PREFIX + name, "") for name in _OF_THE_WORKER}
    variables[_ENVIRONMENT_PREFIX + "CREDENTIALS"] = Logins(indexes=logins.indexes).text()
    return {name: value for name, value in variables.items() if value}


def _logins(config: Config, names: Names) -> Logins:
    return expanded(config.logins, account=names.place.account, region=names.place.region)


def converge(want: Wanted, present: Present) -> tuple[Step, ...]:
    """Return the steps from `present` to `want`, in the order in which they are shown; none if nothing differs.

    Raises:
        InvalidConfiguration: a resource of the same name exists that setup.py did not make.
    """
    _refuse_strangers(want, present)
    function = _function(want, present)
    role = present.role
    # An interrupted run has left this state, and `setup` continues from it.
    opened = (
        role is not None
        and (role.policy, role.trust) == (want.setup_policy, TRUST)
        and want.boundary in (role.boundary, None)
    )
    setting_up = any(isinstance(step, SetUp) for step in function)
    steps = _surroundings(want, present, keep_role=opened and setting_up)
    if want.worker is not None:
        steps += _worker(want, present, want.worker, setting_up=setting_up)
    for step in function:
        if isinstance(step, SetUp) and not opened:
            steps.append(_allow_set_up(want))
        steps.append(step)
        if isinstance(step, SetUp):
            steps.append(_end_set_up(want))
    if want.worker is None:
        steps += _remove_worker(want.names, present)
    elif setting_up:
        steps.append(_attach_to_worker(want.names))
    return tuple(steps)


def _allow_set_up(want: Wanted) -> AllowSetUp:
    names = want.names
    text = f"let role {names.role} change function {names.function} and its layer, for the next step alone"
    return AllowSetUp(sentence=text, function=names.function, role=names.role, policy=want.setup_policy)


def _end_set_up(want: Wanted) -> EndSetUp:
    names = want.names
    text = f"forbid role {names.role} again to change function {names.function} and its layer"
    return EndSetUp(sentence=text, function=names.function, role=names.role, policy=want.policy)


def _refuse_strangers(want: Wanted, present: Present) -> None:
    names = want.names
    found = {
        f"function {names.function}": present.function,
        f"role {names.role}": present.role,
        f"secret {names.secret}": present.secret,
    }
    if want.worker is not None:
        found |= {
            f"function {names.worker}": present.worker.function,
            f"role {names.worker_role}": present.worker.role,
            f"role {names.store_role}": present.worker.store_role,
        }
    problems = [f"{what} exists, but setup.py did not make it" for what, it in found.items() if it and not it.made_here]
    if problems:
        raise InvalidConfiguration(
            problems[0] if len(problems) == 1 else "the names are taken",
            hint="choose another function_name, or remove what is in the way",
            problems=problems if len(problems) > 1 else (),
        )


def _surroundings(want: Wanted, present: Present, *, keep_role: bool) -> list[Step]:
    names, steps = want.names, list[Step]()
    bucket, secret = present.bucket, present.secret
    if bucket is None:
        text = f"make bucket {names.bucket} (versioned, encrypted, not public)"
        steps.append(MakeBucket(sentence=text, bucket=names.bucket, create=True))
    elif bucket.made_here and not (bucket.versioned and bucket.private and bucket.encrypted):
        text = f"make bucket {names.bucket} versioned, encrypted and not public"
        steps.append(MakeBucket(sentence=text, bucket=names.bucket, create=False))
    kept = rules(names, expire_days=want.expire_days)
    if bucket is None or not same(bucket.rules, kept):
        text = f"let S3 remove below s3://{names.bucket}/{names.prefix} what can be made again, and old versions"
        if want.expire_days:
            text += f", and built zips {want.expire_days} days after their last use"
        steps.append(PutLifecycle(sentence=text, bucket=names.bucket, rules=kept))
    if want.secret and (secret is None or secret.deleted or not secret.current):
        verb = "put the git token into" if secret is None or secret.deleted else "update the git token in"
        steps.append(
            PutSecret(
                sentence=f"{verb} secret {names.secret}",
                secret=names.secret,
                value=want.secret,
                create=secret is None,
                restore=bool(secret and secret.deleted),
            )
        )
    if not keep_role:
        what, description = "with only what the builder needs", f"What the builder {names.function} may do"
        steps += _role(PutRole, names.role, present.role, TRUST, want.policy, what, description, want.boundary)
    if present.log_group is None:
        steps.append(MakeLogGroup(sentence=f"make log group {names.log_group}", group=names.log_group))
    return steps


def _role(
    kind: type[PutRole],
    name: str,
    there: RoleState | None,
    trust: Document,
    policy: Document,
    what: str,
    description: str,
    boundary: str | None,
) -> list[Step]:
    """Yield the step that brings a role to its wanted state, unless it has that."""
    if there is not None and (there.policy, there.trust) == (policy, trust) and boundary in (there.boundary, None):
        return []
    sentence = f"{'make' if there is None else 'bring up to date'} role {name} {what}"
    return [
        kind(
            sentence=sentence,
            role=name,
            create=there is None,
            description=description,
            trust=trust,
            policy=policy,
            boundary=boundary,
        )
    ]


def _worker(want: Wanted, present: Present, settings: FunctionSettings, *, setting_up: bool) -> list[Step]:
    """Yield the steps to the wanted worker, except for the layer that `setup` is about to make."""
    names, there = want.names, present.worker
    steps = [
        *_role(
            PutWorkerRole,
            names.worker_role,
            there.role,
            TRUST,
            document(worker_grants(names)),
            "with which the worker can write its log and know its orders",
            f"What the worker of the builder {names.function} may do by itself",
            want.boundary,
        ),
        *_role(
            PutStoreRole,
            names.store_role,
            there.store_role,
            store_trust(names),
            document(store_grants(names)),
            "of which the builder lends the worker a part for each build",
            f"What the builder {names.function} may lend to its worker",
            want.boundary,
        ),
    ]
    if there.log_group is None:
        text = f"make log group {names.worker_log_group}"
        steps.append(MakeWorkerLogGroup(sentence=text, group=names.worker_log_group))
    return steps + _worker_function(want, present, settings, setting_up=setting_up)


def _worker_function(want: Wanted, present: Present, settings: FunctionSettings, *, setting_up: bool) -> list[Step]:
    names, function, steps = want.names, present.worker.function, list[Step]()
    name, architecture = names.worker, want.architecture
    own = own_layer(names, present)
    never_repeat = NeverRepeatWorker(
        sentence=f"tell Lambda never to repeat a failed invocation of function {name} by itself", function=name
    )
    # Tenant isolation can be set only when a function is created.
    if function is None or function.state == "Failed" or not function.per_tenant:
        if function is not None:
            text = f"remove function {name}, which does not keep trust domains apart"
            steps.append(ReplaceWorker(sentence=text, function=name))
        return [
            *steps,
            CreateWorker(
                sentence=f"create function {name}, in which the projects' code runs, like the builder",
                function=name,
                layer=own if own and not _moved(want, present) else _starter(want, present)[0],
                architecture=architecture,
                settings=settings,
                per_tenant=True,
                code=want.package.code,
            ),
            never_repeat,
        ]
    settings = replace(settings, environment={**_others(function.settings.environment), **settings.environment})
    changed = _differences(function.settings, settings)
    others = tuple(layer for layer in function.layers if not layer.startswith(f"{names.layer_arn}:"))
    layer = own if own and own not in function.layers and not setting_up else None
    if changed or layer is not None:
        listed = ", ".join([*changed, *(["layers"] if layer is not None else [])])
        steps.append(
            UpdateWorkerConfiguration(
                sentence=f"update the configuration of function {name}: {listed}",
                function=name,
                settings=settings,
                layer=layer,
                layers=others,
            )
        )
    if function.code_sha256 != want.package.code_sha256 or function.architecture != architecture:
        text = f"update the code of function {name}"
        steps.append(UpdateWorkerCode(sentence=text, function=name, architecture=architecture, code=want.package.code))
    if not function.retries_decided:
        steps.append(never_repeat)
    return steps


def _moved(want: Wanted, present: Present) -> bool:
    """Return whether the builder changes to another runtime or architecture, which its layer does not fit."""
    function = present.function
    return function is not None and (
        function.settings.runtime != want.settings.runtime or function.architecture != want.architecture
    )


def _attach_to_worker(names: Names) -> AttachToWorker:
    text = f"attach the layer of function {names.function} to function {names.worker}"
    return AttachToWorker(sentence=text, builder=names.function, function=names.worker, layer=names.layer_arn)


def _remove_worker(names: Names, present: Present) -> list[Step]:
    """Return the steps that remove the resources of `isolation = split`."""
    there, steps = present.worker, list[Step]()
    if there.function and there.function.made_here:
        steps.append(DeleteWorker(sentence=f"delete function {names.worker}", function=names.worker))
    if there.store_role and there.store_role.made_here:
        text = f"delete role {names.store_role} and its policy"
        steps.append(DeleteStoreRole(sentence=text, role=names.store_role))
    if there.role and there.role.made_here:
        text = f"delete role {names.worker_role} and its policy"
        steps.append(DeleteWorkerRole(sentence=text, role=names.worker_role))
    if there.log_group and there.log_group.made_here:
        text = f"delete log group {names.worker_log_group}"
        steps.append(DeleteWorkerLogGroup(sentence=text, group=names.worker_log_group))
    return steps


def _function(want: Wanted, present: Present) -> list[Step]:
    function, names = present.function, want.names
    settings = _settings(want, present)
    if function is None or function.state == "Failed":
        return _new_function(want, present, settings)
    steps = list[Step]()
    own = [layer for layer in function.layers if layer.startswith(f"{names.layer_arn}:")]
    moved = _moved(want, present)
    layer: str | None = None
    if moved or not own:
        # The new runtime cannot load wheels for the old one, so `setup` must start from the starter layer again.
        layer, publish = _starter(want, present)
        steps += publish
    changed = _differences(function.settings, settings)
    if changed or layer is not None:
        listed = ", ".join([*changed, *(["layers"] if layer is not None else [])])
        others = tuple(layer for layer in function.layers if layer not in own)
        steps.append(
            UpdateConfiguration(
                sentence=f"update the configuration of function {names.function}: {listed}",
                function=names.function,
                settings=settings,
                layer=layer,
                layers=others,
            )
        )
    if function.code_sha256 != want.package.code_sha256 or function.architecture != want.architecture:
        steps.append(
            UpdateCode(
                sentence=f"update the code of function {names.function}",
                function=names.function,
                architecture=want.architecture,
                code=want.package.code,
            )
        )
    if not function.retries_decided:
        steps.append(_never_repeat(names))
    ping = present.ping
    if moved or not own or ping is None or not ping.ready or ping.layer_key != want.package.layer_key:
        steps.append(_set_up(want))
    return steps


def _new_function(want: Wanted, present: Present, settings: FunctionSettings) -> list[Step]:
    names, steps = want.names, list[Step]()
    if present.function is not None:
        text = f"remove function {names.function}, whose creation failed"
        steps.append(DeleteFunction(sentence=text, function=names.function))
    layer, publish = _starter(want, present)
    text = (
        f"create function {names.function} ({settings.runtime}, {want.architecture}, {settings.memory_mb} MB, "
        f"{settings.timeout_s} s, /tmp {settings.ephemeral_storage_mb} MB)"
    )
    return [
        *steps,
        *publish,
        CreateFunction(
            sentence=text,
            function=names.function,
            layer=layer,
            architecture=want.architecture,
            settings=settings,
            code=want.package.code,
        ),
        _never_repeat(names),
        _set_up(want),
    ]


def _never_repeat(names: Names) -> NeverRepeat:
    text = f"tell Lambda never to repeat a failed invocation of function {names.function} by itself"
    return NeverRepeat(sentence=text, function=names.function)


def _starter(want: Wanted, present: Present) -> tuple[str, list[Step]]:
    """Return the starter layer's ARN if it exists, else an empty string and the step that publishes it."""
    runtime = want.settings.runtime
    for version in present.layers:
        if version.description == want.starter and runtime in version.runtimes:
            return version.arn, []
    text = f"publish {want.names.layer} with boto3 and pip"
    step = PublishStarter(sentence=text, layer=want.names.layer, description=want.starter, runtime=runtime)
    return "", [step]


def _set_up(want: Wanted) -> SetUp:
    return SetUp(
        sentence=f"let function {want.names.function} install its own dependencies",
        function=want.names.function,
        layer_key=want.package.layer_key,
    )


def _settings(want: Wanted, present: Present) -> FunctionSettings:
    """Return the function's settings, with variables that someone else has added to its environment."""
    environment = dict(want.settings.environment)
    if want.secret or (present.secret and present.secret.made_here and not present.secret.deleted):
        environment[_ENVIRONMENT_PREFIX + "GIT_SECRET"] = want.names.secret
    if present.function is not None:
        environment |= _others(present.function.settings.environment)
    return replace(want.settings, environment=environment)


def _others(there: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that someone else has added."""
    return {name: value for name, value in there.items() if not name.startswith(_ENVIRONMENT_PREFIX)}


_TITLES: Mapping[str, str] = {
    "memory_mb": "memory",
    "timeout_s": "timeout",
    "ephemeral_storage_mb": "ephemeral storage",
}


def _differences(there: FunctionSettings, wanted: FunctionSettings) -> list[str]:
    """Return the names of the settings that differ, for people."""
    return [
        _TITLES.get(name, name)
        for name in FunctionSettings.__dataclass_fields__
        if getattr(there, name) != getattr(wanted, name)
    ]


def remove(names: Names, present: Present) -> tuple[Step, ...]:
    """Return the steps that remove the resources that `init` made, and nothing else."""
    steps = list[Step]()
    function: FunctionState | None = present.function
    if function and function.made_here:
        steps.append(DeleteFunction(sentence=f"delete function {names.function}", function=names.function))
    steps += _remove_worker(names, present)
    if present.layers:
        steps.append(_layers_step(names, present.layers))
    if present.role and present.role.made_here:
        steps.append(DeleteRole(sentence=f"delete role {names.role} and its policy", role=names.role))
    if present.secret and present.secret.made_here and not present.secret.deleted:
        text = f"delete secret {names.secret} at once, without a recovery window (the token itself stays valid)"
        steps.append(DeleteSecret(sentence=text, secret=names.secret))
    if present.log_group and present.log_group.made_here:
        steps.append(DeleteLogGroup(sentence=f"delete log group {names.log_group}", group=names.log_group))
    if present.bucket is not None and (present.bucket.made_here or _filled_by_us(names, present)):
        mine = present.bucket.made_here
        text = f"delete everything below s3://{names.bucket}/{names.prefix}"
        text += ", then the bucket if nothing else is in it" if mine else " (the bucket stays: init did not make it)"
        steps.append(EmptyBucket(sentence=text, bucket=names.bucket, prefix=names.prefix, delete_bucket=mine))
    if present.bucket is not None and present.bucket.rules:
        text = f"delete the lifecycle rules of s3://{names.bucket}/{names.prefix}"
        steps.append(PutLifecycle(sentence=text, bucket=names.bucket, rules=()))
    return tuple(steps)


def _filled_by_us(names: Names, present: Present) -> bool:
    """Return whether a bucket that init did not make has content of this builder: its role proves that."""
    role = present.role
    allowed = json.dumps(role.policy) if role and role.made_here else ""
    used = present.bucket is not None and present.bucket.used
    return used and f":s3:::{names.bucket}/{names.prefix}*" in allowed


def _layers_step(names: Names, versions: Sequence[LayerVersion]) -> DeleteLayers:
    count = len(versions)
    text = f"delete {'the only version' if count == 1 else f'all {count} versions'} of layer {names.layer}"
    numbers = tuple(version.version for version in versions)
    return DeleteLayers(sentence=text, layer=names.layer, versions=numbers)
