"""The builder function's settings, from its environment. They say where secrets are, but contain none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from builder.errors import InvalidConfiguration
from builder.secrets.logins import Logins
from builder.toolchains.catalogue import ArchiveTool, parse
from builder.trust.reach import Reach

# Memory that the builder itself needs while something else is compiled.
_OWN_MB = 192
PREFIX = "LAMBDASMITH_"
DEFAULT_STORE_PREFIX = "lambdasmith/"
DEFAULT_LAYER = "lambdasmith-layer"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The builder's configuration; empty strings where nothing is set.

    Args:
        bucket, store_prefix: where the store is.
        layer: name of the builder's own layer.
        git_secret: name or ARN of the Secrets Manager secret {"username", "token", "email"}.
        git_base: URL that plain repository names are appended to.
        git_hosts: hosts that submodules and redirects may lead to, besides those of known credentials.
        ca_bundle: path, or PEM text, of certificates to trust besides the system's.
        git_username: owner of plain repository names if `git_base` is a forge's root.
        index_url: package index; empty for the resolver's default.
        go_proxy: Go module proxies, as GOPROXY has them; empty for Go's default.
        npm_registry: npm registries, as `builder.npm.registry` reads them; empty for npm's default.
        logins: other forges, indexes, and the secrets that projects may use, from config.ini.
        role: ARN of the role for new functions whose build file names none.
        lease_s: how long a killed builder keeps others from the function that it worked on.
        toolchains: archives with compilers that build files may name.
        archive_caches: patterns of functions whose archives' code may keep results.
        worker: name of the function that runs foreign code; empty if the builder itself does.
        worker_role: ARN of the role that lends the worker its access to the store.
        memory_mb: of the builder; None if Lambda does not say.
        reach: what the builder may touch.
        status: `function` to report only the builds of a requested function.
        expire_days: days after its last use until S3 removes an artifact; 0 for never.
        fan_out: ARN of the state machine for builds of many functions; empty if all are made in one invocation.
        fan_out_from: number of functions to make from which it is used.
        fan_out_concurrency: how many invocations it has running at a time.
    """

    bucket: str
    store_prefix: str = DEFAULT_STORE_PREFIX
    layer: str = DEFAULT_LAYER
    git_secret: str = ""
    git_base: str = "https://github.com"
    git_username: str = ""
    git_hosts: tuple[str, ...] = ()
    ca_bundle: str = ""
    index_url: str = ""
    go_proxy: str = ""
    npm_registry: str = ""
    role: str = ""
    logins: Logins = field(default_factory=Logins)
    lease_s: float = 15.0
    toolchains: tuple[ArchiveTool, ...] = ()
    archive_caches: tuple[str, ...] = ()
    worker: str = ""
    worker_role: str = ""
    memory_mb: int | None = None
    reach: Reach = field(default_factory=Reach)
    status: str = "all"
    expire_days: int = 0
    fan_out: str = ""
    fan_out_from: int = 8
    fan_out_concurrency: int = 20

    @property
    def commands_mb(self) -> int | None:
        """Memory for a build's children, in MB, without what the builder itself needs."""
        return None if self.memory_mb is None else max(128, self.memory_mb - _OWN_MB)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the LAMBDASMITH_* variables.

        Raises:
            InvalidConfiguration: the bucket is not set, or a number is not a number.
        """
        bucket = environment.get(PREFIX + "BUCKET", "")
        if not bucket:
            raise InvalidConfiguration(
                f"the builder's environment has no {PREFIX}BUCKET", hint="run `python setup.py update`"
            )
        return cls(
            bucket=bucket,
            store_prefix=environment.get(PREFIX + "PREFIX", DEFAULT_STORE_PREFIX),
            layer=environment.get(PREFIX + "LAYER", DEFAULT_LAYER),
            git_secret=environment.get(PREFIX + "GIT_SECRET", ""),
            git_base=environment.get(PREFIX + "GIT_BASE", "").rstrip("/") or "https://github.com",
            git_username=environment.get(PREFIX + "GIT_USERNAME", ""),
            git_hosts=tuple(environment.get(PREFIX + "GIT_HOSTS", "").replace(",", " ").split()),
            ca_bundle=environment.get(PREFIX + "CA_BUNDLE", ""),
            index_url=environment.get(PREFIX + "INDEX_URL", ""),
            go_proxy=environment.get(PREFIX + "GO_PROXY", ""),
            npm_registry=environment.get(PREFIX + "NPM_REGISTRY", ""),
            role=environment.get(PREFIX + "ROLE", ""),
            logins=Logins.parse(environment.get(PREFIX + "CREDENTIALS", "")),
            lease_s=_seconds(environment, PREFIX + "LEASE_S", cls.lease_s),
            toolchains=parse(environment.get(PREFIX + "TOOLCHAINS", "")),
            archive_caches=tuple(environment.get(PREFIX + "ARCHIVE_CACHES", "").replace(",", " ").split()),
            worker=environment.get(PREFIX + "WORKER", ""),
            worker_role=environment.get(PREFIX + "WORKER_ROLE", ""),
            memory_mb=int(environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0")) or None,
            reach=reach_of(environment),
            status=environment.get(PREFIX + "STATUS", "all"),
            expire_days=_whole(environment, PREFIX + "EXPIRE_DAYS", 0),
            fan_out=environment.get(PREFIX + "FAN_OUT", ""),
            fan_out_from=_whole(environment, PREFIX + "FAN_OUT_FROM", cls.fan_out_from),
            fan_out_concurrency=_whole(environment, PREFIX + "FAN_OUT_CONCURRENCY", cls.fan_out_concurrency),
        )


def reach_of(environment: Mapping[str, str]) -> Reach:
    """Return what a builder with these variables may touch."""

    def listed(value: str) -> tuple[str, ...]:
        return tuple(value.replace(",", " ").split())

    functions, roles = environment.get(PREFIX + "FUNCTIONS"), environment.get(PREFIX + "ROLES")
    name, _, value = environment.get(PREFIX + "TAG", "").partition("=")
    return Reach(
        function=environment.get("AWS_LAMBDA_FUNCTION_NAME", ""),
        layer=environment.get(PREFIX + "LAYER", DEFAULT_LAYER),
        own_roles=listed(environment.get(PREFIX + "OWN_ROLES", "")),
        functions=None if functions is None else listed(functions),
        # A builder whose functions are configured without roles may give none, rather than any.
        roles=None if roles is None and functions is None else listed(roles or ""),
        code_signing=listed(environment.get(PREFIX + "CODE_SIGNING", "")) if functions is not None else None,
        tag=(name, value) if name else None,
    )


def _seconds(environment: Mapping[str, str], name: str, otherwise: float) -> float:
    given = environment.get(name, "")
    try:
        seconds = float(given or otherwise)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 900:
        raise InvalidConfiguration(f"{name}: {given!r} is not a number of seconds from 1 to 900")
    return seconds


def _whole(environment: Mapping[str, str], name: str, otherwise: int) -> int:
    given = environment.get(name, "") or str(otherwise)
    if not given.isdecimal():
        raise InvalidConfiguration(f"{name}: {given!r} is not a whole number")
    return int(given)
