"""Pure: from what is wanted and what is there to the steps between, each with the sentence that people read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bootstrap.changes import (
    AllowSetUp,
    CreateFunction,
    DeleteFunction,
    DeleteLayers,
    DeleteLogGroup,
    DeleteRole,
    DeleteSecret,
    EmptyBucket,
    EndSetUp,
    MakeBucket,
    MakeLogGroup,
    NeverRepeat,
    PublishStarter,
    PutLifecycle,
    PutRole,
    PutSecret,
    SetUp,
    Step,
    UpdateCode,
    UpdateConfiguration,
)
from bootstrap.config import Config
from bootstrap.lifecycle import rules, same
from bootstrap.login_sections import expanded
from bootstrap.names import Names
from bootstrap.package import Package
from bootstrap.policy import TRUST, Document, Scope, policy
from bootstrap.state import FunctionSettings, FunctionState, GitSecret, LayerVersion, Present
from builder.errors import InvalidConfiguration
from builder.logins import Logins
from builder.toolchains.catalogue import text_of

_HANDLER = "builder.handler.handler"
_DESCRIPTION = "Lambdasmith: builds and deploys Lambda functions"
# Begins the description of every version that the bootstrap publishes; the key of its content follows.
STARTER = "lambdasmith starter layer"
_ENVIRONMENT_PREFIX = "LAMBDASMITH_"
# Lambda allows 4,096 bytes for all of a function's variables; somebody else may have added some.
_MAX_VARIABLES = 3_900
# Of all inline policies of a role together, blanks not counted.
_MAX_POLICY = 10_240


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the account shall look like."""

    names: Names
    secret: GitSecret | None
    policy: Document
    setup_policy: Document  # for as long as `setup` runs
    boundary: str | None  # ARN of the role's permissions boundary; None where it stays as it is
    architecture: str
    settings: FunctionSettings
    package: Package
    starter: str  # description of the starter layer's version


def wanted(config: Config, names: Names, package: Package) -> Wanted:
    """What `config` asks for, spelled out."""
    roles = tuple(role for role in (config.role, *config.roles) if role)
    secret = None
    if config.git_token:
        # Forges take any user name beside a token; this one is what GitHub Apps use.
        username = config.git_username or "x-access-token"
        secret = GitSecret(username=username, token=config.git_token, email=config.git_email or "")
    scope = Scope(
        functions=config.functions,
        roles=roles,
        logins=_logins(config, names),
        code_signing=config.code_signing,
        tag=config.tag,
    )
    standing, setup = (policy(names, scope, setting_up=setting_up) for setting_up in (False, True))
    if (size := len(json.dumps(setup, separators=(",", ":")))) > _MAX_POLICY:
        raise InvalidConfiguration(
            f"the policy of role {names.role} would have {size:,} characters; IAM allows {_MAX_POLICY:,}",
            hint="name functions, roles and secrets by patterns (shop-*) instead of one by one",
        )
    return Wanted(
        names=names,
        secret=secret,
        policy=standing,
        setup_policy=setup,
        boundary=names.policy_arn_of(config.permissions_boundary) if config.permissions_boundary else None,
        architecture=config.architecture,
        settings=FunctionSettings(
            runtime=config.runtime,
            handler=_HANDLER,
            role=names.role_arn,
            memory_mb=config.memory_mb,
            timeout_s=config.timeout_s,
            ephemeral_storage_mb=config.ephemeral_storage_mb,
            description=_DESCRIPTION,
            environment=_environment(config, names),
        ),
        package=package,
        starter=f"{STARTER} {package.starter_key[:32]}",
    )


def functions_of(present: Present) -> tuple[str, ...]:
    """The functions that the builder may deploy now."""
    there = present.function.settings.environment if present.function and present.function.made_here else {}
    return tuple(filter(None, there.get(f"{_ENVIRONMENT_PREFIX}FUNCTIONS", "").split(",")))


def _environment(config: Config, names: Names) -> dict[str, str]:
    values = {
        "BUCKET": names.bucket,
        "PREFIX": names.prefix,
        "LAYER": names.layer,
        "GIT_BASE": config.git_base or "",
        "GIT_USERNAME": config.git_username or "",
        "GIT_HOSTS": ",".join(config.git_hosts),
        "CA_BUNDLE": config.ca_bundle or "",
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
    }
    variables = {_ENVIRONMENT_PREFIX + name: value for name, value in values.items() if value}
    size = sum(len(name.encode()) + len(value.encode()) for name, value in variables.items())
    if size > _MAX_VARIABLES:
        raise InvalidConfiguration(
            f"the configuration takes {size:,} bytes of the function's variables; there is room for {_MAX_VARIABLES:,}",
            hint="shorten ca_bundle, name functions, roles and projects by patterns, or have fewer [toolchain …]",
        )
    return variables


def _logins(config: Config, names: Names) -> Logins:
    return expanded(config.logins, account=names.place.account, region=names.place.region)


