"""config.ini, environment and flags become one value; every problem is told at once and no secret is shown."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from bootstrap.config.read import read_config
from bootstrap.config.settings import SETTINGS, Config
from builder.errors import InvalidConfiguration
from tests.sources.forge import self_signed

ROOT = Path(__file__).resolve().parent.parent.parent


def read(
    tmp_path: Path, text: str = "", environment: dict[str, str] | None = None, flags: dict[str, str] | None = None
) -> Config:
    file = tmp_path / "config.ini"
    file.write_text(text)
    return read_config(file=file, required=True, environment=environment or {}, flags=flags or {})


def problems(tmp_path: Path, text: str = "", **more: dict[str, str]) -> list[str]:
    with pytest.raises(InvalidConfiguration) as caught:
        read(tmp_path, text, **more)
    return list(caught.value.problems) or [caught.value.message]


def test_everything_has_a_default(tmp_path: Path) -> None:
    assert read(tmp_path) == Config()


def test_a_missing_file_is_fine_unless_it_was_named(tmp_path: Path) -> None:
    absent = tmp_path / "none.ini"
    assert read_config(file=absent, required=False, environment={}, flags={}) == Config()
    with pytest.raises(InvalidConfiguration, match=r"none\.ini: no such file"):
        read_config(file=absent, required=True, environment={}, flags={})


def test_flags_win_over_environment_and_environment_over_file(tmp_path: Path) -> None:
    text = "[builder]\nmemory = 1024\ntimeout = 100\nephemeral_storage = 600\n"
    environment = {"LAMBDASMITH_BUILDER_TIMEOUT": "200", "LAMBDASMITH_BUILDER_EPHEMERAL_STORAGE": "700"}
    config = read(tmp_path, text, environment, {"ephemeral_storage": "800"})
    assert (config.memory_mb, config.timeout_s, config.ephemeral_storage_mb) == (1024, 200, 800)


def test_an_empty_value_counts_as_not_given(tmp_path: Path) -> None:
    config = read(tmp_path, "[builder]\nmemory = 1024\n", {"LAMBDASMITH_BUILDER_MEMORY": " "}, {"memory": ""})
    assert config.memory_mb == 1024


def test_lists_are_separated_by_commas_or_space(tmp_path: Path) -> None:
    config = read(
        tmp_path, "[builder]\nfunctions = shop-*, billing audit\nroles = a, arn:aws:iam::123456789012:role/x/b\n"
    )
    assert config.functions == ("shop-*", "billing", "audit")
    assert config.roles == ("a", "arn:aws:iam::123456789012:role/x/b")


def test_where_go_modules_and_npm_packages_come_from(tmp_path: Path) -> None:
    go, npm = (
        "https://go.example.com/x, https://mirror.example.com | direct",
        "https://npm.example.com @corp=https://c.example",
    )
    config = read(tmp_path, f"[builder]\ngo_proxy = {go}\nnpm_registry = {npm}\n")
    assert config.go_proxy == "https://go.example.com/x,https://mirror.example.com|direct"
    assert config.npm_registry == "https://npm.example.com,@corp=https://c.example"
    go, npm = "https://me:s3cret@go.example.com,direct", "@c:https://c.example"
    found = problems(tmp_path, f"[builder]\ngo_proxy = {go}\nnpm_registry = {npm}\n")
    assert found == [
        "config.ini: [builder] go_proxy: must not contain credentials",
        "config.ini: [builder] npm_registry: '@c:https://c.example' must be URLs, or @SCOPE=URL, separated by commas",
    ]
    [problem] = problems(tmp_path, "[builder]\nnpm_registry = https://a.example https://b.example\n")
    assert "must have one URL without a scope" in problem


def test_all_problems_are_told_together_with_the_nearest_names(tmp_path: Path) -> None:
    text = (
        "[aws]\naws_profil = x\ngit_username = me\n"
        "[bilder]\nmemory = 1\n"
        "[builder]\nmemory = 64\nruntime = python3.9\narchitecture = arm\nfunctions = a b!\ntimeout = 10m\n"
        "[deploy]\nanything = goes\n"
    )
    found = problems(tmp_path, text, environment={"LAMBDASMITH_BUILDER_MEMRY": "1"})
    assert found == [
        "config.ini: [aws] aws_profil: unknown key; did you mean aws_profile?",
        "config.ini: [aws] git_username: unknown key; it belongs in [github]",
        "config.ini: [bilder]: unknown section; did you mean builder?",
        "LAMBDASMITH_BUILDER_MEMRY: unknown variable; did you mean LAMBDASMITH_BUILDER_MEMORY?",
        "config.ini: [builder] runtime: 'python3.9' cannot run the builder; "
        "it runs on python3.11, python3.12, python3.13, python3.14",
        "config.ini: [builder] architecture: 'arm' must be x86_64 or arm64",
        "config.ini: [builder] memory: '64' must be a whole number of MB from 128 to 10240",
        "config.ini: [builder] timeout: '10m' must be a whole number of seconds from 1 to 900",
        "config.ini: [builder] functions: 'a b!' not a function's name or pattern: b!",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("memory = 1\n", "config.ini:1: a [section] must come first"),
        ("[aws]\n\nsecret stuff\n", "config.ini:3: not a `key = value` line"),
        ("[aws]\naws_region = mars\n", "is not an AWS region"),
        ("[aws]\ndeployment_bucket = My_Bucket\n", "is not a bucket name"),
        ("[aws]\naws_access_key_id = AK\n", "aws_secret_access_key: missing"),
        ("[github]\ngit_base = http://git.example.com\n", "must be an https:// URL"),
        ("[github]\ngit_hosts = gitlab.com, https://x.org\n", "not a host, as in git.example.org: https://x.org"),
        ("[github]\nca_bundle = /no/such/file\n", "cannot be read as certificates"),
        ("[builder]\nfunction_name = a/b\n", "must be 1 to 64 of"),
    ],
    ids=["no section", "no key", "region", "bucket", "half a key", "plain http", "hosts", "bundle", "function"],
)
def test_a_wrong_line_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    [problem] = problems(tmp_path, text)
    assert message in problem


def test_certificates_are_taken_out_of_their_file(tmp_path: Path) -> None:
    pem = self_signed(tmp_path / "forge.pem")
    config = read(tmp_path, f"[github]\nca_bundle = {pem}\ngit_hosts = gitlab.com, git.example.org:8443\n")
    assert config.git_hosts == ("gitlab.com", "git.example.org:8443")
    assert config.ca_bundle is not None
    assert config.ca_bundle.count("BEGIN CERTIFICATE") == 1
    assert "PRIVATE" in pem.read_text()
    assert "PRIVATE" not in config.ca_bundle
    assert read(tmp_path, "[github]\nca_bundle = /opt/forge.pem\n").ca_bundle == "/opt/forge.pem"


def test_a_key_that_is_there_twice_is_a_problem(tmp_path: Path) -> None:
    text = "[builder]\nmemory = 1024\n[aws]\n[builder]\nMemory = 2048\n"
    assert problems(tmp_path, text) == ["config.ini:5: [builder] memory: is in line 2 already"]


def test_secrets_are_in_no_message_and_no_representation(tmp_path: Path) -> None:
    config = read(tmp_path, "[github]\ngit_token = s3cret\n", {"LAMBDASMITH_AWS_AWS_PROFILE": "p"})
    assert config.git_token == "s3cret"
    assert "s3cret" not in repr(config)
    said = problems(
        tmp_path, "[github]\ngit_token = s3cret two\n[builder]\nindex_url = https://me:s3cret@example.com/\n"
    )
    assert len(said) == 2
    assert "s3cret" not in " ".join(said)
    said = problems(tmp_path, "[github]\ngit_token s3cret\n")
    assert "s3cret" not in " ".join(said)


def test_a_secret_flag_names_a_file(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("tok\n")
    assert read(tmp_path, flags={"git_token": str(token)}).git_token == "tok"
    assert "cannot be read" in problems(tmp_path, flags={"git_token": str(tmp_path / "none")})[0]
    assert {setting.flag for setting in SETTINGS if setting.secret} == {
        "--git-token-file",
        "--aws-secret-access-key-file",
    }


def test_the_stronger_of_profile_and_key_wins_and_in_one_file_the_profile(tmp_path: Path) -> None:
    key = "aws_access_key_id = AK\naws_secret_access_key = SK\n"
    both = {"LAMBDASMITH_AWS_AWS_PROFILE": "p", "LAMBDASMITH_AWS_AWS_ACCESS_KEY_ID": "AK"}
    [problem] = problems(tmp_path, f"[aws]\n{key}", environment=both)
    assert "exclude each other" in problem
    config = read(tmp_path, f"[aws]\naws_profile = p\n{key}")
    assert (config.aws_profile, config.aws_access_key_id, config.aws_secret_access_key) == ("p", None, None)
    config = read(tmp_path, f"[aws]\n{key}", flags={"aws_profile": "p"})
    assert (config.aws_profile, config.aws_access_key_id, config.aws_secret_access_key) == ("p", None, None)


def test_a_config_of_the_original_implementation_is_read(tmp_path: Path) -> None:
    """What is about projects there is deploy.sh's; only a function's name is one too many."""
    text = (
        "[aws]\naws_profile = p\naws_region = us-east-1\naws_access_key_id = AK\naws_secret_access_key = SK\n"
        "deployment_bucket = b-1\ngit_repo = thumbs\ngit_branch = main\nlog_file = deploy.log\n"
        "prompt_before_deploy = false\n[github]\ngit_email = me@example.com\ngit_token = 123\ngit_username = me\n"
    )
    config = read(tmp_path, text)
    assert (config.aws_profile, config.deployment_bucket, config.git_username) == ("p", "b-1", "me")
    [problem] = problems(tmp_path, text + "[aws]\nfunction_name = thumbs\n")
    assert "function_name: unknown key; it belongs in [builder]" in problem


def test_the_example_has_every_key_and_only_defaults(tmp_path: Path) -> None:
    text = (ROOT / "config.ini.example").read_text()
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    for section in ("aws", "github", "builder"):
        assert list(parser[section]) == [setting.key for setting in SETTINGS if setting.section == section]
    assert read(tmp_path, text) == Config()
