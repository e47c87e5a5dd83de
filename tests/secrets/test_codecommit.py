"""What CodeCommit takes as a password: held against the AWS CLI's own credential helper."""

from __future__ import annotations

import hashlib
import hmac
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from builder.aws import codecommit_credentials, connect
from builder.errors import InvalidConfiguration

URL = "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/my.repo"
KEY, SECRET, SESSION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a-session-token"


def expected(password: str, url: str, region: str) -> str:
    """The password that the same moment gives, by the algorithm's description alone."""
    moment = password.partition("Z")[0]
    host, path = re.fullmatch(r"https://([^/]+)(/.*)", url).groups()  # type: ignore[union-attr]
    canonical = f"GIT\n{path}\n\nhost:{host}\n\nhost\n"
    scope = f"{moment[:8]}/{region}/codecommit/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{SECRET}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return f"{moment}Z{hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()}"


@pytest.fixture
def _role(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_SESSION_TOKEN": SESSION,
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_role")
@pytest.mark.parametrize(
    ("url", "region"),
    [
        (URL, "eu-west-1"),
        ("https://git-codecommit-fips.us-east-1.amazonaws.com/v1/repos/r", "us-east-1"),
        ("https://git-codecommit.cn-north-1.amazonaws.com.cn/v1/repos/r", "cn-north-1"),
        ("https://vpce-0a1-b2.git-codecommit.us-east-2.vpce.amazonaws.com/v1/repos/r", "us-east-2"),
    ],
)
def test_the_password_is_a_signature_of_the_address_and_the_moment(url: str, region: str) -> None:
    username, password = codecommit_credentials(connect(region="us-east-1"), url)
    assert username == f"{KEY}%{SESSION}"
    assert password == expected(password, url, region)
    made = datetime.strptime(password.partition("Z")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - made).total_seconds()) < 60


@pytest.mark.usefixtures("_role")
def test_the_clis_own_helper_makes_the_same() -> None:
    aws = Path(sys.executable).with_name("aws")
    done = subprocess.run(
        [aws, "codecommit", "credential-helper", "get"],
        input=f"protocol=https\nhost=git-codecommit.eu-west-1.amazonaws.com\npath={URL.split('.com/')[1]}\n",
        capture_output=True,
        text=True,
        check=True,
    )
    said = dict(line.split("=", 1) for line in done.stdout.split())
    assert said["username"] == f"{KEY}%{SESSION}"
    assert said["password"] == expected(said["password"], URL, "eu-west-1")


@pytest.mark.usefixtures("_role")
@pytest.mark.parametrize(
    "url",
    [
        "https://git-codecommit.eu-west-1.amazonaws.com.evil.org/v1/repos/r",
        "https://evil.org/git-codecommit.eu-west-1.amazonaws.com/v1/repos/r",
        "http://git-codecommit.eu-west-1.amazonaws.com/v1/repos/r",
        "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/r/../x",
    ],
)
def test_nothing_is_signed_for_anybody_else(url: str) -> None:
    with pytest.raises(InvalidConfiguration, match="not the HTTPS address of a CodeCommit repository"):
        codecommit_credentials(connect(region="us-east-1"), url)
