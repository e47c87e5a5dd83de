"""The operator's command line: parses, asks, calls the core and prints. Result on stdout, everything else on stderr."""

from __future__ import annotations

import argparse
import getpass
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from bootstrap import report, secrets
from bootstrap.changes import Step
from bootstrap.config.read import read_config
from bootstrap.config.settings import SETTINGS, Config
from bootstrap.invoke import call
from bootstrap.look import read_present, whereabouts
from bootstrap.names import Names, names_for
from bootstrap.package import package, write_package
from bootstrap.plan.converge import converge
from bootstrap.plan.installed import expire_days_of, functions_of
from bootstrap.plan.removal import remove
from bootstrap.plan.wanted import Wanted, wanted
from bootstrap.progress import shown
from bootstrap.report import Report
from bootstrap.state import Present
from bootstrap.steps.carry_out import carry_out
from bootstrap.steps.hands import Hands
from bootstrap.steps.setting_up import take_back
from bootstrap.walk import Done, walk
from builder.aws import Clients, connect
from builder.characters import visible
from builder.errors import InvalidConfiguration, LambdasmithError, NotSetUp

_ROOT = Path(__file__).resolve().parent.parent
_COMMANDS = {
    "init": "set up the builder in an account, or finish what an interrupted run began",
    "update": "update an installed builder to this checkout and this configuration (the default)",
    "status": "show what is installed, its versions and the last builds",
    "destroy": "remove what init made, and nothing else",
    "probe": "let the builder record which libraries its runtime really has, for later builds",
    "package": "write what Terraform needs to set the builder up into the directory OUT; no AWS is needed",
    "secret": "set NAME (the value is asked for, or comes on stdin), list, or remove NAME",
}
# Aliases from the original implementation's setup.py, without --function, which is too close to --functions.
_OLDER_FLAGS = {"deployment_bucket": ("--bucket",), "aws_region": ("--region",)}
_INTERRUPTED, _DECLINED = 130, 1


@dataclass(frozen=True)
class _Session:
    """One run of a command."""

    options: argparse.Namespace
    environment: Mapping[str, str]
    config: Config
    clients: Clients
    names: Names

    @property
    def asks(self) -> bool:
        """Whether there is a terminal to ask on."""
        return sys.stdin.isatty() and sys.stderr.isatty()


