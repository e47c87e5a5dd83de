"""What deploy.sh decides before it talks to AWS, its JSON, and what bash 3.2 would refuse."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import AWKS, SCRIPT, Project, with_awk


def test_help_is_the_header(project: Project) -> None:
    done = project.run("-h")
    assert done.returncode == 0
    assert done.stdout.startswith("Builds a project")
    for option in [
        *"abcfgilprswBtvynh",
        "-upgrade",
        "-force",
        "-stage",
        "-template",
        "-stack",
        "-parameter",
        "-independent",
        "-rollback",
        "-history",
        "-status",
        "-verify",
        "-package",
        "-unpack",
    ]:
        assert re.search(rf"^  -{option} ", done.stdout, re.MULTILINE), option
    assert "set -u" not in done.stdout
    assert project.run("--help").stdout == done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-x"], "unknown option -x"),
        (["-y", "--forced"], "unknown option --forced"),
        (["function", "-z"], "unknown option -z"),
        (["-a"], "option -a needs a value"),
        (["-y", "-c", "no.ini"], "no.ini: no such file"),
        (["-y", "-g", "https://me:s3cret@git.example/x"], "contains credentials"),
        (["-y", "-g", "../there"], "cannot read this machine's disk"),
        (["-y", "-l", "/no/such/dir/log"], "log file /no/such/dir/log: cannot be written"),
        (["-y", "-i", "none.json"], "payload none.json: no such file"),
        (["--rollback"], "there is no terminal to ask on"),
        (["--status", "--history"], "--history together with --status: one of them at a time"),
        (["--history", "--send"], "--history with -s: it means nothing there"),
        (["-n", "--verify"], "--verify with -n: it means nothing there"),
        (["--rollback", "-n", "-s"], "--rollback with -s -n: it means nothing there"),
        (["-y", "--stage"], "--stage needs the name of a stage"),
        (["-y", "--stack", "-n"], "--stack needs the name of a stack"),
        (["-y", "--parameter", "Level"], "--parameter needs a name and a value"),
        (["--package"], "--package needs the directory that is written to"),
        (["--unpack", "-s"], "--unpack needs the directory that is written to"),
        (["--package", "build.yaml"], "build.yaml: is not a directory that can be written to"),
        (["--package", "out", "-n"], "--package with -n: it means nothing there"),
        (["--package", "out", "--unpack", "tree"], "--unpack together with --package: one of them at a time"),
        (["--unpack", "."], "--unpack .: is not empty"),
        (["-ys", "-g", "acme/a"], "-g together with -s"),
        (["-y", "-b", "main", "-s"], "-b together with -s"),
        (["-y", "-s", "no/such"], "-s no/such: no such directory"),
        (["-y", "-s", ".."], "has no build.yaml (or .yml, .json) and no template.yaml"),
    ],
)
def test_wrong_usage(project: Project, arguments: list[str], message: str) -> None:
    done = project.run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "hint: " in done.stderr
    assert "s3cret" not in done.stderr


def test_null_is_no_event(project: Project) -> None:
    (project.directory / "my event").write_text(" null\n", encoding="utf-8")
    done = project.run("-y", "-i", "my event")
    assert done.returncode == 2
    assert "payload my event: to the builder, null is no event at all" in done.stderr


def test_all_wrong_usage_is_told_at_once(project: Project) -> None:
    """Flags, file, environment and their contradictions: one run names them all, and reaches nobody."""
    project.config("[deploy]\nbrnch = x\nversion = perhaps\nnonsense\n")
    done = project.run(
        "-x", "--nonsense", "--rollback", "-s", "-l", "/no/such/dir/log", "-f",
        LAMBDASMITH_READ_TIMEOUT="soon", LAMBDASMITH_DEPLOY_TIME="now",
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("deploy.sh: ")]
    for part in (
        "option -x", "option --nonsense", "--rollback with -s", "option -f needs a value", "brnch",
        "config.ini:4: not a", "/no/such/dir/log", "neither true nor false", "LAMBDASMITH_DEPLOY_TIME",
        "READ_TIMEOUT", "no terminal",
    ):  # fmt: skip
        assert any(part in line for line in lines), (part, lines)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[deploy]\nbrnch = x\n", "[deploy] brnch: unknown key"),
        ("[deploy]\n\nnonsense\n", "config.ini:3: not a `key = value` line"),
        ("[deploy]\nversion = perhaps\n", "version: 'perhaps' is neither true nor false"),
        ("[aws]\naws_access_key_id = x\n", "without aws_secret_access_key"),
    ],
)
def test_wrong_configuration(project: Project, config: str, message: str) -> None:
    project.config(config)
    done = project.run("-y")
    assert done.returncode == 2
    assert message in done.stderr


def test_without_the_aws_cli(project: Project, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "awk", "sed", "tr", "od", "date", "mktemp", "dirname", "cat"):
        (tools / tool).symlink_to(shutil.which(tool) or "")
    project.env["PATH"] = str(tools)
    done = project.run("-y")
    assert done.returncode == 3
    assert "the AWS CLI is not installed" in done.stderr


def test_behind_a_link(project: Project, tmp_path: Path) -> None:
    """A link in ~/bin means the project it points to, a link in a project means that project."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "deploy").symlink_to(Path(os.pardir) / "orders" / "deploy.sh")
    find = 'find_project "$1"; printf %s "$PROJECT"'
    assert project.function(find, str(tmp_path / "bin" / "deploy")) == str(project.directory)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "build.json").write_text("{}", encoding="utf-8")
    (mine / "deploy.sh").symlink_to(project.directory / "deploy.sh")
    assert project.function(find, str(mine / "deploy.sh")) == str(mine)


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://git.example/acme/a.git", "https://git.example/acme/a.git"),
        ("https://me:tok@git.example:8443/acme/a/", "https://git.example:8443/acme/a"),
        ("http://127.0.0.1:4000/a.git", "http://127.0.0.1:4000/a.git"),
        ("git@git.example:acme/a.git", "https://git.example/acme/a.git"),
        ("ssh://git@git.example:22/acme/a b.git", "https://git.example/acme/a b.git"),
        ("git://git.example/a", "https://git.example/a"),
        ("work:acme/a", ""),
        ("/srv/git/a.git", ""),
        ("../a.git", ""),
        ("file:///srv/git/a.git", ""),
        ("C:\\git\\a", ""),
        ("", ""),
    ],
)
def test_remotes(project: Project, remote: str, url: str) -> None:
    """A remote becomes what the builder can fetch over https, without credentials; else nothing."""
    assert project.function('https_url "$1"', remote).strip() == url


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    more=st.lists(st.text(st.sampled_from('"\\/\n\té\x1f u{}[],:😀%2'), max_size=12), min_size=1, max_size=4),
)
def test_json_written(project: Project, text: str, more: list[str]) -> None:
    """Whatever a name contains, the event is valid JSON that says exactly that name."""
    code = """
EVENT='"b": true' list=''
field a "$1"
shift
for each in "$@"; do quote "$each"; list="$list${list:+, }$QUOTED"; done
json_field c "[$list]"
json_field d ''
printf '{%s}' "$EVENT"
"""
    written = json.loads(project.function(code, text, *more))
    assert written == {"b": True, "c": more} | ({"a": text} if text else {})


