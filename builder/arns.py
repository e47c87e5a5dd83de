"""The names that AWS gives to everything, arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE, and what is read off them.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
"""

from __future__ import annotations

from typing import NamedTuple


class Arn(NamedTuple):
    """An ARN in its parts; `region` and `account` are empty for some services."""

    partition: str
    service: str
    region: str
    account: str
    resource: str

    @classmethod
    def find(cls, text: str) -> Arn | None:
        """Return the parts of `text`, None if it is no ARN."""
        first, *parts = text.split(":", 5)
        return cls(*parts) if first == "arn" and len(parts) == len(cls._fields) else None

    @classmethod
    def read(cls, text: str) -> Arn:
        """Return the parts of `text`.

        Raises:
            ValueError: it is no ARN.
        """
        found = cls.find(text)
        if found is None:
            raise ValueError(f"{text!r} is not an ARN")
        return found

    def __str__(self) -> str:
        return ":".join(("arn", *self))


def layer_of(version: str) -> str:
    """Return the ARN of the layer that a layer version's ARN is of: a function can have only one version of it."""
    return version.rpartition(":")[0]


def name_of_layer(version: str) -> str:
    """Return the layer's name in a layer version's ARN."""
    return Arn.read(version).resource.split(":")[1]
