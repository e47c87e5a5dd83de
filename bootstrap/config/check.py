"""Check of the given values: each is parsed, and some exclude each other."""

from __future__ import annotations

from collections.abc import Mapping

from bootstrap.config.given import Given, Reader
from bootstrap.config.parsers import (
    parse_architecture,
    parse_certificates,
    parse_days,
    parse_go_proxy,
    parse_isolation,
    parse_npm_registry,
    parse_runtime,
    parse_status,
    parse_switch,
    parse_tag,
    parse_url,
)
from bootstrap.config.settings import Config

# Lambda allows 64 characters, and the worker's name is the builder's with `-worker` appended.
_MOST_SPLIT = 57
_ROLE = r"(arn:[a-z-]+:iam::\d{12}:role/)?[\w+=,.@/-]+"
_POLICY = r"(arn:[a-z-]+:iam::(\d{12}|aws):policy/)?[\w+=,.@/-]+"
_SIGNING = r"arn:[a-z-]+:lambda:[a-z0-9-]+:\d{12}:code-signing-config:[a-z0-9*?-]+"
_ROLES = r"(arn:[a-z-]+:iam::\d{12}:role/)?[\w+=.@/*-]+"


def checked(given: Mapping[str, Given], problems: list[str]) -> Config:
    """Return the typed configuration of `given`; add every problem to `problems`."""
    read = Reader(given, problems)
    profile, key, secret = _identity(read)
    function = read.text("function_name", r"[A-Za-z0-9_-]{1,64}", "must be 1 to 64 of A-Z a-z 0-9 - _")
    isolation = read.take("isolation", Config.isolation, parse_isolation)
    if isolation == "split" and function and len(function) > _MOST_SPLIT:
        problems.append(_too_long(given["function_name"].origin, function))
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
        git_base=read.take("git_base", None, parse_url),
        git_hosts=read.names("git_hosts", (), r"[a-z0-9.-]+(:\d{1,5})?", "not a host, as in git.example.org"),
        ca_bundle=read.take("ca_bundle", None, parse_certificates),
        function_name=function or Config.function_name,
        runtime=read.take("runtime", Config.runtime, parse_runtime),
        architecture=read.take("architecture", Config.architecture, parse_architecture),
        memory_mb=read.number("memory", Config.memory_mb, 128, 10240, "MB"),
        timeout_s=read.number("timeout", Config.timeout_s, 1, 900, "seconds"),
        ephemeral_storage_mb=read.number("ephemeral_storage", Config.ephemeral_storage_mb, 512, 10240, "MB"),
        isolation=isolation,
        role=read.text("role", _ROLE, "is neither a role's name nor its ARN"),
        roles=read.names("roles", (), _ROLES, "not a role's name, ARN or pattern"),
        functions=read.names("functions", (), r"[A-Za-z0-9_*?-]+", "not a function's name or pattern"),
        permissions_boundary=read.text("permissions_boundary", _POLICY, "is neither a policy's name nor its ARN"),
        tag=read.take("tag", None, parse_tag),
        code_signing=read.names("code_signing", (), _SIGNING, "not the ARN of a code signing configuration"),
        status=read.take("status", Config.status, parse_status),
        expire_days=read.take("expire_days", None, parse_days),
        archive_caches=read.names("archive_caches", (), r"[A-Za-z0-9_*?-]+", "not a function's name or pattern"),
        fan_out=read.take("fan_out", Config.fan_out, parse_switch),
        fan_out_from=read.number("fan_out_from", Config.fan_out_from, 2, 10_000, "functions"),
        fan_out_concurrency=read.number("fan_out_concurrency", Config.fan_out_concurrency, 1, 1000, "invocations"),
        index_url=read.take("index_url", None, parse_url),
        go_proxy=read.take("go_proxy", None, parse_go_proxy),
        npm_registry=read.take("npm_registry", None, parse_npm_registry),
    )


def _too_long(origin: str, function: str) -> str:
    # Checked here: Lambda would refuse the worker's name after half of `init`.
    return (
        f"{origin}: {function!r} must have at most {_MOST_SPLIT} characters with isolation = split: the worker is "
        "called NAME-worker"
    )


def _identity(read: Reader) -> tuple[str | None, str | None, str | None]:
    """Return profile, access key and its secret, of which only one identity is set.

    Of a profile and a key the one from the stronger place counts; within config.ini it is the profile.
    """
    given, problems = read.given, read.problems
    profile, key, secret = (read.text(k) for k in ("aws_profile", "aws_access_key_id", "aws_secret_access_key"))
    if (key is None) != (secret is None):
        missing = "aws_secret_access_key" if secret is None else "aws_access_key_id"
        problems.append(f"{missing}: missing; aws_access_key_id and aws_secret_access_key go together")
    if key is None or secret is None or profile is None:
        return profile, key, secret
    by_profile, by_key = given["aws_profile"], given["aws_access_key_id"]
    if by_profile.rank == by_key.rank and by_profile.rank > 0:  # from config.ini, deploy.sh also takes the profile
        problems.append(f"{by_profile.origin} and {by_key.origin} exclude each other")
    return (profile, None, None) if by_profile.rank >= by_key.rank else (None, key, secret)
