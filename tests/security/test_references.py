"""References: how they are written, who may use which, and what reading them gives, from the embedded AWS."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.context import Context
from builder.errors import (
    AccessDenied,
    AwsRefused,
    InvalidBuildFile,
    InvalidConfiguration,
    SecretMissing,
    SecretNotAllowed,
)
from builder.flow import allowance, credentials
from builder.network.access import credentials_for
from builder.progress import Progress
from builder.secrets.grants import Granted
from builder.secrets.indexes import Login
from builder.secrets.logins import GitLogin, IndexLogin, Logins, ProjectRule
from builder.secrets.masking import Masker
from builder.secrets.references import Reference
from builder.settings import Settings
from builder.sources.git import GitCredentials, Resolved
from builder.store.values import Fields
from builder.workspace.directory import Deadline, Workspace
from localaws.testing import Server
from tests.spec.reading import read_build_file
from tests.store.storing import store_in

ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:team-a/npm-AbCdEf"


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("secretsmanager:team-a/npm", Reference(service="secretsmanager", name="team-a/npm")),
        ("secretsmanager:a#token", Reference(service="secretsmanager", name="a", key="token")),
        (
            "secretsmanager:a?stage=AWSPREVIOUS#t",
            Reference(service="secretsmanager", name="a", key="t", stage="AWSPREVIOUS"),
        ),
        (f"secretsmanager:{ARN}#token", Reference(service="secretsmanager", name=ARN, key="token")),
        ("ssm:/team-a/npm", Reference(service="ssm", name="/team-a/npm")),
        ("ssm:/team-a/npm:3", Reference(service="ssm", name="/team-a/npm", stage="3")),
        (
            "ssm:arn:aws:ssm:us-east-1:123456789012:parameter/team-a/npm:new",
            Reference(service="ssm", name="arn:aws:ssm:us-east-1:123456789012:parameter/team-a/npm", stage="new"),
        ),
    ],
)
def test_a_reference(text: str, reference: Reference) -> None:
    assert Reference.parse(text) == reference
    assert str(reference) == text


@pytest.mark.parametrize(
    "text",
    ["", "npm", "secretsmanager:", "ssm:", "ssm:a b", "secretsmanager:a#", "secretsmanager:a?stage=", "vault:a",
     "ssm:a#key", "secretsmanager:arn:aws:s3:::bucket", "ssm:/aws/reference/secretsmanager/team-b/npm"],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="write secretsmanager:NAME"):
        Reference.parse(text)


@given(st.text(max_size=60))
def test_a_text_is_a_reference_or_refused_and_never_repeated(text: str) -> None:
    for prefix in ("", "ssm:", "secretsmanager:"):
        try:
            said = str(Reference.parse(prefix + text))
        except ValueError as error:
            said = str(error).partition("; write" if "leads" in str(error) else ": write")[0]
            assert len(text) < 5 or text not in said
        else:
            assert said == (prefix + text).strip()


@pytest.mark.parametrize(
    ("text", "pattern", "covered"),
    [
        ("secretsmanager:team-a/npm#token", "secretsmanager:team-a/*", True),
        ("secretsmanager:team-a/npm#token", "secretsmanager:team-a/npm", True),
        ("secretsmanager:team-a/npm#token", "secretsmanager:team-a/npm#token", True),
        ("secretsmanager:team-a/npm", "secretsmanager:team-a/npm#token", False),
        ("secretsmanager:team-a/npm#other", "secretsmanager:team-a/npm#token", False),
        ("secretsmanager:team-b/npm", "secretsmanager:team-a/*", False),
        (f"secretsmanager:{ARN}", "secretsmanager:team-a/*", False),
        (f"secretsmanager:{ARN}", "secretsmanager:arn:aws:secretsmanager:*:123456789012:secret:team-a/*", True),
        ("ssm:team-a/npm", "secretsmanager:team-a/*", False),
        ("ssm:/team-a/npm:3", "ssm:/team-a/*", True),
    ],
)
def test_what_a_pattern_covers(text: str, pattern: str, covered: bool) -> None:
    assert bool(Reference.parse(text).matches((pattern,))) is covered


@pytest.fixture(autouse=True)
def _endpoint(localaws: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", localaws.endpoint_url)


def context(aws: Server, folder: Path, logins: Logins, git_secret: str = "") -> Context:
    store = store_in(aws, "any")
    return Context(
        settings=Settings(bucket="any", logins=logins, git_secret=git_secret),
        clients=store._clients,
        store=store,
        workspace=Workspace(folder),
        deadline=Deadline.after(60),
        progress=Progress(),
        environment={},
        secrets=Masker(),
    )


def build_file(*sources: str) -> str:
    lines = [f"      - {{env: S{number}, from: '{source}'}}" for number, source in enumerate(sources)]
    layer = ["layers:", "  data:", "    runtimes: [python3.13]", "    preinstall: ['true']", "    files: [x]"]
    return "\n".join([*layer, "    secrets:", *lines, ""])


def at_main(url: str) -> Resolved:
    return Resolved(url=url, ref="refs/heads/main", commit="1" * 40, tips=("refs/heads/main",))


def test_a_build_file_gets_what_its_project_is_allowed(localaws: Server, tmp_path: Path) -> None:
    rules = (
        ProjectRule(pattern="shop-*", allow=("secretsmanager:shop/*", "secretsmanager:*git")),
        ProjectRule(pattern="git.example/team-a/*", allow=("ssm:/team-a/*",)),
    )
    there = context(localaws, tmp_path, Logins(projects=rules), git_secret="lambdasmith/git")
    spec = read_build_file(build_file("secretsmanager:shop/npm#token", "ssm:/team-a/x"), file="build.yaml")
    repository = at_main("https://git.example/team-a/cart.git")
    allowance.check(spec, "shop-cart", repository, there)
    assert there.allowed_secrets == {"secretsmanager:shop/npm#token", "ssm:/team-a/x"}
    with pytest.raises(SecretNotAllowed) as caught:
        allowance.check(spec, "billing", repository, there)
    assert caught.value.message == (
        "build.yaml:7: layers.data.secrets.0.from: secretsmanager:shop/npm#token may not be used by this project"
    )
    # Whoever may invoke the builder may name any function: the line to add is about the repository.
    assert "[project git.example/team-a/cart] with allow = secretsmanager:shop/npm" in caught.value.hint
    with pytest.raises(SecretNotAllowed) as caught:
        allowance.check(spec, "billing", None, there)
    assert len(caught.value.problems) == 2
    assert "[project billing] with allow = secretsmanager:shop/npm, ssm:/team-a/x" in caught.value.hint
    own = read_build_file(build_file("secretsmanager:lambdasmith/git#token"), file="build.yaml")
    with pytest.raises(SecretNotAllowed) as caught:
        allowance.check(own, "shop-cart", repository, there)
    assert "no [project …] can allow" in caught.value.hint


BUILT = """\
function:
  runtimes: [provided.al2023]
  handler: bootstrap
  build:
    command: ["true"]
    output: [out]
    secrets:
      - {env: TOKEN, from: "secretsmanager:others/npm"}
      - {file: ~/.git-credentials, from: "secretsmanager:lambdasmith/git#token"}
