"""Scope of the builder's permissions: what config.ini lets it deploy, give and read."""

from __future__ import annotations

from dataclasses import dataclass

from builder.secrets.logins import Logins

NO_LOGINS = Logins()


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Scope of the builder's permissions, from config.ini.

    Args:
        functions: names or patterns of the functions that the builder may deploy.
        roles: names, ARNs or patterns of the roles that it may give to functions.
        logins: name the secrets that it reads.
        code_signing: ARNs or patterns of the code signing configurations that it may give to functions.
        tag: name and value of a tag that functions must have, and get when the builder creates them.
        split: whether foreign code runs in the worker.
        fan_out: whether a state machine makes many functions at a time.
    """

    functions: tuple[str, ...]
    roles: tuple[str, ...] = ()
    logins: Logins = NO_LOGINS
    code_signing: tuple[str, ...] = ()
    tag: tuple[str, str] | None = None
    split: bool = False
    fan_out: bool = False
