"""Output of setup.py: facts as values, then as text for people or as JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bootstrap.changes import CreateFunction, Step
from bootstrap.config.settings import Config
from bootstrap.names import Names
from bootstrap.plan.installed import isolation_of, own_layer
from bootstrap.plan.wanted import STARTER
from bootstrap.secrets import KnownSecret
from bootstrap.state import Present
from bootstrap.walk import Done
from builder import amounts
from builder.errors import LambdasmithError
from builder.store.values import Fields

Facts = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A command's result: `lines` for people, `facts` for --json."""

    lines: Sequence[str]
    facts: Facts = field(default_factory=dict)


def plan_lines(names: Names, steps: Sequence[Step], *, identity: str) -> list[str]:
    """Return the plan as text: the steps, and their account and region."""
    return [f"account {names.place.account}, region {names.place.region}, {identity}", "will:"] + [
        f"  - {step.sentence}" for step in steps
    ]


def notes(config: Config, *, private: bool) -> list[str]:
    """Return notes on the operator's choices. `private`: there is a git token, new or old."""
    said = []
    if "*" in config.functions:
        said.append(
            "the builder may deploy every function of this account and region; "
            "narrow it with `functions` in [builder], for example functions = shop-*"
        )
    if config.role is None and not config.roles:
        said.append(
            "without `role` in [builder] it updates functions and creates none; the error for a new function has "
            "commands that make a role"
        )
    if not private:
        said.append("without git_token it can build public repositories only")
    return said


def convergence(
    names: Names, present: Present, steps: Sequence[Step], done: Sequence[Done], *, seconds: float
) -> Report:
    """Report `init` or `update`; `present` is the new state."""
    ping = present.ping
    version = f" {ping.version}" if ping else ""
    if steps:
        first = f"{names.function}{version} is ready ({len(done)} steps, {amounts.seconds(seconds, 1)})"
    else:
        first = f"nothing to do: {names.function}{version} is up to date"
    own = own_layer(names, present)
    lines = [
        first,
        f"  function  {names.function_arn}",
        f"  layer     {own or '-'}",
        f"  role      {names.role_arn}",
        f"  bucket    s3://{names.bucket}/{names.prefix}",
    ]
    if present.secret:
        lines.append(f"  secret    {names.secret}")
    if isolation_of(present) == "split":
        lines.append(f"  worker    {names.arn_in('lambda', f'function:{names.worker}')}")
    if present.fan_out.machine:
        lines.append(f"  fan-out   {names.machine_arn}")
    if any(isinstance(step, CreateFunction) for step in steps):
        lines.append("next: copy deploy.sh into a project and run ./deploy.sh")
    facts: Facts = {
        "changed": bool(steps),
        "steps": [
            {"name": each.step.name, "sentence": each.step.sentence, "seconds": round(each.seconds, 2)} for each in done
        ],
        "seconds": round(seconds, 2),
        **_places(names, present),
    }
    return Report(lines=lines, facts=facts)


def _places(names: Names, present: Present) -> Facts:
    ping = present.ping
    return {
        "account": names.place.account,
        "region": names.place.region,
        "function": names.function,
        "function_arn": names.function_arn if present.function else None,
        "layer_arn": own_layer(names, present) or None,
        "role_arn": names.role_arn if present.role else None,
        "bucket": names.bucket if present.bucket else None,
        "prefix": names.prefix,
        "secret": names.secret if present.secret else None,
        "log_group": names.log_group if present.log_group else None,
        "isolation": isolation_of(present),
        "worker": _worker(names, present),
        "fan_out": names.machine_arn if present.fan_out.machine else None,
        "version": ping.version if ping else None,
        "versions": dict(ping.versions) if ping else {},
    }


def _worker(names: Names, present: Present) -> Facts | None:
    """Describe the worker, and whether its code and layer are the builder's."""
    worker, builder = present.worker.function, present.function
    if worker is None or not worker.made_here:
        return None
    own = own_layer(names, present)
    return {
        "function_arn": names.arn_in("lambda", f"function:{names.worker}"),
        "role_arn": worker.settings.role,
        "log_group": names.worker_log_group if present.worker.log_group else None,
        "state": worker.state,
        "per_tenant": worker.per_tenant,
        "same_code": builder is not None and worker.code_sha256 == builder.code_sha256,
        "same_layer": bool(own) and own in worker.layers,
    }


