"""The place of a secret, never its value: `secretsmanager:NAME#key`, `ssm:NAME`; and who may name it.

secretsmanager:team-a/npm                    the whole value
secretsmanager:team-a/npm#token              one member of a value that is a JSON object
secretsmanager:team-a/npm?stage=AWSPREVIOUS#token
secretsmanager:arn:aws:secretsmanager:…      an ARN in the place of the name
ssm:/team-a/npm    ssm:/team-a/npm:3    ssm:/team-a/npm:LABEL    ssm:arn:aws:ssm:…:parameter/team-a/npm
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Service = Literal["secretsmanager", "ssm"]

_ARN = r"arn:aws[a-z-]*:{service}:[a-z0-9-]+:\d{{12}}:{what}[:/]"
# Without `?`, `#` and `:`, which no name may have, because they end it.
# https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html
_SECRET = re.compile(
    rf"(?P<name>(?:{_ARN.format(service='secretsmanager', what='secret')})?[A-Za-z0-9/_+=.@-]{{1,512}})"
    r"(?:\?stage=(?P<stage>[A-Za-z0-9/_+=.@-]{1,256}))?(?:#(?P<key>[^\s#]{1,256}))?",
    re.ASCII,
)
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
_PARAMETER = re.compile(
    rf"(?P<name>(?:{_ARN.format(service='ssm', what='parameter')})?[A-Za-z0-9/_.-]{{1,2048}})"
    r"(?::(?P<stage>[A-Za-z0-9_.-]{1,100}))?",
    re.ASCII,
)
# Parameters that lead to Secrets Manager: they would bypass the rules about its secrets.
_DETOUR = "aws/reference/secretsmanager"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The place of a secret.

    Args:
        name: name or ARN.
        key: member of the JSON object that the value is; "" for the value itself.
        stage: version stage of a secret, version or label of a parameter; "" for the present one.
    """

    service: Service
    name: str
    key: str = ""
    stage: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Parse `text` as a reference.

        Raises:
            ValueError: it is not one; the message does not repeat `text`, which may be a secret by mistake.
        """
        service, _, rest = text.strip().partition(":")
        if service == "secretsmanager" and (match := _SECRET.fullmatch(rest)):
            return cls(service="secretsmanager", name=match["name"], key=match["key"] or "", stage=match["stage"] or "")
        if service == "ssm" and (match := _PARAMETER.fullmatch(rest)):
            # Rules about `secretsmanager:` patterns would not see such a reference.
            if _DETOUR in match["name"]:
                raise ValueError("refers to Secrets Manager through ssm; write secretsmanager:NAME")
            return cls(service="ssm", name=match["name"], stage=match["stage"] or "")
        raise ValueError("is not a reference: write secretsmanager:NAME, secretsmanager:NAME#key or ssm:NAME")

    def __str__(self) -> str:
        if self.service == "ssm":
            return f"ssm:{self.name}" + (f":{self.stage}" if self.stage else "")
        stage = f"?stage={self.stage}" if self.stage else ""
        return f"secretsmanager:{self.name}{stage}" + (f"#{self.key}" if self.key else "")

    def matches(self, patterns: Iterable[str]) -> bool:
        """Tell whether one of `patterns` (`secretsmanager:team-a/*`) covers it; one with `#key` only that key."""
        place = f"{self.service}:{self.name}"
        return any(
            fnmatchcase(place, pattern) or (self.key and fnmatchcase(f"{place}#{self.key}", pattern))
            for pattern in patterns
        )


def pattern_problem(pattern: str) -> str | None:
    """Say what is wrong with a pattern of references; None if nothing is."""
    service, _, name = pattern.partition(":")
    if service not in ("secretsmanager", "ssm") or not name or re.search(r"\s", name):
        return "is not a pattern of references: write secretsmanager:PATTERN or ssm:PATTERN, as secretsmanager:team-a/*"
    return None