_TEXT = st.text(st.sampled_from('abc"\\/ é😀\ud83d{}[],:0%\u2028'), max_size=10)
_TOLD = {"shell": "status 200%0Acommit abc%0Aplain a%22 %5C%C3%A9%0Aplain %0Aplain b"}
# What would be taken for the builder's own if only its looks counted.
_FORGED = {"shell": "status 500%0Aplain forged", "reply": {"text": {"shell": "status 500"}}}
_STRINGS = st.sampled_from(
    [
        '"text": {"shell": "status 500"}}',
        "}}",
        'x", "text": {"shell": "',
        '\\"text\\": {\\"shell\\": \\"status 500\\"}}',
        "\\",
    ]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXT | _STRINGS | st.just(_FORGED) | st.just({"text": _FORGED}),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_TEXT | _STRINGS | st.sampled_from(["text", "shell", "build"]), inner, max_size=3)
    ),
    max_leaves=12,
)
READING = """
TMP=$1 ANSWER=an
read_reply an
printf '%s,%s\\n' "$SAID_status" "$SAID_commit"
said plain
bare_reply
"""


@pytest.mark.parametrize("awk", AWKS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=_VALUES, inner=_VALUES, ended=st.booleans(), ascii=st.booleans(), indent=st.sampled_from([None, ""]))
def test_only_the_builders_own_text_is_believed(
    project: Project, awk: str, before: object, inner: object, ended: bool, ascii: bool, indent: str | None
) -> None:
    """Whatever else is in the reply. The rest is kept byte for byte: of a build that has ended, what it replied."""
    reply = {"statusCode": 200, "before": before, "{": [inner, {"text": _FORGED}]}
    told = {"shell": _TOLD["shell"].replace("plain", "state ended%0Aplain", 1)} if ended else _TOLD
    whole = {"statusCode": 200, "build": {"function": "reply", "reply": reply}} if ended else reply
    separators = (",", ":") if indent == "" else None
    document = json.dumps({**whole, "text": told}, ensure_ascii=ascii, separators=separators)
    (project.directory / "an.reply").write_bytes(document.encode("utf-8", "replace"))
    read = project.function(READING, str(project.directory), **with_awk(project, awk))
    fields, *plain, bare = read.rstrip("\n").split("\n", 4)
    assert [fields, *plain] == ["200,abc", 'a" \\é', "", "b"]
    sent = json.dumps(reply, ensure_ascii=ascii, separators=separators)
    assert bare == sent.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("awk", AWKS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=_VALUES, text=st.text(st.sampled_from('abc"\\/ %é\n\t{}[],:0'), min_size=1, max_size=10))
