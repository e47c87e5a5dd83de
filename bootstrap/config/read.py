"""config.ini, environment and flags, read into one frozen value. Flags win over environment, environment over file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from bootstrap.config.check import checked
from bootstrap.config.given import Given
from bootstrap.config.ini import Line, read_lines
from bootstrap.config.login_sections import KINDS, is_login_section, read_logins
from bootstrap.config.settings import BY_KEY, SETTINGS, Config
from bootstrap.config.toolchain_sections import KIND, is_toolchain_section, read_toolchains
from builder.errors import InvalidConfiguration
from builder.nearest import nearest

# Read and checked by deploy.sh.
_SECTION_OF_THE_CLIENT = "deploy"
# Keys of [aws] in the original implementation's config.ini that concern projects: deploy.sh reads them.
_KEYS_OF_THE_CLIENT = ("git_repo", "git_branch", "log_file", "prompt_before_deploy")


def read_config(*, file: Path, required: bool, environment: Mapping[str, str], flags: Mapping[str, str]) -> Config:
    """Read the configuration from all three places.

    Args:
        file: config.ini; may be absent unless `required`.
        environment: LAMBDASMITH_SECTION_KEY overrides the file.
        flags: key → value as typed; for secrets the path of a file that holds the value. Flags win over everything.

    Raises:
        InvalidConfiguration: `problems` lists all of them.
    """
    problems: list[str] = []
    lines = _lines(file, required, problems)
    plain = (line for line in lines if not is_login_section(line.section) and not is_toolchain_section(line.section))
    given = _known_lines(plain, file.name, problems)
    logins = read_logins((line for line in lines if is_login_section(line.section)), file.name, problems)
    toolchains = read_toolchains((line for line in lines if is_toolchain_section(line.section)), file.name, problems)
    given |= _from_environment(environment, problems)
    given |= _from_flags(flags, problems)
    config = replace(checked(given, problems), logins=logins, toolchains=toolchains)
    if problems:
        message = problems[0] if len(problems) == 1 else f"the configuration has {len(problems)} problems"
        raise InvalidConfiguration(
            message,
            hint="config.ini.example shows every key; flags: python setup.py --help",
            problems=problems if len(problems) > 1 else (),
        )
    return config


def _lines(file: Path, required: bool, problems: list[str]) -> list[Line]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if required:
            problems.append(f"{file}: no such file")
        return []
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{file}: cannot be read: {error}")
        return []
    return list(read_lines(text))


def _known_lines(lines: Iterable[Line], name: str, problems: list[str]) -> dict[str, Given]:
    sections = {setting.section for setting in SETTINGS}
    given: dict[str, Given] = {}
    seen: dict[tuple[str, str], int] = {}
    for line in lines:
        section, key = line.section, line.key
        if section == _SECTION_OF_THE_CLIENT:
            continue
        if not section:
            problems.append(f"{name}:{line.number}: a [section] must come first")
            return given
        if section not in sections:
            more = f"; write [{section} …]" if section in KINDS or section in KIND else nearest(section, sections)
            problem = f"{name}: [{section}]: unknown section{more}"
            problems += [problem] if problem not in problems else []
            continue
        keys = {setting.key for setting in SETTINGS if setting.section == section}
        if key is None:  # the line is not shown: it may contain a token
            problems.append(f"{name}:{line.number}: not a `key = value` line")
        elif section == "aws" and key in _KEYS_OF_THE_CLIENT:
            continue
        elif key not in keys:
            problems.append(f"{name}: [{section}] {key}: unknown key{nearest(key, keys) or _elsewhere(key)}")
        elif (section, key) in seen:
            problems.append(f"{name}:{line.number}: [{section}] {key}: is in line {seen[section, key]} already")
        else:
            seen[section, key] = line.number
            if line.value:
                given[key] = Given(value=line.value, rank=0, origin=f"{name}: [{section}] {key}")
    return given


def _elsewhere(key: str) -> str:
    return f"; it belongs in [{BY_KEY[key].section}]" if key in BY_KEY else nearest(key, BY_KEY)


def _from_environment(environment: Mapping[str, str], problems: list[str]) -> dict[str, Given]:
    variables = {setting.variable: setting for setting in SETTINGS}
    prefixes = tuple({f"LAMBDASMITH_{setting.section.upper()}_" for setting in SETTINGS})
    given: dict[str, Given] = {}
    for variable, value in environment.items():
        if variable in variables:
            if value.strip():
                given[variables[variable].key] = Given(value=value.strip(), rank=1, origin=variable)
        elif variable.startswith(prefixes):
            problems.append(f"{variable}: unknown variable{nearest(variable, variables)}")
    return given


def _from_flags(flags: Mapping[str, str], problems: list[str]) -> dict[str, Given]:
    given: dict[str, Given] = {}
    for key, typed in flags.items():
        setting = BY_KEY[key]
        value = typed.strip()
        if setting.secret:
            try:
                value = Path(typed).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                problems.append(f"{setting.flag} {typed}: cannot be read: {getattr(error, 'strerror', error)}")
                continue
            if not value:
                problems.append(f"{setting.flag} {typed}: the file is empty")
        if value:
            given[key] = Given(value=value, rank=2, origin=setting.flag)
    return given