def converge(want: Wanted, present: Present) -> tuple[Step, ...]:
    """The steps from `present` to `want`, in the order in which they are shown; none if nothing differs.

    Raises:
        InvalidConfiguration: something of the same name is there that setup.py did not make.
    """
    _refuse_strangers(want.names, present)
    function = _function(want, present)
    role = present.role
    # An interrupted run has left it so, and `setup` goes on from there.
    opened = (
        role is not None
        and (role.policy, role.trust) == (want.setup_policy, TRUST)
        and want.boundary in (role.boundary, None)
    )
    setting_up = any(isinstance(step, SetUp) for step in function)
    steps = _surroundings(want, present, keep_role=opened and setting_up)
    for step in function:
        if isinstance(step, SetUp) and not opened:
            steps.append(_allow_set_up(want))
        steps.append(step)
        if isinstance(step, SetUp):
            steps.append(_end_set_up(want))
    return tuple(steps)


def _allow_set_up(want: Wanted) -> AllowSetUp:
    names = want.names
    text = f"let role {names.role} change function {names.function} and its layer, for the next step alone"
    return AllowSetUp(sentence=text, function=names.function, role=names.role, policy=want.setup_policy)


def _end_set_up(want: Wanted) -> EndSetUp:
    names = want.names
    text = f"forbid role {names.role} again to change function {names.function} and its layer"
    return EndSetUp(sentence=text, function=names.function, role=names.role, policy=want.policy)


def _refuse_strangers(names: Names, present: Present) -> None:
    found = {
        f"function {names.function}": present.function,
        f"role {names.role}": present.role,
        f"secret {names.secret}": present.secret,
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
    bucket, role, secret = present.bucket, present.role, present.secret
    if bucket is None:
        text = f"make bucket {names.bucket} (versioned, encrypted, not public)"
        steps.append(MakeBucket(sentence=text, bucket=names.bucket, create=True))
    elif bucket.made_here and not (bucket.versioned and bucket.private and bucket.encrypted):
        text = f"make bucket {names.bucket} versioned, encrypted and not public"
        steps.append(MakeBucket(sentence=text, bucket=names.bucket, create=False))
    kept = rules(names)
    if bucket is None or not same(bucket.rules, kept):
        text = f"let S3 remove below s3://{names.bucket}/{names.prefix} what can be made again, and old versions"
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
    bounded = role is not None and want.boundary in (role.boundary, None)
    if role is None or not bounded or not (keep_role or (role.policy, role.trust) == (want.policy, TRUST)):
        verb = "make" if role is None else "bring up to date"
        steps.append(
            PutRole(
                sentence=f"{verb} role {names.role} with only what the builder needs",
                role=names.role,
                create=role is None,
                trust=TRUST,
                policy=want.policy,
                boundary=want.boundary,
            )
        )
    if present.log_group is None:
        steps.append(MakeLogGroup(sentence=f"make log group {names.log_group}", group=names.log_group))
    return steps


def _function(want: Wanted, present: Present) -> list[Step]:
    function, names = present.function, want.names
    settings = _settings(want, present)
    if function is None or function.state == "Failed":
        return _new_function(want, present, settings)
    steps = list[Step]()
    own = [layer for layer in function.layers if layer.startswith(f"{names.layer_arn}:")]
    moved = function.settings.runtime != settings.runtime or function.architecture != want.architecture
    layer: str | None = None
    if moved or not own:
        # Wheels of the old runtime cannot be loaded by the new one: back to the layer that `setup` starts from.
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
    """The starter layer's ARN if it is there already, else an empty string and the step that publishes it."""
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
    """The function's settings, with variables that somebody else has added to its environment."""
    environment = dict(want.settings.environment)
    if want.secret or (present.secret and present.secret.made_here and not present.secret.deleted):
        environment[_ENVIRONMENT_PREFIX + "GIT_SECRET"] = want.names.secret
    if present.function is not None:
        there = present.function.settings.environment
        environment |= {name: value for name, value in there.items() if not name.startswith(_ENVIRONMENT_PREFIX)}
    return replace(want.settings, environment=environment)


_TITLES: Mapping[str, str] = {
    "memory_mb": "memory",
    "timeout_s": "timeout",
    "ephemeral_storage_mb": "ephemeral storage",
}


def _differences(there: FunctionSettings, wanted: FunctionSettings) -> list[str]:
    """Names of the settings that differ, for people."""
    return [
        _TITLES.get(name, name)
        for name in FunctionSettings.__dataclass_fields__
        if getattr(there, name) != getattr(wanted, name)
    ]


def remove(names: Names, present: Present) -> tuple[Step, ...]:
    """The steps that take away what `init` made, and nothing else."""
    steps = list[Step]()
    function: FunctionState | None = present.function
    if function and function.made_here:
        steps.append(DeleteFunction(sentence=f"delete function {names.function}", function=names.function))
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
    """Whether a bucket that init did not make has content of this builder: only then its role may write there."""
    role = present.role
    allowed = json.dumps(role.policy) if role and role.made_here else ""
    used = present.bucket is not None and present.bucket.used
    return used and f":s3:::{names.bucket}/{names.prefix}*" in allowed


def _layers_step(names: Names, versions: Sequence[LayerVersion]) -> DeleteLayers:
    count = len(versions)
    text = f"delete {'the only version' if count == 1 else f'all {count} versions'} of layer {names.layer}"
    numbers = tuple(version.version for version in versions)
    return DeleteLayers(sentence=text, layer=names.layer, versions=numbers)
