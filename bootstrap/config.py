"""config.ini, environment and flags, read into one frozen value. Flags win over environment, environment over file."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from bootstrap.ini import Line, read_lines
from bootstrap.login_sections import KINDS, is_login_section, read_logins
from bootstrap.toolchain_sections import KIND, is_toolchain_section, read_toolchains
from builder.errors import InvalidConfiguration
from builder.nearest import nearest
from builder.runtimes import RUNTIMES, Architecture, architecture_of
from builder.secrets.logins import Logins
from builder.toolchains.catalogue import ArchiveTool

# The builder's own code needs Python 3.11.
BUILDER_RUNTIMES = tuple(
    name for name, known in RUNTIMES.items() if known.python is not None and known.python >= (3, 11)
)
# Read by deploy.sh, which checks it by itself.
_SECTION_OF_THE_CLIENT = "deploy"
# Keys of [aws] in the original implementation's config.ini that are about projects: deploy.sh reads them.
_KEYS_OF_THE_CLIENT = ("git_repo", "git_branch", "log_file", "prompt_before_deploy")
# Whether projects' code runs in the builder itself, or in a function of its own.
Isolation = Literal["shared", "split"]
# Lambda allows 64 characters, and the worker is called like the builder with `-worker` behind.
_MOST_SPLIT = 57


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One line of config.ini. A secret has no flag for its value, only one for a file that holds it."""

    section: Literal["aws", "github", "builder"]
    key: str
    help: str
    secret: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that overrides the file."""
        return f"LAMBDASMITH_{self.section}_{self.key}".upper()

    @property
    def flag(self) -> str:
        """The command-line flag that overrides both."""
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
_BY_KEY = {setting.key: setting for setting in SETTINGS}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the operator wants. None where nothing was said and nothing is the default."""

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
    expire_days: int | None = None  # 0: never; None: as it is
    archive_caches: tuple[str, ...] = ()
    index_url: str | None = None
    go_proxy: str | None = None
    npm_registry: str | None = None
    logins: Logins = field(default_factory=Logins)
    toolchains: tuple[ArchiveTool, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Given:
    """A value as somebody typed it. `rank`: 0 file, 1 environment, 2 flag; `origin` names the place in messages."""

    value: str = field(repr=False)
    rank: int
    origin: str


def read_config(*, file: Path, required: bool, environment: Mapping[str, str], flags: Mapping[str, str]) -> Config:
    """The configuration from all three places.

    Args:
        file: config.ini; may be absent unless `required`.
        environment: LAMBDASMITH_SECTION_KEY overrides the file.
        flags: key → value as typed; for secrets the path of a file that holds the value. Wins over everything.

    Raises:
        InvalidConfiguration: `problems` has every single one.
    """
    problems: list[str] = []
    lines = _lines(file, required, problems)
    plain = (line for line in lines if not is_login_section(line.section) and not is_toolchain_section(line.section))
    given = _known_lines(plain, file.name, problems)
    logins = read_logins((line for line in lines if is_login_section(line.section)), file.name, problems)
    toolchains = read_toolchains((line for line in lines if is_toolchain_section(line.section)), file.name, problems)
    given |= _from_environment(environment, problems)
    given |= _from_flags(flags, problems)
    config = replace(_check(given, problems), logins=logins, toolchains=toolchains)
    if problems:
        message = problems[0] if len(problems) == 1 else f"the configuration has {len(problems)} problems"
        raise InvalidConfiguration(
            message,
            hint="config.ini.example shows every key; flags: python setup.py --help",
            problems=problems if len(problems) > 1 else (),
        )
    return config


def _lines(file: Path, required: bool, problems: list[str]) -> list[Line]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if required:
            problems.append(f"{file}: no such file")
        return []
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{file}: cannot be read: {error}")
        return []
    return list(read_lines(text))


def _known_lines(lines: Iterable[Line], name: str, problems: list[str]) -> dict[str, Given]:
    sections = {setting.section for setting in SETTINGS}
    given: dict[str, Given] = {}
    seen: dict[tuple[str, str], int] = {}
    for line in lines:
        section, key = line.section, line.key
        if section == _SECTION_OF_THE_CLIENT:
            continue
        if not section:
            problems.append(f"{name}:{line.number}: a [section] must come first")
            return given
        if section not in sections:
            more = f"; write [{section} …]" if section in KINDS or section in KIND else nearest(section, sections)
            problem = f"{name}: [{section}]: unknown section{more}"
            problems += [problem] if problem not in problems else []
            continue
        keys = {setting.key for setting in SETTINGS if setting.section == section}
        if key is None:  # the line is not shown: it may hold a token
            problems.append(f"{name}:{line.number}: not a `key = value` line")
        elif section == "aws" and key in _KEYS_OF_THE_CLIENT:
            continue
        elif key not in keys:
            problems.append(f"{name}: [{section}] {key}: unknown key{nearest(key, keys) or _elsewhere(key)}")
        elif (section, key) in seen:
            problems.append(f"{name}:{line.number}: [{section}] {key}: is in line {seen[section, key]} already")
        else:
            seen[section, key] = line.number
            if line.value:
                given[key] = Given(value=line.value, rank=0, origin=f"{name}: [{section}] {key}")
    return given


def _elsewhere(key: str) -> str:
    return f"; it belongs in [{_BY_KEY[key].section}]" if key in _BY_KEY else nearest(key, _BY_KEY)


def _from_environment(environment: Mapping[str, str], problems: list[str]) -> dict[str, Given]:
    variables = {setting.variable: setting for setting in SETTINGS}
    prefixes = tuple({f"LAMBDASMITH_{setting.section.upper()}_" for setting in SETTINGS})
    given: dict[str, Given] = {}
    for variable, value in environment.items():
        if variable in variables:
            if value.strip():
                given[variables[variable].key] = Given(value=value.strip(), rank=1, origin=variable)
        elif variable.startswith(prefixes):
            problems.append(f"{variable}: unknown variable{nearest(variable, variables)}")
    return given


def _from_flags(flags: Mapping[str, str], problems: list[str]) -> dict[str, Given]:
    given: dict[str, Given] = {}
    for key, typed in flags.items():
        setting = _BY_KEY[key]
        value = typed.strip()
        if setting.secret:
            try:
                value = Path(typed).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                problems.append(f"{setting.flag} {typed}: cannot be read: {getattr(error, 'strerror', error)}")
                continue
            if not value:
                problems.append(f"{setting.flag} {typed}: the file is empty")
        if value:
            given[key] = Given(value=value, rank=2, origin=setting.flag)
    return given


_T = TypeVar("_T")


@dataclass(frozen=True)
class _Reader:
    """Typed access to what was given; every problem goes to the list, a default keeps the reading going."""

    given: Mapping[str, Given]
    problems: list[str]

    def take(self, key: str, default: _T, parse: Callable[[str], _T]) -> _T:
        """The parsed value of `key`; `parse` raises ValueError with the second half of the message."""
        if key not in self.given:
            return default
        item = self.given[key]
        hidden = _BY_KEY[key].secret or re.search(r"://[^/]*@", item.value)
        shown = "" if hidden else f" {item.value!r}"
        try:
            return parse(item.value)
        except ValueError as error:
            self.problems.append(f"{item.origin}:{shown} {error}")
            return default

    def text(self, key: str, pattern: str = r".+", rule: str = "is not valid") -> str | None:
        """A string that matches `pattern`, or None."""

        def parse(value: str) -> str | None:
            if not re.fullmatch(pattern, value):
                raise ValueError(rule)
            return value

        return self.take(key, None, parse)

    def number(self, key: str, default: int, low: int, high: int, unit: str) -> int:
        """A whole number from `low` to `high`."""

        def parse(value: str) -> int:
            if not re.fullmatch(r"\d{1,9}", value) or not low <= int(value) <= high:
                raise ValueError(f"must be a whole number of {unit} from {low} to {high}")
            return int(value)

        return self.take(key, default, parse)

    def names(self, key: str, default: tuple[str, ...], pattern: str, rule: str) -> tuple[str, ...]:
        """Names separated by commas or white space."""

        def parse(value: str) -> tuple[str, ...]:
            names = tuple(dict.fromkeys(re.split(r"[,\s]+", value.strip(", \n"))))
            wrong = [name for name in names if not re.fullmatch(pattern, name)]
            if wrong:
                raise ValueError(f"{rule}: {', '.join(wrong)}")
            return names

        return self.take(key, default, parse)


_MOST_DAYS = 3650
_ROLE = r"(arn:[a-z-]+:iam::\d{12}:role/)?[\w+=,.@/-]+"
_POLICY = r"(arn:[a-z-]+:iam::(\d{12}|aws):policy/)?[\w+=,.@/-]+"
_SIGNING = r"arn:[a-z-]+:lambda:[a-z0-9-]+:\d{12}:code-signing-config:[a-z0-9*?-]+"
_ROLES = r"(arn:[a-z-]+:iam::\d{12}:role/)?[\w+=.@/*-]+"


def _check(given: Mapping[str, Given], problems: list[str]) -> Config:
    """The typed configuration of `given`; what is wrong goes to `problems`."""
    read = _Reader(given, problems)
    profile, key, secret = (read.text(k) for k in ("aws_profile", "aws_access_key_id", "aws_secret_access_key"))
    if (key is None) != (secret is None):
        missing = "aws_secret_access_key" if secret is None else "aws_access_key_id"
        problems.append(f"{missing}: missing; aws_access_key_id and aws_secret_access_key go together")
    elif key is not None and profile is not None:
        profile, key, secret = _one_identity(given, problems, profile, key, secret)
    function = read.text("function_name", r"[A-Za-z0-9_-]{1,64}", "must be 1 to 64 of A-Z a-z 0-9 - _")
    isolation = read.take("isolation", Config.isolation, _isolation)
    if isolation == "split" and function and len(function) > _MOST_SPLIT:
        problems.append(
            f"{given['function_name'].origin}: {function!r} must have at most {_MOST_SPLIT} characters with "
            "isolation = split: the worker is called NAME-worker"
        )
    return Config(
        aws_profile=profile,
        aws_region=read.text("aws_region", r"[a-z]{2}(-[a-z]+)+-\d+", "is not an AWS region, for example us-east-1"),
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        deployment_bucket=read.text(
            "deployment_bucket",
            r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
            "is not a bucket name: 3 to 63 characters, a-z 0-9 . and -",
        ),
        git_username=read.text("git_username", r"[\w.@-]+", "is not a user name"),
        git_token=read.text("git_token", r"[!-~]+", "must be one line without white space"),
        git_email=read.text("git_email", r"[^\s@]+@[^\s@]+", "is not a mail address"),
        git_base=read.take("git_base", None, _url),
        git_hosts=read.names("git_hosts", (), r"[a-z0-9.-]+(:\d{1,5})?", "not a host, as in git.example.org"),
        ca_bundle=read.take("ca_bundle", None, _certificates),
        function_name=function or Config.function_name,
        runtime=read.take("runtime", Config.runtime, _runtime),
        architecture=read.take("architecture", Config.architecture, _architecture),
        memory_mb=read.number("memory", Config.memory_mb, 128, 10240, "MB"),
        timeout_s=read.number("timeout", Config.timeout_s, 1, 900, "seconds"),
        ephemeral_storage_mb=read.number("ephemeral_storage", Config.ephemeral_storage_mb, 512, 10240, "MB"),
        isolation=isolation,
        role=read.text("role", _ROLE, "is neither a role's name nor its ARN"),
        roles=read.names("roles", (), _ROLES, "not a role's name, ARN or pattern"),
        functions=read.names("functions", (), r"[A-Za-z0-9_*?-]+", "not a function's name or pattern"),
        permissions_boundary=read.text("permissions_boundary", _POLICY, "is neither a policy's name nor its ARN"),
        tag=read.take("tag", None, _tag),
        code_signing=read.names("code_signing", (), _SIGNING, "not the ARN of a code signing configuration"),
        status=read.take("status", Config.status, _status),
        expire_days=read.take("expire_days", None, _days),
        archive_caches=read.names("archive_caches", (), r"[A-Za-z0-9_*?-]+", "not a function's name or pattern"),
        index_url=read.take("index_url", None, _url),
        go_proxy=read.take("go_proxy", None, _go_proxy),
        npm_registry=read.take("npm_registry", None, _npm_registry),
    )


def _one_identity(
    given: Mapping[str, Given], problems: list[str], profile: str | None, key: str | None, secret: str | None
) -> tuple[str | None, str | None, str | None]:
    """Of a profile and an access key, the one that was given at the stronger place; in one file the profile."""
    by_profile, by_key = given["aws_profile"], given["aws_access_key_id"]
    if by_profile.rank == by_key.rank and by_profile.rank > 0:  # of config.ini, deploy.sh takes the profile, too
        problems.append(f"{by_profile.origin} and {by_key.origin} exclude each other")
    return (profile, None, None) if by_profile.rank >= by_key.rank else (None, key, secret)


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.username or parts.password:
        raise ValueError("must not contain credentials")
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise ValueError("must be an https:// URL")
    return value.rstrip("/")


def _tag(value: str) -> tuple[str, str]:
    name, equals, text = (part.strip() for part in value.partition("="))
    if (
        not equals
        or not re.fullmatch(r"(?!aws:)[\w .:/+@-]{1,128}", name)
        or not re.fullmatch(r"[\w .:/+@-]{1,256}", text)
    ):
        raise ValueError("must be NAME=VALUE")
    return name, text


def _status(value: str) -> Literal["all", "function"]:
    if value not in ("all", "function"):
        raise ValueError("must be all or function")
    return "function" if value == "function" else "all"


def _days(value: str) -> int:
    if value == "never":
        return 0
    if not re.fullmatch(r"\d{1,9}", value) or not 1 <= int(value) <= _MOST_DAYS:
        raise ValueError(f"must be a whole number of days from 1 to {_MOST_DAYS:,}, or never")
    return int(value)


def _go_proxy(value: str) -> str:
    """The list without blanks; `direct` and `off` are Go's words."""
    parts = [part.strip() for part in re.split(r"([,|])", value)]
    for part in parts[::2]:
        if part not in ("direct", "off"):
            _url(part)
    return "".join(parts)


def _npm_registry(value: str) -> str:
    """The registry, and those of scopes, separated by one comma each."""
    parts = [part for part in re.split(r"[,\s]+", value) if part]
    for part in parts:
        scope, equals, url = part.partition("=") if part.startswith("@") else ("", "", part)
        if bool(scope) != bool(equals) or not re.fullmatch(r"(@[a-z0-9._~-]+)?", scope):
            raise ValueError("must be URLs, or @SCOPE=URL, separated by commas")
        _url(url)
    if sum(not part.startswith("@") for part in parts) > 1:
        raise ValueError("must have one URL without a scope")
    return ",".join(parts)


def _certificates(value: str) -> str:
    """The text of a PEM file; a path below /opt is one in a layer of the function, and stays one."""
    if value.startswith("/opt/"):
        return value
    try:
        text = Path(value).expanduser().read_text()
        ssl.create_default_context(cadata=text)
    except (OSError, ValueError, ssl.SSLError) as error:
        raise ValueError(f"cannot be read as certificates: {error}") from error
    # Lambda allows 4 KB for all variables of a function.
    text = "".join(re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", text, re.DOTALL))
    if len(text) > 3000:
        raise ValueError("has more than 3 KB of certificates: put it into a layer and name it /opt/FILE")
    return text


def _runtime(value: str) -> str:
    if value not in BUILDER_RUNTIMES:
        raise ValueError(f"cannot run the builder; it runs on {', '.join(BUILDER_RUNTIMES)}")
    return value


def _isolation(value: str) -> Isolation:
    if value not in ("shared", "split"):
        raise ValueError("must be shared or split")
    return "split" if value == "split" else "shared"


def _architecture(value: str) -> Architecture:
    if value not in ("x86_64", "arm64"):
        raise ValueError("must be x86_64 or arm64")
    return architecture_of(value)