def test_what_is_no_reply_for_this_script_is_told_as_it_is(
    project: Project, awk: str, value: object, text: str
) -> None:
    """A text further inside is not the reply's; of errors there is the message on one line."""
    file, env = project.directory / "an.reply", with_awk(project, awk)
    for document in (
        {"statusCode": 200, "invoke": {"payload": value, "more": {"text": _TOLD}}},
        {"statusCode": 200, "invoke": value, "text": [_TOLD]},
        {"statusCode": 200, "text": _TOLD, "invoke": value},
    ):
        file.write_bytes(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))
        read = project.function(READING, str(project.directory), **env)
        assert read.startswith("200,\n")
        assert "\nstatus" not in read
    file.write_text(json.dumps({"errorMessage": f"<{text}>", "errorType": "X"}, ensure_ascii=False), encoding="utf-8")
    code = 'TMP=$1; read_reply an; printf "%s: %s\\n" "$SAID_type" "$SAID_message"'
    line = re.sub(r"[\n\t]+", " ", text)
    assert project.function(code, str(project.directory), **env) == f"X: <{line}>\n"


@pytest.mark.parametrize("awk", AWKS)
def test_an_error_of_lambdas_is_one_line_however_its_breaks_are_written(project: Project, awk: str) -> None:
    forged = r'{"errorMessage": "x\u000acommit abc\nzip ../../x f h b k 1\u000d", "errorType": "X"}'
    (project.directory / "an.reply").write_text(forged)
    code = 'TMP=$1; read_reply an; printf "%s|%s|%s\n" "$SAID_message" "$SAID_commit" "$(said zip)"'
    read = project.function(code, str(project.directory), **with_awk(project, awk))
    assert read == "x commit abc zip ../../x f h b k 1||\n"


@pytest.mark.parametrize("awk", AWKS)
def test_only_colours_are_left_of_what_terminals_obey(project: Project, awk: str) -> None:
    code = 'printf "%s\\n" "$1" | printable colour'
    text = "\x1b[1;31mred\x1b[0m \x1b]0;title\x07 \x1b[2J \x01\x1b[3 \x1b\x1b[32mok"
    told = "\x1b[1;31mred\x1b[0m ]0;title [2J [3 \x1b[32mok\n"
    assert project.function(code, text, **with_awk(project, awk)) == told


def test_a_large_reply_is_read_in_no_time(project: Project) -> None:
    """The reader's time grows with the length, not with its square."""
    rows = [{"a": 'b\\"' * 5, "n": i} for i in range(20000)]
    document = json.dumps({"statusCode": 200, "rows": rows, "text": _TOLD})
    (project.directory / "an.reply").write_text(document, encoding="utf-8")
    assert project.function(READING, str(project.directory)).startswith("200,abc\n")


@pytest.mark.parametrize(
    "construct",
    [
        r"\b(declare|local|typeset) -[a-zA-Z]*[Anglu]",  # associative arrays, references, case
        r"\b(mapfile|readarray|coproc)\b",
        r"\$\{[A-Za-z_]+(\[[^]]*\])?(,,?|\^\^?|@[A-Za-z])[^}]*\}",  # case and quoting of values
        r"wait -[nfp]",
        r"\|&|&>>|;;?&(?!&)",
        r"printf ['\"]?%\([^)]*\)T",
        r"\$\{[A-Za-z_]+: -|\$\{[A-Za-z_]+\[-1\]\}|\$\{[A-Za-z_]+:[^}]*:-\d",  # negative indices and lengths
        r"\{fd\}|\$EPOCH|\$\{EPOCH|BASHPID|\[\[ -v|shopt -s (globstar|lastpipe)",
        r"\b(sed -[a-z]*[rE]|date -d|date \+%N|stat -|readlink -f|realpath|head -n -|base64 -d|mktemp --)",  # GNU only
    ],
)
def test_nothing_newer_than_bash_3_2(construct: str) -> None:
    """macOS has bash 3.2 and BSD tools."""
    code = re.sub(r"(?m)^ *#.*$", "", SCRIPT.read_text(encoding="utf-8"))
    assert not [line for line in code.splitlines() if re.search(construct, line)]


# --- the log --------------------------------------------------------------------------------------------------------