layers:
  tools:
    runtimes: [provided.al2023]
    build:
      command: ["true"]
      output: [out]
      secrets: [{env: TOKEN, from: "ssm:/others/token"}]
  data:
    runtimes: [provided.al2023]
    preinstall: ["true"]
    files: [x]
    secrets: [{env: TOKEN, from: "ssm:/others/data"}]
"""


def test_every_place_that_names_secrets_is_asked_about(localaws: Server, tmp_path: Path) -> None:
    there = context(localaws, tmp_path, Logins(), git_secret="lambdasmith/git")
    spec = read_build_file(BUILT, file="build.yaml")
    with pytest.raises(SecretNotAllowed) as caught:
        allowance.check(spec, "any", at_main("https://git.example/team-a/cart.git"), there)
    assert [problem.split(" ")[:3] for problem in caught.value.problems] == [
        ["build.yaml:8:", "function.build.secrets.0.from:", "secretsmanager:others/npm"],
        ["build.yaml:9:", "function.build.secrets.1.from:", "secretsmanager:lambdasmith/git#token"],
        ["build.yaml:16:", "layers.tools.build.secrets.0.from:", "ssm:/others/token"],
        ["build.yaml:21:", "layers.data.secrets.0.from:", "ssm:/others/data"],
    ]
    assert not there.allowed_secrets
    with pytest.raises(AssertionError, match="no one has checked whether"):
        credentials.CommandSecrets(there).values(["ssm:/others/data"])
    assert not there.secret_texts


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("env: S0, ", "", "build.yaml:7: layers.data.secrets.0: has either env"),
        ("env: S0", "env: S0, file: ~/.netrc", "has either env"),
        ("env: S0", "env: PATH", "build.yaml:7: layers.data.secrets.0.env: PATH is set by the builder"),
        ("env: S0", "env: 1x", "is not a name of a variable"),
        ("env: S0", "file: /etc/passwd", "is not a file below ~/"),
        ("env: S0", "file: ~/../x", "is not a file below ~/"),
        ("env: S0", "envv: S0", "secrets.0.envv: unknown key; did you mean env?"),
        ("from: 'ssm:/a'", "from: hunter2-hunter2", "layers.data.secrets.0.from: is not a reference"),
        ("preinstall: ['true']", "description: x", "environment and secrets are for preinstall"),
        ("    secrets:", "    environment: {S0: x}\n    secrets:", "S0: given twice"),
    ],
)
def test_what_is_wrong_with_secrets_in_a_build_file(old: str, new: str, says: str) -> None:
    text = build_file("ssm:/a")
    assert old in text
    with pytest.raises(InvalidBuildFile) as caught:
        read_build_file(text.replace(old, new), file="build.yaml")
    assert says in caught.value.message
    assert "hunter2" not in caught.value.message


def test_secrets_are_read_once_and_masked(localaws: Server, tmp_path: Path) -> None:
    manager, parameters, tag = localaws.client("secretsmanager"), localaws.client("ssm"), uuid.uuid4().hex[:8]
    value = {"token": "canary-token-1", "number": 12345678, "list": []}
    arn = manager.create_secret(Name=f"a/{tag}", SecretString=json.dumps(value))["ARN"]
    manager.create_secret(Name=f"binary/{tag}", SecretBinary=b"canary-binary-2")
    parameters.put_parameter(Name=f"/a/{tag}", Value="canary-parameter-3", Type="SecureString")
    parameters.put_parameter(Name=f"/a/{tag}", Value="canary-parameter-4", Type="SecureString", Overwrite=True)
    there = context(localaws, tmp_path, Logins())

    def read(text: str) -> str:
        return credentials.read(Reference.parse(text), there)

    assert read(f"secretsmanager:a/{tag}#token") == "canary-token-1"
    assert read(f"secretsmanager:{arn}#number") == "12345678"
    assert json.loads(read(f"secretsmanager:a/{tag}")) == value
    assert read(f"secretsmanager:binary/{tag}") == "canary-binary-2"
    assert read(f"ssm:/a/{tag}") == "canary-parameter-4"
    assert read(f"ssm:/a/{tag}:1") == "canary-parameter-3"
    said = there.secrets.mask("canary-token-1 12345678 canary-binary-2 canary-parameter-3 canary-parameter-4")
    assert said == "*** *** *** *** ***"
    manager.put_secret_value(SecretId=f"a/{tag}", SecretString='{"token": "canary-token-9"}')
    assert read(f"secretsmanager:a/{tag}#token") == "canary-token-1", "within an invocation it stays the same"
    previous = context(localaws, tmp_path, Logins())
    reference = Reference.parse(f"secretsmanager:a/{tag}?stage=AWSPREVIOUS#token")
    assert credentials.read(reference, previous) == "canary-token-1"
    for missing in ("secretsmanager:nothing/there", f"secretsmanager:a/{tag}#list", f"secretsmanager:a/{tag}#no",
                    f"ssm:/nothing/{tag}", f"secretsmanager:binary/{tag}#x"):  # fmt: skip
        with pytest.raises(SecretMissing, match=missing.partition("#")[0]) as caught:
            read(missing)
        assert caught.value.hint
    manager.create_secret(Name=f"bytes/{tag}", SecretBinary=b"\xff\xfe\x00")
    with pytest.raises(AwsRefused, match="has to be text"):
        read(f"secretsmanager:bytes/{tag}")


def test_every_forge_has_its_login(localaws: Server, tmp_path: Path) -> None:
    tag = uuid.uuid4().hex[:8]
    manager = localaws.client("secretsmanager")
    manager.create_secret(Name=f"own/{tag}", SecretString='{"username": "me", "token": "canary-own-1"}')
    manager.create_secret(Name=f"lab/{tag}", SecretString="canary-lab-2")
    logins = Logins(
        git=(
            GitLogin(
                base="https://gitlab.example",
                username="oauth2",
                token=f"secretsmanager:lab/{tag}",
                modules="go.example a.example/b",
            ),
        ),
        indexes=(IndexLogin(name="npm", url="https://npm.example", token=f"secretsmanager:lab/{tag}"),),
    )
    there = context(localaws, tmp_path, logins, git_secret=f"own/{tag}")
    there = replace(there, settings=replace(there.settings, git_base="https://github.com/team-a"))
    found = credentials.git_credentials(there)
    assert [(one.username, one.token, one.base, one.modules) for one in found] == [
        ("me", "canary-own-1", "https://github.com/", ("github.com/team-a",)),
        ("oauth2", "canary-lab-2", "https://gitlab.example", ("go.example", "a.example/b")),
    ]
    assert credentials.indexes(there).authorization("https://npm.example/x") == "Bearer canary-lab-2"


def test_a_forge_whose_secret_is_absent_fails_only_what_needs_it(localaws: Server, tmp_path: Path) -> None:
    tag = uuid.uuid4().hex[:8]
    localaws.client("secretsmanager").create_secret(Name=f"lab/{tag}", SecretString="canary-lab-2")
    logins = Logins(
        git=(
            GitLogin(base="https://lab.example", token=f"secretsmanager:lab/{tag}"),
            GitLogin(base="https://gone.example/team", token=f"secretsmanager:gone/{tag}#token"),
            GitLogin(base="https://app.example", app_id="1", installation_id="2", private_key=f"ssm:/gone/{tag}"),
        )
    )
    there = context(localaws, tmp_path, logins, git_secret=f"own/{tag}")
    here = credentials.git_credentials(there)
    sent = Granted.parse(Fields(json.loads(json.dumps(Granted(git=here).as_json())))).git
    for known in (here, credentials.git_credentials(there), sent):
        lab = credentials_for("https://lab.example/a/b.git", known)
        assert lab is not None
        assert lab.token == "canary-lab-2"
        assert credentials_for("https://gone.example/others/b.git", known) is None
        for url, says in (
            ("https://gone.example/team/b", f"[git gone.example/team] in config.ini: secretsmanager:gone/{tag}"),
            ("https://app.example/b.git", f"[git app.example] in config.ini: ssm:/gone/{tag}"),
            ("https://github.com/b/c", f"secretsmanager:own/{tag}"),
        ):
            with pytest.raises(SecretMissing) as caught:
                credentials_for(url, known)
            assert caught.value.message == f"{says} does not exist"
            assert caught.value.hint


@dataclass
class CodeArtifact:
    """What answers GetAuthorizationToken here; the embedded AWS has no CodeArtifact."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    status: int = 200