class _Declined(Exception):
    """The operator said no."""


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run one command and return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if bool(options.words) != (options.command in ("secret", "package")):
        parser.error("write: setup.py secret set NAME, secret list, or secret remove NAME; or setup.py package OUT")
    if options.init:
        if options.command not in ("init", parser.get_default("command")):
            parser.error(f"--init together with {options.command}: one of them at a time")
        options.command = "init"
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        result = _run(options, environment)
    except LambdasmithError as error:
        failed = report.failure(error)
        _say(*failed.lines)
        if options.json:
            print(report.as_json(failed))
        return error.exit_code
    except _Declined:
        _say("nothing was changed")
        return _DECLINED
    except KeyboardInterrupt:
        _say("interrupted; run the same command again to finish")
        return _INTERRUPTED
    print(report.as_json(result) if options.json else visible("\n".join(result.lines)))
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Only the first counts: a second Ctrl-C would break off the removal of temporary files.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _say(*lines: str) -> None:
    for line in lines:
        print(visible(line), file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="setup.py",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Sets up, upgrades and removes the Lambdasmith builder.\n\n"
        + "\n".join(f"  {name:<8} {text}" for name, text in _COMMANDS.items()),
        epilog="Every setting is read from config.ini, then from LAMBDASMITH_SECTION_KEY, then from its flag.",
        allow_abbrev=False,
    )
    parser.add_argument("command", nargs="?", choices=list(_COMMANDS), default="update", metavar="COMMAND")
    parser.add_argument("words", nargs="*", metavar="…", help="of secret: set NAME, list, remove NAME; of package: OUT")
    # The form of the original implementation's setup.py.
    parser.add_argument("--init", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-c", "--config", metavar="FILE", help="instead of config.ini beside setup.py")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument("-n", "--plan", action="store_true", help="show what would happen, and stop")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    for section in ("aws", "github", "builder"):
        group = parser.add_argument_group(f"[{section}]")
        for setting in SETTINGS:
            if setting.section == section:
                shown = "FILE" if setting.secret else setting.key.upper()
                text = f"a file that holds the {setting.help}" if setting.secret else setting.help
                also = _OLDER_FLAGS.get(setting.key, ())
                group.add_argument(setting.flag, *also, dest=setting.key, metavar=shown, help=text.replace("%", "%%"))
    return parser


def _run(options: argparse.Namespace, environment: Mapping[str, str]) -> Report:
    if options.command == "package":
        return _package(_config(options, environment), environment, options.words)
    session = _session(options, environment)
    match options.command:
        case "status":
            return _status(session)
        case "destroy":
            return _destroy(session)
        case "secret":
            return _secret(session)
        case "probe":
            return report.probe(call(session.clients, session.names.function, {"action": "probe"}))
        case _:
            return _converge(session)


def _config(options: argparse.Namespace, environment: Mapping[str, str]) -> Config:
    flags = {setting.key: getattr(options, setting.key) for setting in SETTINGS}
    return read_config(
        file=_config_file(options),
        required=bool(options.config),
        environment=environment,
        flags={key: value for key, value in flags.items() if value is not None},
    )


def _config_file(options: argparse.Namespace) -> Path:
    return Path(options.config) if options.config else _ROOT / "config.ini"


def _session(options: argparse.Namespace, environment: Mapping[str, str]) -> _Session:
    config, file = _config(options, environment), _config_file(options)
    if config.git_token and not options.git_token and file.is_file() and file.stat().st_mode & 0o077:
        _say(f"note: {file.name} can be read by other users of this machine; if it holds a token: chmod 600 {file}")
    clients = connect(
        profile=config.aws_profile,
        region=config.aws_region,
        access_key_id=config.aws_access_key_id,
        secret_access_key=config.aws_secret_access_key,
    )
    place = whereabouts(clients)
    names = names_for(function=config.function_name, bucket=config.deployment_bucket, place=place)
    # Before any request to S3: someone else may have made a bucket of this name.
    clients.expect_owner(names.bucket, place.account)
    return _Session(options=options, environment=environment, config=config, clients=clients, names=names)


def _look(session: _Session, want: Wanted | None, *, ask_builder: bool = True) -> Present:
    secret = want.secret if want else None
    return read_present(session.clients, session.names, secret=secret, ask_builder=ask_builder)


def _converge(session: _Session) -> Report:
    started = time.monotonic()
    built = package()
    present = _look(session, wanted(session.config, session.names, built))
    if session.options.command == "update" and present.function is None:
        raise NotSetUp(
            f"there is no builder {session.names.function} in account {session.names.place.account}, "
            f"region {session.names.place.region}",
            hint="run: python setup.py init",
        )
    session = _with_what_it_has(_with_functions(session, present), present)
    want = wanted(session.config, session.names, built)
    if _may_ask_for_token(session, present):
        token = getpass.getpass("git token for private repositories (empty for none): ").strip()
        want = wanted(replace(session.config, git_token=token or None), session.names, built)
    steps = converge(want, present)
    if not steps:
        return report.convergence(session.names, present, (), (), seconds=time.monotonic() - started)
    _say(*(f"note: {note}" for note in report.notes(session.config, private=bool(want.secret or present.secret))))
    _show_plan(session, steps)
    if session.options.plan:
        return _only_planned(steps)
    _confirm(session)
    started = time.monotonic()
    done, hands = _carry_out(session, steps)
    seconds = time.monotonic() - started
    # Not asked again after `setup`, which has just proved with ping that the builder is ready.
    now = _look(session, None, ask_builder=hands.ping is None)
    now = replace(now, ping=hands.ping or now.ping)
    return report.convergence(session.names, now, steps, done, seconds=seconds)


def _with_functions(session: _Session, present: Present) -> _Session:
    """Return the configuration with the functions that the builder may deploy: configured, present, or asked for now.

    Raises:
        InvalidConfiguration: they are not known, and there is no terminal to ask on.
    """
    if session.config.functions:
        return session
    if known := functions_of(present):
        return replace(session, config=replace(session.config, functions=known))
    if session.asks and not (session.options.yes or session.options.plan):
        sys.stderr.write("functions that the builder may deploy, as names or patterns (shop-*, billing): ")
        sys.stderr.flush()
        # Put among the flags, so that the answer is checked like one.
        session.options.functions = sys.stdin.readline().strip()
        if session.config.expire_days is None and present.function is None:
            sys.stderr.write("days after its last use until a built zip is removed (empty: never): ")
            sys.stderr.flush()
            session.options.expire_days = sys.stdin.readline().strip()
        session = replace(session, config=_config(session.options, session.environment))
    if not session.config.functions:
        raise InvalidConfiguration(
            "functions: missing; which functions may the builder deploy?",
            hint="write for example `functions = shop-*, billing` into [builder] of config.ini, or give --functions; "
            "`functions = *` is every function of the account and region",
        )
    return session


def _with_what_it_has(session: _Session, present: Present) -> _Session:
    """Return the configuration with earlier answers that it does not contain."""
    config = session.config
    return replace(
        session,
        config=replace(
            config,
            functions=config.functions or functions_of(present),
            expire_days=expire_days_of(present) if config.expire_days is None else config.expire_days,
        ),
    )


def _may_ask_for_token(session: _Session, present: Present) -> bool:
    wished = session.options.command == "init" and not (session.options.yes or session.options.plan)
    first_time = present.function is None and present.secret is None
    return wished and first_time and session.asks and session.config.git_token is None


def _show_plan(session: _Session, steps: Sequence[Step]) -> None:
    config = session.config
    who = f"profile {config.aws_profile}" if config.aws_profile else "credentials of the environment"
    who = "access key of the configuration" if config.aws_access_key_id else who
    _say(*report.plan_lines(session.names, steps, identity=who))


def _only_planned(steps: Sequence[Step]) -> Report:
    return Report(lines=["nothing was changed"], facts={"changed": False, "plan": [step.sentence for step in steps]})


def _confirm(session: _Session, *, type_this: str = "") -> None:
    """Return if the operator agrees.

    Raises:
        InvalidConfiguration: there is no terminal to ask on.
        _Declined: the operator does not.
    """
    if session.options.yes:
        return
    if not session.asks:
        raise InvalidConfiguration(
            "nothing was changed: this needs a yes, and there is no terminal to ask on", hint="add -y to agree"
        )
    question = f"type {type_this} to agree: " if type_this else "go on? [y/N] "
    sys.stderr.write(question)
    sys.stderr.flush()
    answer = sys.stdin.readline().strip()
    if answer != type_this if type_this else answer.lower() not in ("y", "yes"):
        raise _Declined


def _carry_out(session: _Session, steps: Sequence[Step]) -> tuple[tuple[Done, ...], Hands]:
    # A thread that ends late after Ctrl-C may still write to the directory while it is removed.
    with (
        tempfile.TemporaryDirectory(prefix="lambdasmith-", ignore_cleanup_errors=True) as work,
        shown(steps, sys.stderr, session.environment) as watcher,
    ):
        hands = Hands(
            clients=session.clients,
            names=session.names,
            work=Path(work),
            environment=session.environment,
            index_url=session.config.index_url,
            tell=watcher.said,
        )
        try:
            return walk(steps, lambda step: carry_out(step, hands), watcher), hands
        finally:
            _take_back(steps, hands)


def _take_back(steps: Sequence[Step], hands: Hands) -> None:
    try:
        take_back(steps, hands)
    except LambdasmithError as error:
        _say(f"note: the builder may still change itself; run the same command again to end that: {error.message}")


def _status(session: _Session) -> Report:
    present = _look(session, wanted(session.config, session.names, package()))
    if present.nothing:
        raise NotSetUp(
            f"nothing of a builder {session.names.function} is in account {session.names.place.account}, "
            f"region {session.names.place.region}",
            hint="run: python setup.py init",
        )
    answer: Mapping[str, object] = {}
    if present.ping and present.ping.ready:
        answer = call(session.clients, session.names.function, {"action": "status"})
    want = wanted(_with_what_it_has(session, present).config, session.names, package())
    return report.status(session.names, present, answer, converge(want, present))


def _package(config: Config, environment: Mapping[str, str], words: Sequence[str]) -> Report:
    if len(words) != 1:
        raise InvalidConfiguration("package takes one directory", hint="write: setup.py package OUT")
    out = Path(words[0])
    with tempfile.TemporaryDirectory(prefix="lambdasmith-") as work:
        facts = write_package(
            out, runtime=config.runtime, work=Path(work), environment=environment, index_url=config.index_url
        )
    lines = [f"{name}  {(out / name).stat().st_size:,} bytes" for name in ("builder.zip", "starter.zip")]
    lines.append(f"in {out}: builder {facts['version']} for {facts['runtime']}")
    return Report(lines=lines, facts=dict(facts))


def _secret(session: _Session) -> Report:
    clients, names = session.clients, session.names
    match session.options.words:
        case ["list"]:
            return report.secrets(secrets.list_secrets(clients, names))
        case ["set", name]:
            secret = secrets.full_name(names, name)  # report an unusable name before asking for a value
            # Never as an argument: arguments stay in the shell's history, and every user of the machine can read them.
            value = getpass.getpass(f"value of {secret}: ") if session.asks else sys.stdin.read().removesuffix("\n")
            return report.secret_set(secret, is_new=secrets.set_secret(clients, names, name, value))
        case ["remove", name]:
            _say(f"will delete secret {secrets.full_name(names, name)}")
            _confirm(session)
            return report.secret_removed(secrets.remove_secret(clients, names, name))
        case _:
            raise InvalidConfiguration(
                f"secret {' '.join(session.options.words[:1])}: not a command of setup.py",
                hint="write: setup.py secret set NAME, secret list, or secret remove NAME",
            )


def _destroy(session: _Session) -> Report:
    present = _look(session, None, ask_builder=False)
    steps = remove(session.names, present)
    if not steps:
        return report.removal(session.names, (), ())
    _show_plan(session, steps)
    if session.options.plan:
        return _only_planned(steps)
    _confirm(session, type_this=session.names.function)
    _, hands = _carry_out(session, steps)
    left = ", ".join(secret.name for secret in secrets.list_secrets(session.clients, session.names))
    notes = [*hands.notes, *([f"secrets that you have set stay: {left}"] if left else [])]
    return report.removal(session.names, steps, notes)