def test_the_log_is_for_its_owner_alone(project: Project) -> None:
    log = project.directory / "deploy.log"
    project.run("-n")
    assert log.stat().st_mode & 0o777 == 0o600
    before = log.read_text(encoding="utf-8")
    log.chmod(0o644)  # as an earlier version left it
    project.run("-n")
    assert log.stat().st_mode & 0o777 == 0o600
    assert log.read_text(encoding="utf-8").startswith(before)


@pytest.mark.parametrize("link", ["symbolic", "dangling", "hard"])
def test_a_planted_link_is_not_written_through(project: Project, link: str) -> None:
    """A repository may come with a deploy.log that leads to a file of whoever deploys it."""
    victim, log = project.directory.parent / "victim", project.directory / "deploy.log"
    if link != "dangling":
        victim.write_text("mine\n", encoding="utf-8")
        victim.chmod(0o640)
    if link == "hard":
        log.hardlink_to(victim)
    else:
        log.symlink_to(victim)
    said = project.run("-n").stderr
    assert "there is no log of this run" in said
    if link == "dangling":
        assert not victim.exists()
    else:
        assert victim.read_text(encoding="utf-8") == "mine\n"
        assert victim.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(("made", "why"), [("link", "is a symbolic link"), ("pipe", "cannot be written")])
def test_a_log_that_was_named_must_be_a_file(project: Project, made: str, why: str) -> None:
    place = project.directory / "named.log"
    if made == "link":
        place.symlink_to("elsewhere")
    else:
        os.mkfifo(place)
    done = project.run("-n", "-l", str(place))
    assert done.returncode == 2
    assert f"log file {place}: {why}" in done.stderr
    assert not (project.directory / "elsewhere").exists()


def test_no_log_is_wanted(project: Project) -> None:
    mode = Path(os.devnull).stat().st_mode
    assert "log file" not in project.run("-n", "-l", os.devnull).stderr
    assert Path(os.devnull).stat().st_mode == mode
    assert not (project.directory / "deploy.log").exists()


HIDING = {
    "colours": ("a\x1b[31mb", "a[31mb"),
    "C1": ("a\x9b31mb\x85", "a?31mb?"),
    "turned": ("a\u202ecod.exe\u2066\u2069", "a?cod.exe??"),
    "invisible": ("a\u200bb\ufeffc\u00add\U000e0041", "a?b?c?d?"),
    "plain": ("päckchen 包 … – 🎁", "päckchen 包 … – 🎁"),
}


@pytest.mark.parametrize("awk", AWKS)
@pytest.mark.parametrize("what", HIDING)
def test_nothing_that_a_terminal_obeys_is_said_or_logged(project: Project, what: str, awk: str) -> None:
    text, told = HIDING[what]
    log = project.directory / "x.log"
    code = 'exec 9>"$2"; LOG=$2 TMP=${2%/*}; { say "$1"; record "$1"; } 2>&1; printf "%s\\n" "$1" | printable'
    assert project.function(code, text, str(log), **with_awk(project, awk)) == f"{told}\n{told}\n"
    assert [line.partition(" ")[2] for line in log.read_text(encoding="utf-8").splitlines()] == [told, told]


# What main() settles before it reaches out, without a log.
SETTLED = """
find_project "$1/deploy.sh"
TMP=$1/..
shift
parse_flags "$@"
read_config
setting VALUE "$FLAG_l" LAMBDASMITH_DEPLOY_LOG deploy.log deploy.log_file aws.log_file .log_file
LOG_FILE=$VALUE
LOG=''
read_git
settle
printf '%s\\n' "$FUNCTION" "$REPO" "$REF" "$LOG_FILE" "$PROFILE" "$REGION" "yes=$YES"
"""


@pytest.mark.parametrize("section", ["[aws]\n", ""], ids=["aws", "no-section"])
def test_a_config_of_the_original_implementation_is_read(project: Project, section: str) -> None:
    """It found its keys wherever they stood, and in either case of letters."""
    project.config(
        f"{section}AWS_PROFILE = p\naws_region = us-east-1\nfunction_name = thumbs\ngit_repo = pictures\n"
        "git_branch = release\nlog_file = thumbs.log\nPROMPT_BEFORE_DEPLOY = False\n"
        "[builder]\nfunction_name = lambda-lambda-lambda\n"
    )
    told = project.function(SETTLED, str(project.directory)).split("\n")[:-1]
    assert told == ["thumbs", "pictures", "release", "thumbs.log", "p", "us-east-1", "yes=true"]
    text = (project.directory / "config.ini").read_text(encoding="utf-8")
    project.config(f"[deploy]\nyes = no\nfunction = other\n{text}" if section else text.replace("False", "true"))
    told = project.function(SETTLED, str(project.directory), "-n").split("\n")[:-1]
    assert told[0::6] == (["other", "yes="] if section else ["thumbs", "yes="])
