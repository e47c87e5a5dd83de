"""Settings of config.ini: a row for each key, and the value that all of them become."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from builder.runtimes import Architecture
from builder.secrets.logins import Logins
from builder.toolchains.catalogue import ArchiveTool

# Whether projects' code runs in the builder itself, or in a function of its own.
Isolation = Literal["shared", "split"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One line of config.ini. A secret has no flag for its value, only one for a file that holds it."""

    section: Literal["aws", "github", "builder"]
    key: str
    help: str
    secret: bool = False

    @property
    def variable(self) -> str:
        """Name of the environment variable that overrides the file."""
        return f"LAMBDASMITH_{self.section}_{self.key}".upper()

    @property
    def flag(self) -> str:
        """Command-line flag that overrides both."""
        return "--" + self.key.replace("_", "-") + ("-file" if self.secret else "")


SETTINGS = (
    Setting(section="aws", key="aws_profile", help="named profile of the AWS CLI"),
    Setting(section="aws", key="aws_region", help="region, if neither the profile nor AWS_REGION sets it"),
    Setting(section="aws", key="aws_access_key_id", help="access key, instead of a profile"),
    Setting(section="aws", key="aws_secret_access_key", help="secret of that access key", secret=True),
    Setting(section="aws", key="deployment_bucket", help="bucket for builds (default: FUNCTION-ACCOUNT-REGION, made)"),
    Setting(section="github", key="git_username", help="owner of repositories that are named without one"),
    Setting(section="github", key="git_token", help="token for private repositories", secret=True),
    Setting(section="github", key="git_email", help="address kept beside the token"),
    Setting(
        section="github", key="git_base", help="prefix of plain repository names (default: https://github.com/USER)"
    ),
    Setting(
        section="github",
        key="git_hosts",
        help="more hosts for submodules and redirects, separated by commas",
    ),
    Setting(
        section="github",
        key="ca_bundle",
        help="PEM file with certificates of your own authorities, for all servers, under 3 KB",
    ),
    Setting(section="builder", key="function_name", help="name of the builder function (default: lambdasmith)"),
    Setting(section="builder", key="runtime", help="Python runtime of the builder (default: python3.13)"),
    Setting(section="builder", key="architecture", help="x86_64 (default) or arm64"),
    Setting(section="builder", key="memory", help="MB, 128 to 10240 (default: 2048)"),
    Setting(section="builder", key="timeout", help="seconds, up to 900 (default: 900)"),
    Setting(section="builder", key="ephemeral_storage", help="MB of /tmp, 512 to 10240 (default: 2048)"),
    Setting(
        section="builder",
        key="isolation",
        help="split: foreign code runs in a function of its own; or shared (default)",
    ),
    Setting(
        section="builder",
        key="fan_out",
        help="on: a Step Functions state machine makes many functions at a time; or off (default)",
    ),
    Setting(section="builder", key="fan_out_from", help="number of functions from which it does (default: 8)"),
    Setting(section="builder", key="fan_out_concurrency", help="invocations at a time, 1 to 1000 (default: 20)"),
    Setting(section="builder", key="functions", help="names or patterns of functions that it may deploy: shop-*"),
    Setting(section="builder", key="role", help="role that functions get when the builder creates them, name or ARN"),
    Setting(section="builder", key="roles", help="further roles that build files may name, separated by commas"),
    Setting(
        section="builder", key="permissions_boundary", help="boundary of the builder's role, a policy's name or ARN"
    ),
    Setting(section="builder", key="tag", help="NAME=VALUE of a tag: only functions that have it are deployed"),
    Setting(
        section="builder", key="code_signing", help="ARNs of code signing configurations that build files may name"
    ),
    Setting(
        section="builder", key="status", help="all (default), or function: list only builds of the requested function"
    ),
    Setting(
        section="builder",
        key="archive_caches",
        help="names or patterns of functions whose archives may keep caches",
    ),
    Setting(
        section="builder",
        key="expire_days",
        help="days after its last use until a built zip is removed from the bucket, or never (default)",
    ),
    Setting(section="builder", key="index_url", help="package index for builds, without credentials"),
    Setting(section="builder", key="go_proxy", help="Go module proxies for builds, as GOPROXY; without credentials"),
    Setting(section="builder", key="npm_registry", help="npm registry for builds, and @SCOPE=URL; without credentials"),
)
BY_KEY = {setting.key: setting for setting in SETTINGS}


@dataclass(frozen=True, kw_only=True)
class Config:
    """The operator's configuration. None where a setting is absent and has no default."""

    aws_profile: str | None = None
    aws_region: str | None = None
    aws_access_key_id: str | None = None
    aws_secret_access_key: str | None = field(default=None, repr=False)
    deployment_bucket: str | None = None
    git_username: str | None = None
    git_token: str | None = field(default=None, repr=False)
    git_email: str | None = None
    git_base: str | None = None
    git_hosts: tuple[str, ...] = ()
    ca_bundle: str | None = None
    function_name: str = "lambdasmith"
    runtime: str = "python3.13"
    architecture: Architecture = "x86_64"
    memory_mb: int = 2048
    timeout_s: int = 900
    ephemeral_storage_mb: int = 2048
    isolation: Isolation = "shared"
    role: str | None = None
    roles: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    permissions_boundary: str | None = None
    tag: tuple[str, str] | None = None
    code_signing: tuple[str, ...] = ()
    status: Literal["all", "function"] = "all"
    # Three values, because `never` must be able to end what an earlier run has set.
    expire_days: int | None = None  # 0: never; None: unchanged
    archive_caches: tuple[str, ...] = ()
    fan_out: bool = False
    fan_out_from: int = 8
    fan_out_concurrency: int = 20
    index_url: str | None = None
    go_proxy: str | None = None
    npm_registry: str | None = None
    logins: Logins = field(default_factory=Logins)
    toolchains: tuple[ArchiveTool, ...] = ()