def _worker_rows(names: Names, present: Present) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = [("isolation", isolation_of(present))]
    if (worker := _worker(names, present)) is not None:
        other = [what for what in ("code", "layer") if not worker[f"same_{what}"]]
        drift = f"other {' and '.join(other)} than the builder" if other else "code and layer of the builder"
        rows += [("worker", str(worker["function_arn"])), ("", f"{worker['state']}, {drift}")]
    rows.append(("fan-out", names.machine_arn if present.fan_out.machine else "off"))
    return rows


def _function_rows(names: Names, present: Present) -> list[tuple[str, str]]:
    function, ping = present.function, present.ping
    if function is None:
        return [("function", "none")]
    known = function.settings
    size = f"{known.memory_mb} MB, {known.timeout_s} s"
    ready = f"{ping.version}, {'ready' if ping.ready else 'not set up'}" if ping else f"? {present.silence}"
    return [
        ("function", names.function_arn),
        ("", f"{known.runtime} {function.architecture}, {size}, {function.state}"),
        ("version", ready),
        *([("", f"{name} {version}") for name, version in sorted(ping.versions.items())] if ping else []),
    ]


def _layer_rows(names: Names, present: Present) -> list[tuple[str, str]]:
    rows, used = [], own_layer(names, present)
    for version in present.layers:
        kind = "starter" if version.description.startswith(STARTER) else "real"
        mark = ", in use" if version.arn == used else ""
        rows.append(("layer", f"{names.layer}:{version.version} ({kind}{mark}) {version.created[:19]}"))
    return rows


def _build_rows(answer: Mapping[str, object], builds: Sequence[Mapping[str, object]]) -> list[tuple[str, str]]:
    if builds:
        return [("build", _build_line(build)) for build in builds]
    if not answer:
        return []
    if answer.get("builds") is None:
        return [("builds", "shown for one function at a time: deploy.sh --status -f NAME")]
    return [("builds", "none yet")]


def status(names: Names, present: Present, answer: Mapping[str, object], pending: Sequence[Step]) -> Report:
    """Report the whole installation as a table. `answer` is the builder's reply to ping; empty without one."""
    function, ping = present.function, present.ping
    listed, storage = answer.get("builds"), answer.get("storage")
    builds = [build for build in listed if isinstance(build, dict)] if isinstance(listed, list) else []
    rows = [
        *_function_rows(names, present),
        *_layer_rows(names, present),
        *_worker_rows(names, present),
        ("role", names.role_arn if present.role else "none"),
        ("bucket", f"s3://{names.bucket}/{names.prefix}" if present.bucket else "none"),
        ("secret", names.secret if present.secret else "none: public repositories only"),
        ("log", names.log_group if present.log_group else "none"),
        *([("storage", line) for line in _storage_lines(storage)] if isinstance(storage, dict) else []),
        *_build_rows(answer, builds),
    ]
    lines = [f"{title:<9} {text}" for title, text in rows]
    lines += ["`setup.py update` would:", *(f"  - {step.sentence}" for step in pending)] if pending else []
    used = own_layer(names, present)
    facts: Facts = {
        **_places(names, present),
        "ready": bool(ping and ping.ready),
        "layers": [
            {"arn": version.arn, "description": version.description, "in_use": version.arn == used}
            for version in present.layers
        ],
        "builds": list(builds),
        "storage": storage,
        "pending": [step.sentence for step in pending],
    }
    if function:
        facts["runtime"], facts["architecture"] = function.settings.runtime, function.architecture
    return Report(lines=lines, facts=facts)