@pytest.fixture
def codeartifact(monkeypatch: pytest.MonkeyPatch) -> Iterator[CodeArtifact]:
    state = CodeArtifact()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            state.asked.append(self.path)
            refused = {"message": "User is not authorized", "__type": "AccessDeniedException"}
            answer = {"authorizationToken": "canary-codeartifact-5"} if state.status == 200 else refused
            body = json.dumps(answer).encode()
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("x-amzn-errortype", "AccessDeniedException")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    monkeypatch.setenv("AWS_ENDPOINT_URL_CODEARTIFACT", f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def test_codeartifact_gives_a_token_to_the_role(localaws: Server, tmp_path: Path, codeartifact: CodeArtifact) -> None:
    index = IndexLogin(
        name="aws",
        url="https://shop-999999999999.d.codeartifact.us-east-1.amazonaws.com/pypi/python/simple",
        username="aws",
        password="codeartifact:999999999999/shop",
    )
    there = context(localaws, tmp_path, Logins(indexes=(index,)))
    indexes = credentials.indexes(there)
    assert indexes.login("https://packages.example.org/simple/x/") is None
    assert not codeartifact.asked, "a token is asked for before it is needed"
    for _ in range(2):
        assert indexes.login(f"{index.url}/x/") == Login(user="aws", password="canary-codeartifact-5")
    assert [urlsplit(asked).path for asked in codeartifact.asked] == ["/v1/authorization-token"]
    assert parse_qs(urlsplit(codeartifact.asked[0]).query) == {
        "domain": ["shop"],
        "domain-owner": ["999999999999"],
        "duration": ["0"],
    }
    assert there.secrets.mask("canary-codeartifact-5") == "***"
    codeartifact.status = 403
    with pytest.raises(AccessDenied, match="CodeArtifact's domain shop"):
        credentials.indexes(context(localaws, tmp_path, Logins(indexes=(index,)))).login(index.url)


ODD = "ghp_0123456789\u200babcdef"


@pytest.mark.parametrize(
    ("value", "character"),
    [
        (ODD, "U+200B (zero width space)"),
        ("\u201cghp_0123456789\u201d", "U+201C (left double quotation mark)"),
        ("ghp_01234\n56789", "U+000A"),
        ("ghp_01234\x0056789", "U+0000"),
        ("ghp_01234\u00a056789", "U+00A0 (no-break space)"),
        ("ghp_01234\N{SNOWMAN}", "U+2603 (snowman)"),
    ],
    ids=["invisible", "quotes", "lines", "null", "blank", "symbol"],
)
def test_a_token_that_cannot_be_sent_is_an_error_that_names_its_secret(
    localaws: Server, tmp_path: Path, value: str, character: str
) -> None:
    name = f"odd-{uuid.uuid4().hex}"
    localaws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps({"token": value, "user": "u"}))
    place = f"secretsmanager:{name}#token"
    index = IndexLogin(name="corp", url="https://pypi.example/simple", username="u", password=place)
    bearer = replace(index, username="", password="", token=place)
    user = replace(index, username=place, password=f"secretsmanager:{name}#user")
    there = context(localaws, tmp_path, Logins(git=(GitLogin(base="https://git.example", token=place),)))
    read = credentials.indexes(there).read
    asked: list[Callable[[], object]] = [partial(read, each) for each in (index, bearer, user)]
    asked.append(lambda: credentials_for("https://git.example/a", credentials.git_credentials(there)))
    for ask in asked:
        with pytest.raises(InvalidConfiguration) as caught:
            ask()
        where = "[git git.example] in config.ini: " if ask is asked[-1] else ""
        assert caught.value.message == f"{where}{place} has a character that cannot be sent, {character}"
        assert not any(part in caught.value.message for part in ("ghp", "01234"))
        assert "setup.py secret set" in caught.value.hint
    own = context(localaws, tmp_path, Logins(), git_secret=name)
    with pytest.raises(InvalidConfiguration, match=f"the token in secret {name} has a character") as caught:
        credentials_for("https://github.com/a/b", credentials.git_credentials(own))
    assert "renew git_token" in caught.value.hint


