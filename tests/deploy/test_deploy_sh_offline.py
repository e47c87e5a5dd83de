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
        (["-y", "-i", "build.yaml"], "payload build.yaml: is not JSON"),
        (["-y", "-w", "0.1"], "-w 0.1: there is no alias"),
        *(
            (["-y", "-a", "live", "-w", weight], "is not a number between 0 and 1")
            for weight in ("0", "1", "1.5", "0.", ".0", "0.1x", "10%", "-0.1", "1e-1")
        ),
        (["--rollback"], "there is no terminal to ask on"),
        (["--rollback", "-y", "b 1"], "--rollback: 'b 1' is not the id of a build"),
        (["--verify", "b-1", "b-2"], "--verify: b-1 b-2: one of them at a time"),
        (["--status", "--history"], "--history together with --status: one of them at a time"),
        (["--history", "0"], "--history: '0' is not a number from 1 to 100"),
        (["--history", "101"], "'101' is not a number from 1 to 100"),
        (["--history", "-a", "live"], "-a means nothing to --history"),
        (["-i", "build.yaml", "--rollback", "-y"], "-i means nothing to --rollback"),
        (["--verify", "--force"], "--force means nothing to --verify"),
        (["--history", "--send"], "-s means nothing to --history"),
        (["--package"], "--package needs the directory that is written to"),
        (["--unpack", "-s"], "--unpack needs the directory that is written to"),
        (["--package", "build.yaml"], "build.yaml: is not a directory that can be written to"),
        (["--package", "out", "-y", "-v"], "-v means nothing to --package"),
        (["--package", "out", "--unpack", "tree"], "--unpack together with --package: one of them at a time"),
        (["--unpack", "."], "--unpack .: is not empty"),
        (["--unpack", "tree", "function", "fonts"], "--unpack: function fonts: one of them at a time"),
        (["-ys", "-g", "acme/a"], "-g together with -s"),
        (["-y", "-b", "main", "-s"], "-b together with -s"),
        (["-y", "-s", "no/such"], "-s no/such: no such directory"),
        (["-y", "-s", ".."], "has no build.yaml, build.yml or build.json"),
    ],
)
def test_wrong_usage(project: Project, arguments: list[str], message: str) -> None:
    done = project.run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "hint: " in done.stderr
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [(b'"\xe9"', "is not in UTF-8"), (b" null\n", "null is no event"), (b"", "is not JSON"), (b"\0{}", "is not JSON")],
)
def test_payloads_that_cannot_be_sent(project: Project, content: bytes, message: str) -> None:
    (project.directory / "my event").write_bytes(content)
    done = project.run("-y", "-i", "my event")
    assert done.returncode == 2
    assert f"payload my event: {message}" in done.stderr.replace("to the builder, ", "")


