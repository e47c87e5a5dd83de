"""Wanted state of the account: what config.ini asks for, as the settings and policies of AWS."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bootstrap.config.login_sections import expanded
from bootstrap.config.settings import Config
from bootstrap.fan_out import definition
from bootstrap.names import Names
from bootstrap.package import Package
from bootstrap.policy.roles import policy
from bootstrap.policy.scope import Scope
from bootstrap.policy.statements import Document
from bootstrap.state import FunctionSettings, GitSecret
from builder.errors import InvalidConfiguration
from builder.secrets.logins import Logins
from builder.toolchains.catalogue import text_of

_HANDLER = "builder.handler.handler"
_DESCRIPTION = "Lambdasmith: builds and deploys Lambda functions"
_WORKER_HANDLER = "builder.worker.handler"
_WORKER_DESCRIPTION = "Lambdasmith: runs the code of the projects that are built"
# Start of the description of every version that the bootstrap publishes; the key of its content follows.
STARTER = "lambdasmith starter layer"
ENVIRONMENT_PREFIX = "LAMBDASMITH_"
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
    machine: str = ""  # definition of the state machine, with `fan_out = on`


def wanted(config: Config, names: Names, package: Package) -> Wanted:
    """Return the wanted state for `config`."""
    scope = _scope(config, names)
    # The larger one is measured: with `setup` it has two statements more. IAM counts no blanks (IAM User Guide,
    # reference_iam-quotas).
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
        secret=_git_secret(config),
        policy=standing,
        setup_policy=setup,
        boundary=names.policy_arn_of(config.permissions_boundary) if config.permissions_boundary else None,
        architecture=config.architecture,
        settings=settings,
        package=package,
        starter=f"{STARTER} {package.starter_key[:32]}",
        worker=worker if scope.split else None,
        expire_days=config.expire_days or 0,
        machine=definition(names, config.fan_out_concurrency) if config.fan_out else "",
    )


def _scope(config: Config, names: Names) -> Scope:
    return Scope(
        functions=config.functions,
        roles=tuple(role for role in (config.role, *config.roles) if role),
        logins=_logins(config, names),
        code_signing=config.code_signing,
        tag=config.tag,
        split=config.isolation == "split",
        fan_out=config.fan_out,
    )


def _git_secret(config: Config) -> GitSecret | None:
    if not config.git_token:
        return None
    # Forges accept any user name with a token; GitHub Apps use this one.
    username = config.git_username or "x-access-token"
    return GitSecret(username=username, token=config.git_token, email=config.git_email or "")


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
    if config.fan_out:
        values |= {
            "FAN_OUT": names.machine_arn,
            "FAN_OUT_FROM": str(config.fan_out_from),
            "FAN_OUT_CONCURRENCY": str(config.fan_out_concurrency),
        }
    variables = {ENVIRONMENT_PREFIX + name: value for name, value in values.items() if value}
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
    variables = {ENVIRONMENT_PREFIX + name: builders.get(ENVIRONMENT_PREFIX + name, "") for name in _OF_THE_WORKER}
    variables[ENVIRONMENT_PREFIX + "CREDENTIALS"] = Logins(indexes=logins.indexes).text()
    return {name: value for name, value in variables.items() if value}


def _logins(config: Config, names: Names) -> Logins:
    return expanded(config.logins, account=names.place.account, region=names.place.region)