def probe(answer: Mapping[str, object]) -> Report:
    """Return the report of `probe`: the runtime's contents, and where they differ from this version's knowledge."""
    answered = Fields(answer)
    found, differs = answered.fields("baseline"), answered.fields("difference")
    system = found.text("system")
    title = f"{found.text('runtime')} on {found.text('architecture')} ({system})"
    libraries, own = (len(found.fields(name).value) for name in ("libraries", "runtime_libraries"))
    lines = [
        f"{title}: {libraries} libraries of the system, {own} of the runtime",
        "  " + ", ".join(f"{family} {version}" for family, version in found.fields("versions").all_texts().items()),
        *(
            f"  {family}: {row.text_or_none('found') or 'none'}, known was {row.text_or_none('known') or 'none'}"
            for family, row in differs.fields("versions").members()
        ),
        *(f"  not known before: {name}" for name in differs.texts("added")),
        *(f"  known to be there, and is not: {name}" for name in differs.texts("missing")),
    ]
    if recorded := answered.text_or_none("recorded"):
        lines.append(f"recorded as {recorded}; builds for {system} use it from now on")
    else:
        lines.append("not recorded: the builder does not run on the system that its runtime has in Lambda")
    return Report(lines=lines, facts={key: answer[key] for key in ("baseline", "difference", "recorded")})


def _storage_lines(storage: Mapping[str, object]) -> list[str]:
    if "problem" in storage:
        return [f"? {storage['problem']}"]
    limit, used, ours = (_size(storage.get(key)) for key in ("limit_bytes", "used_bytes", "ours_bytes"))
    return [
        f"{used} of {limit} of code storage are in use in this account and region",
        f"ours: {storage.get('versions')} versions of {storage.get('functions')} functions, "
        f"{storage.get('layers')} layer versions, {ours} zipped",
    ]


def _size(value: object) -> str:
    """Return a number of bytes as text for people."""
    return amounts.storage(value if isinstance(value, int | float) else 0)


def _build_line(build: Mapping[str, object]) -> str:
    shown = (build.get(key) for key in ("build_id", "function", "state", "commit", "seconds"))
    return "  ".join(str(value) for value in shown if value is not None)


def removal(names: Names, steps: Sequence[Step], remarks: Sequence[str]) -> Report:
    """Report `destroy`."""
    first = f"removed all of {names.function}" if steps else f"nothing to remove: {names.function} is not installed"
    return Report(
        lines=[first, *remarks],
        facts={"changed": bool(steps), "removed": [step.sentence for step in steps], "notes": list(remarks)},
    )


def failure(error: LambdasmithError) -> Report:
    """Report an error that the user can fix."""
    lines = [f"setup.py: {error.message}"]
    lines += [f"  - {problem}" for problem in error.problems]
    lines += [f"  | {line}" for line in error.log_tail]
    lines += [f"hint: {error.hint}"] if error.hint else []
    facts: Facts = {
        "error": {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "problems": list(error.problems),
            "log_tail": list(error.log_tail),
            "retryable": error.retryable,
        }
    }
    return Report(lines=lines, facts=facts)


def as_json(report: Report) -> str:
    """Return the facts as JSON on several lines."""
    return json.dumps(report.facts, indent=2)


def secrets(known: Sequence[KnownSecret]) -> Report:
    """Report `secret list`: the reference to each secret."""
    lines = [f"{secret.reference}  (changed {secret.changed})" for secret in known] or ["no secrets are set"]
    rows = [{"name": secret.name, "reference": secret.reference, "changed": secret.changed} for secret in known]
    return Report(lines=lines, facts={"secrets": rows})


def secret_set(name: str, *, is_new: bool) -> Report:
    """Report `secret set`."""
    lines = [f"{'made' if is_new else 'changed'} secret {name}", f"  refer to it as secretsmanager:{name}"]
    if is_new:
        lines.append("  in config.ini: as a login, or allowed to a [project …]; then run: python setup.py update")
    return Report(lines=lines, facts={"changed": True, "new": is_new, "reference": f"secretsmanager:{name}"})


def secret_removed(name: str) -> Report:
    """Report `secret remove`."""
    lines = [f"removed secret {name}; for seven days `secret set` brings the name back"]
    return Report(lines=lines, facts={"changed": True, "name": name})
