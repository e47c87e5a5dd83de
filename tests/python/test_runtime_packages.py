"""The runtime's own SDK takes the place of the locked one only where that is known to be right."""

from __future__ import annotations

import pytest

from builder.python.runtime_packages import Demand, known_versions, why_shipped

LOCKED = {"boto3": "1.44.5", "botocore": "1.44.5", "urllib3": "2.8.0", "six": "1.17.0"}


def why(*requirements: str, runtime: str = "python3.13") -> str | None:
    return why_shipped(runtime, LOCKED, [Demand(requirement=each, by="app 1.0") for each in requirements])


@pytest.mark.parametrize("requirements", [(), ("boto3",), ("boto3>=1.40,<2", "BotoCore~=1.42"), ("idna", "flask>=3")])
def test_left_out_where_every_known_version_fits(requirements: tuple[str, ...]) -> None:
    assert why(*requirements) is None


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        ("boto3==1.44.5", "app 1.0 needs boto3==1.44.5, and python3.13 has boto3 1.42.97"),
        ("boto3[crt]", "app 1.0 needs boto3[crt], and python3.13 has boto3 1.42.97"),
        ("urllib3>=1.26", "app 1.0 needs urllib3>=1.26, and which urllib3 python3.13 has is not known"),
        ("six", "app 1.0 needs six, and which six python3.13 has is not known"),
        ("boto3 @ https://files.example/boto3.whl", "app 1.0 needs boto3"),
        ("?", "app 1.0 asks for '?', which cannot be read"),
    ],
)
def test_shipped_where_somebody_needs_another_or_an_unknown_one(requirement: str, reason: str) -> None:
    assert (why("idna", requirement) or "").startswith(reason)


def test_shipped_where_nothing_is_known_of_the_runtime() -> None:
    assert why(runtime="python3.12") == "which versions python3.12 has is not known"
    assert known_versions("python3.12") == {}


def test_both_runtimes_differ() -> None:
    assert why("boto3>=1.41") is None
    assert why("boto3>=1.41", runtime="python3.14") == "app 1.0 needs boto3>=1.41, and python3.14 has boto3 1.40.4"