def test_all_wrong_usage_is_told_at_once(project: Project) -> None:
    """Flags, file, environment and their contradictions: one run names them all, and reaches nobody."""
    project.config("[deploy]\nbrnch = x\nversion = perhaps\nnonsense\n")
    done = project.run(
        "-x", "--nonsense", "--rollback", "-b", "main", "a", "b", "-l", "/no/such/dir/log", "-f",
        LAMBDASMITH_READ_TIMEOUT="soon", LAMBDASMITH_DEPLOY_TIME="now",
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("deploy.sh: ")]
    for part in (
        "option -x", "option --nonsense", "-b means nothing to --rollback", "option -f needs a value", "brnch",
        "config.ini:4: not a", "/no/such/dir/log", "neither true nor false", "LAMBDASMITH_DEPLOY_TIME",
        "a b: one of them", "READ_TIMEOUT", "no terminal",
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


def test_payloads_are_checked(project: Project) -> None:
    """Only one whole JSON value is sent, wherever the file lies and whatever it is called."""
    for number, (text, valid) in enumerate(
        [("{}", 1), (' [1, -0.5e+3, "x"]\n', 1), ("null", 1), ("", 0), ("{", 0), ("{} {}", 0), ("tru", 0), ("[01]", 0)]
    ):
        file = project.directory / f"a=b {number}.json"
        file.write_text(text, encoding="utf-8")
        told = project.function('is_json "$1" && echo valid || echo wrong', str(file))
        assert told == ("valid\n" if valid else "wrong\n"), text


@pytest.mark.parametrize("awk", AWKS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    more=st.lists(st.text(st.sampled_from('"\\/\n\té\x1f u{}[],:😀'), max_size=12), max_size=4),
)
def test_json_written(project: Project, awk: str, text: str, more: list[str]) -> None:
    """Whatever a name contains, the event is valid JSON that says exactly that name."""
    code = 'name=$1; shift; list=(); for x in "$@"; do list+=("s:$x"); done\n'
    code += 'json "{" s:a "s:$name" s:b j:true s:c "j:$(json "[" ${list[@]+"${list[@]}"})"'
    file = project.directory / "content"
    file.write_text(json.dumps({"inner": text}, indent=1), encoding="utf-8")
    code = code.replace(" s:b j:true", f' s:b j:true s:d "f:{file}"')
    written = project.function(code, text, *more, **with_awk(project, awk))
    assert json.loads(written) == {"a": text, "b": True, "c": more, "d": {"inner": text}}


_TEXT = st.text(st.sampled_from('abc"\\/ é😀\ud83d{}[],:0\u2028'), max_size=10)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize("awk", AWKS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=_VALUES, text=_TEXT, after=_VALUES, ascii=st.booleans(), indent=st.sampled_from([None, 2]))
def test_json_read(
    project: Project, awk: str, before: object, text: str, after: object, ascii: bool, indent: int | None
) -> None:
    """A value is found whatever lies around it; half a text, or more than one, is noticed."""
    document = json.dumps({"x": before, "y": [1, {"z/": text}], "w": after}, ensure_ascii=ascii, indent=indent)
    file = project.directory / "document"
    env = with_awk(project, awk)
    for whole in (True, False):
        data = document if whole else document[:-1] if len(text) % 2 else document + "]"
        file.write_bytes(data.encode("utf-8", "replace"))
        read = project.function('json_lines "$1" /y/1/z~1 && echo whole || echo broken', str(file), **env)
        if not whole:
            assert read == "broken\n"
        else:
            # A lone surrogate is nothing that a terminal could show.
            expected = text.replace("\ud83d", "\ufffd" if ascii else "?").replace("\u2028", "?")
            assert read == f"{expected}\nwhole\n"


@pytest.mark.parametrize("awk", AWKS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=_VALUES, inner=_VALUES, is_status=st.booleans(), indent=st.sampled_from([None, 2]))
def test_a_reply_without_its_text(
    project: Project, awk: str, before: object, inner: object, is_status: bool, indent: int | None
) -> None:
    """It is cut out of what came, byte for byte: the reply itself, or the one in the state of a build."""
    reply = {"statusCode": 200, "before": before, "{": [inner, {"text": "own"}]}
    whole = {"build": {"reply": reply, "more": 1}, "x": {"reply": 1}} if is_status else reply
    file = project.directory / "document"
    file.write_text(json.dumps({**whole, "text": {"plain": "a\n"}}, indent=indent), encoding="utf-8")
    root = "/build/reply" if is_status else ""
    code = f'REPLY_ROOT={root}; bare_reply "$1"; text_of "$1" plain'
    read, _, text = project.function(code, str(file), **with_awk(project, awk)).rstrip("\n").rpartition("\n")
    assert json.loads(read) == reply
    assert text == "a"


@pytest.mark.parametrize("awk", AWKS)
def test_only_colours_are_left_of_what_terminals_obey(project: Project, awk: str) -> None:
    code = 'printf "%s\\n" "$1" | printable colour'
    text = "\x1b[1;31mred\x1b[0m \x1b]0;title\x07 \x1b[2J \x01\x1b[3 \x1b\x1b[32mok"
    told = "\x1b[1;31mred\x1b[0m ]0;title [2J [3 \x1b[32mok\n"
    assert project.function(code, text, **with_awk(project, awk)) == told


def test_a_large_reply_is_read_in_no_time(project: Project) -> None:
    """The reader's time grows with the length, not with its square."""
    file = project.directory / "document"
    file.write_text(
        json.dumps({"rows": [{"a": 'b\\"' * 5, "n": i} for i in range(20000)], "end": "here"}), encoding="utf-8"
    )
    assert project.function('json_lines "$1" /end', str(file)) == "here\n"


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
    code = 'exec 9>"$2"; LOG=$2; { say "$1"; record "$1"; } 2>&1; printf "%s\\n" "$1" | printable'
    assert project.function(code, text, str(log), **with_awk(project, awk)) == f"{told}\n{told}\n"
    assert [line.partition(" ")[2] for line in log.read_text(encoding="utf-8").splitlines()] == [told, told]


# What main() settles before it reaches out, without a log.
SETTLED = """
find_project "$1/deploy.sh"
shift
parse_flags "$@"
read_config
pick "$FLAG_l" LAMBDASMITH_DEPLOY_LOG deploy.log deploy.log_file aws.log_file .log_file
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