def test_white_space_around_a_login_does_not_belong_to_it(localaws: Server, tmp_path: Path) -> None:
    name = f"blank-{uuid.uuid4().hex}"
    localaws.client("secretsmanager").create_secret(Name=name, SecretString=" \tto-ken-0123456789 \r\n")
    git = GitLogin(base="https://git.example/team-a", token=f"secretsmanager:{name}")
    index = IndexLogin(name="corp", url="https://pypi.example/simple", username="u", password=f"secretsmanager:{name}")
    there = context(localaws, tmp_path, Logins(git=(git,), indexes=(index,)))
    (login,) = credentials.git_credentials(there)
    assert login.token == "to-ken-0123456789"
    assert login.called == f"the login of [git git.example/team-a] in config.ini, secretsmanager:{name}"
    assert credentials.indexes(there).read(index) == ("u", "to-ken-0123456789")
    assert there.secrets.mask("it is to-ken-0123456789") == "it is ***"
    # The commands of a project get what is there.
    there.allowed_secrets.add(f"secretsmanager:{name}")
    assert credentials.CommandSecrets(there).values([f"secretsmanager:{name}"])[f"secretsmanager:{name}"][0] == " "


def test_a_secret_too_short_to_be_masked_is_warned_of(localaws: Server, tmp_path: Path) -> None:
    there, name = context(localaws, tmp_path, Logins()), f"short-{uuid.uuid4().hex}"
    client = localaws.client("secretsmanager")
    client.create_secret(Name=name, SecretString=json.dumps({"pin": "12345", "pass": 1234, "long": 123456}))
    whole = f"secretsmanager:{name}"
    there.allowed_secrets.update({whole, *(f"{whole}#{key}" for key in ("pin", "pass", "long"))})
    values = credentials.CommandSecrets(there).values([f"{whole}#pass", f"{whole}#long", whole])
    assert (values[f"{whole}#pass"], there.progress.warnings) == ("1234", [])
    credentials.CommandSecrets(there).values([f"{whole}#pin"])
    assert len(there.progress.warnings) == 1
    assert there.progress.warnings[0].startswith(f"{whole}#pin: the value is too short to be masked")
    assert there.secrets.mask("1234 12345 123456") == "*** ***5 ***"


def test_a_login_keeps_its_name_on_its_way_to_the_worker() -> None:
    login = GitCredentials(
        username="u", token="t", base="https://git.example", modules=("a", "b"), called="[git x]", renewal="renew it"
    )
    given = Granted(git=(login,))
    assert Granted.parse(Fields(json.loads(json.dumps(given.as_json())))) == given
