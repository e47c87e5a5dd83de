"""The text of a reply for people: lines, plain and in colour, made from the reply alone.

This is the last step: secrets are masked already, and control characters are made visible here. An older builder may
have kept the reply, so a member that is missing or of another type is left out of the text and is never an error.
Standard library only: clients' tests run this module without the builder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from builder.amounts import amount
from builder.flow.functions_report import add_functions
from builder.flow.page import Page, Text
from builder.flow.phrases import (
    Value,
    as_json,
    build_there,
    cells_of,
    commit_of,
    ending_of,
    files_of,
    items_of,
    number_of,
    part_of,
    present,
    revision_of,
    rows_of,
    seconds_of,
    share_of,
    shown,
    size_of,
    some_of,
    source_of,
    text_of,
    time_of,
    traffic_of,
)

if TYPE_CHECKING:
    from builder.replies.reply import Texts

# Bytes of the function's response to `invoke` that are shown.
_MAX_PAYLOAD = 2_000


def rendered(reply: Value, *, function: str = "", out: str = "") -> Text:
    """Return the text of a reply.

    Args:
        function: name of the requested function, for replies that do not have it.
        out: directory of the `files` on a workstation.
    """
    page = Page()
    _report(page, reply, function, out)
    return page.text()


def texts(reply: Value, *, function: str = "") -> Texts:
    """Return the member `text` of a reply: its text, plain and in colour, and separately the times of its phases."""
    text, page = rendered(reply, function=function), Page()
    _times(page, meant(reply))
    return {"plain": text.plain, "colour": text.colour, "times": page.text().plain}


def explained(error: Value, *, build_id: str = "", place: str = "") -> Text:
    """Return the text of an error: what failed and what to do; `place` says where the full log is."""
    page = Page()
    _failure(page, error, build_id, place)
    return page.text()


def meant(reply: Value) -> Value:
    """Return the reply to describe: from the status of a finished build, the build's own reply."""
    return part_of(part_of(reply, "build"), "reply") or reply


def _report(page: Page, reply: Value, function: str, out: str) -> None:
    build = part_of(reply, "build")
    reply, function = meant(reply), text_of(build, "function") or function
    if build and not part_of(build, "reply"):
        _going_on(page, build)
    elif "functions" in reply:
        add_functions(page, reply, function)
        if "error" in reply:
            _failure(page, part_of(reply, "error"), text_of(reply, "build_id"))
    elif "error" in reply:
        _failure(page, part_of(reply, "error"), text_of(reply, "build_id"))
    else:
        known = (each for name, each in _REPORTS.items() if name in reply)
        next(known, _overview)(page, reply, function or "the function", out)
    for warning in items_of(reply, "warnings"):
        page.add(("warning:", "warning"), f" {shown(warning)}", before="  ")
    for note in items_of(reply, "notes"):
        page.add(("note:", "quiet"), f" {shown(note)}", before="  ")


def _going_on(page: Page, build: Value) -> None:
    page.add(f"build {text_of(build, 'build_id')} {'is ' * (build.get('state') == 'running')}{text_of(build, 'state')}")
    for name in ("function", "phase", "message"):
        if text := text_of(build, name):
            page.row(name, text)


def _failure(page: Page, error: Value, build_id: str = "", place: str = "") -> None:
    phase = f"{text_of(error, 'phase')}: " if text_of(error, "phase") else ""
    message = text_of(error, "message") or "it failed, and the builder does not say why"
    page.add((phase + message, "bad"))
    for problem in items_of(error, "problems"):
        if shown(problem) not in message:
            page.add(shown(problem), before="  - ")
    tail = error.get("log_tail")
    if lines := tail.split("\n") if isinstance(tail, str) and tail else items_of(error, "log_tail"):
        page.add("last lines of its output:")
        for line in lines:
            page.add((shown(line), "quiet"), before="  | ")
    page.end()
    if error.get("retryable") is True:
        page.add("this may be temporary: try the same again")
    if hint := text_of(error, "hint"):
        page.add(("hint:", "hint"), f" {hint}")
    if whose := [part for part in (text_of(error, "code"), f"build {build_id}" if build_id else "", place) if part]:
        page.add((f"({', '.join(whose)})", "quiet"))


def _outcome(page: Page, reply: Value, function: str, out: str) -> None:
    deployed = part_of(reply, "function")
    name = text_of(deployed, "name") or function
    if "restored" in reply:
        _returned(page, reply, name)
    else:
        page.add((f"deployed {name}", "title"), source_of(reply))
    layers = {text_of(row, "name"): row for row in rows_of(reply, "layers")}
    for row in rows_of(reply, "artifacts"):
        layer = layers.pop(text_of(row, "name"), {})
        new = ", new layer version " if layer.get("reused") is False else ", "
        where = f"{new}{text_of(layer, 'arn')}" if layer else ""
        page.row(text_of(row, "name"), _made(row), size_of(row), where)
    for layer in layers.values():
        state = ("unchanged", "quiet") if layer.get("reused") is True else ("new", "good")
        page.row(text_of(layer, "name"), state, size_of(layer), f", {text_of(layer, 'arn')}")
    for key in ("version", "alias", "arn", "url"):
        if text := text_of(deployed, key):
            page.row(key, text, traffic_of(deployed) if key == "alias" else "")
    _details(page, reply)
    if changed := items_of(reply, "changed"):
        _section(page, "changed", changed)
    elif "changed" in reply:
        page.add("nothing had to be changed", before="  ")
    _tried(page, part_of(reply, "invoke"))


def _made(row: Value) -> tuple[str, str]:
    return ("unchanged", "quiet") if row.get("action") == "reuse" else ("built", "good")


def _section(page: Page, title: str, items: Sequence[object]) -> None:
    if items:
        page.add(title, before="  ")
    for item in items:
        page.add(shown(item), before="    ")


def _details(page: Page, reply: Value) -> None:
    """Add what was left out of the artifacts, and the libraries taken from the build machine."""
    pruned = rows_of(reply, "pruned")
    if files := sum(number_of(row, "files") for row in pruned):
        page.row("pruned", f"{files:.0f} files, {amount(sum(number_of(row, 'bytes') for row in pruned))}")
    for number, row in enumerate(rows_of(reply, "native_libraries")):
        text = f"{text_of(row, 'library')} in {text_of(row, 'component')}{size_of(row)}"
        text += f", for {some_of(items_of(row, 'needed_by'), 1)}, from {text_of(row, 'from')}"
        page.row("" if number else "libraries", text)


def _tried(page: Page, invoked: Value) -> None:
    """Add the function's response to the payload."""
    if invoked.get("status") is None:
        return
    version = text_of(invoked, "version")
    page.add(f"invoked {'version ' * version.isdigit()}{version}, it answered", before="  ")
    payload = invoked.get("payload")
    is_cut = invoked.get("cut") is True and isinstance(payload, str)
    text = str(payload) if is_cut else as_json(payload)
    data = text.encode("utf-8", "replace")
    # Lambda's size includes blanks and escapes that are not written here, so it alone does not show that text is cut.
    whole = max(number_of(invoked, "size"), len(data))
    if whole > _MAX_PAYLOAD:
        text = f"{data[:_MAX_PAYLOAD].decode('utf-8', 'ignore')} ... ({amount(whole)} in all)"
    page.add(text, before="    ")
    if tail := items_of(invoked, "log_tail"):
        page.add("the end of its log", before="  ")
        for line in tail:
            page.add((shown(line), "quiet"), before="    | ")


def _returned(page: Page, reply: Value, name: str) -> None:
    """Add the builds from which and to which a rollback went."""
    way = part_of(reply, "rollback")
    now, then = part_of(way, "now"), part_of(way, "then")
    to = build_there(then) if then else f"build {text_of(reply, 'restored')}"
    if reply.get("changed") == []:
        page.add((f"{name} was already at {to}", "title"))
    else:
        page.add((f"rolled back {name}", "title"), f"{f' from {build_there(now)}' if now else ''} to {to}")
    if differs := items_of(way, "differences"):
        page.row("differs", some_of(differs, 12))


def _preview(page: Page, reply: Value, function: str, out: str) -> None:
    """Add what a rollback would do, or has done."""
    if "restored" in reply:
        _outcome(page, reply, function, out)
        return
    way = part_of(reply, "rollback")
    now, by_hand = part_of(way, "now"), part_of(way, "now").get("changed_since") is True
    page.row("now", f"{_state(now)}{', changed since by hand' * by_hand}" if now else "no build is recorded")
    page.row("then", _state(part_of(way, "then")))
    differs = some_of(items_of(way, "differences"), 12)
    page.row("differs", differs or ("what was changed by hand" if by_hand else "nothing"))
    if alias := text_of(way, "alias"):
        page.row("alias", alias)
    if steps := items_of(way, "steps"):
        _section(page, "would do", steps)
    else:
        page.add("nothing would be changed", before="  ")


def _state(build: Value) -> str:
    version, by = text_of(build, "version"), text_of(build, "by")
    return build_there(build) + (f", version {version}" if version else "") + (f", by {by}" if by else "")


def _packaged(page: Page, reply: Value, function: str, out: str) -> None:
    page.add((f"packaged {function}", "title"), source_of(reply))
    for row in rows_of(reply, "artifacts"):
        page.row(text_of(row, "name"), _made(row), size_of(row))


def _on_a_workstation(page: Page, reply: Value, function: str, out: str) -> None:
    target = f"{text_of(reply, 'runtime')} {text_of(reply, 'architecture')}"
    page.add((f"built for {target}", "title"), f" in {text_of(reply, 'seconds')} s")
    files = part_of(reply, "files")
    for row in rows_of(reply, "artifacts"):
        name = text_of(row, "name")
        content = f", {amount(number_of(row, 'unzipped'))} in {files_of(row)}"
        page.row(name, _made(row), size_of(row), content, f", {out or '.'}/{text_of(files, name)}")
    _details(page, reply)


def _plan(page: Page, reply: Value, function: str, out: str) -> None:
    plan = part_of(reply, "plan")
    page.add((f"plan for {function}", "title"), source_of(reply))
    for row in rows_of(plan, "components"):
        inputs, why = items_of(row, "inputs"), shown(row.get("why") or "")
        # Not repeated: the reason for a build mostly names the first of these inputs.
        why = "changed" if inputs and why.startswith(shown(inputs[0])) else why
        why = ": ".join(part for part in (why, some_of(inputs, 6)) if part)
        style = "quiet" if row.get("action") == "reuse" else "good"
        page.row(text_of(row, "name"), (text_of(row, "action"), style), size_of(row), f" ({why})" if why else "")
    limits, alias = part_of(plan, "limits"), part_of(plan, "alias")
    if number_of(limits, "unzipped"):
        least = "at least " * (limits.get("complete") is False)
        page.row("unzipped", least + share_of(limits, "unzipped", "max_unzipped"))
    if limits.get("layers") is not None:
        page.row("layers", " of ".join(filter(None, cells_of(limits, "layers", "max_layers"))))
    if alias.get("name") is not None:
        name, now, then = cells_of(alias, "name", "now", "then")
        page.row("alias", f"{name}: {now}" if now == then else f"{name}: {now or 'new'} -> {then}{traffic_of(alias)}")
    _section(page, "publish", items_of(plan, "publish"))
    _configuration(page, rows_of(plan, "configuration"))
    if plan.get("publish") == []:
        page.add("nothing would be changed", before="  ")


def _configuration(page: Page, rows: Sequence[Value]) -> None:
    if rows:
        page.add("configuration", before="  ")
    for row in rows:
        by_hand = " (was changed by hand)" * (row.get("by_hand") is True)
        text = f"{text_of(row, 'key')}: {present(row.get('now'))} -> {present(row.get('then'))}{by_hand}"
        page.add(text, before="    ")


def _history(page: Page, reply: Value, function: str, out: str) -> None:
    builds = rows_of(reply, "history")
    if not builds:
        page.add(f"no deploys of {function} are recorded")
        return
    page.add((f"deploys of {function}, the newest first", "title"))
    rows = []
    for build in builds:
        sizes = sum(number_of(part_of(build, "sizes"), name) for name in part_of(build, "sizes"))
        cells = [time_of(build, "started"), *cells_of(build, "build_id", "by"), commit_of(build), ending_of(build)]
        cells += [
            amount(sizes) if sizes else "",
            seconds_of(build),
            some_of(items_of(build, "changed"), 3) or "nothing",
        ]
        rows.append(cells)
    page.table("when (UTC)|build|who|commit|outcome|size|took|changed", rows)


def _overview(page: Page, reply: Value, function: str, out: str) -> None:
    """Add the builder's own state, the code storage and the last builds."""
    if version := text_of(reply, "version"):
        page.row("builder", version, ", not set up: python setup.py update" if reply.get("ready") is False else "")
    if layer := part_of(reply, "layer"):
        arn = f", {text_of(layer, 'arn')}" if layer.get("arn") else ""
        page.row("layer", "unchanged" if layer.get("reused") is True else "new", arn)
    _storage(page, part_of(reply, "storage"))
    if recorded := text_of(reply, "recorded"):
        page.row("recorded", recorded)
    _section(page, "removed", items_of(reply, "removed"))
    if "builds" not in reply:
        if "version" in reply:
            page.add("this builder lists the builds of one function at a time: deploy.sh --status -f NAME")
        return
    builds = rows_of(reply, "builds")
    page.add(("the last builds", "title") if builds else "no builds are recorded")
    rows = []
    for build in builds:
        cells = [time_of(build, "ended"), *cells_of(build, "build_id", "by", "function")]
        rows.append([*cells, commit_of(build), seconds_of(build), ending_of(build)])
    if rows:
        page.table("when (UTC)|build|who|function|commit|took|outcome", rows)


def _storage(page: Page, storage: Value) -> None:
    if storage.get("used_bytes") is not None:
        page.row("storage", f"{share_of(storage, 'used_bytes', 'limit_bytes')} in this account and region")
    if storage.get("ours_bytes") is not None:
        functions, versions, layers = cells_of(storage, "functions", "versions", "layers")
        counts = f"{functions} functions, {versions} versions, {layers} layer versions"
        page.row("ours", f"{amount(number_of(storage, 'ours_bytes'))}, zipped: {counts}")
    if problem := text_of(storage, "problem"):
        page.row("storage", f"not known: {problem}")


def _verified(page: Page, reply: Value, function: str, out: str) -> None:
    verify = part_of(reply, "verify")
    rows = rows_of(verify, "components")
    same = bool(rows) and verify.get("same") is not False and all(row.get("same") is True for row in rows)
    build = f" (build {text_of(verify, 'build')})" if text_of(verify, "build") else ""
    verdict = ("is", "good") if same else ("is NOT", "bad")
    made_of = f"{revision_of(reply)} makes" if revision_of(reply) else "its last deploys make"
    page.add((function, "title"), " ", verdict, f" what {made_of}{build}")
    lines = []
    for row in rows:
        hashes = (each[:16] for each in cells_of(row, "deployed", "rebuilt"))
        lines.append([text_of(row, "name"), *hashes, "same" if row.get("same") is True else "DIFFERENT"])
    page.table("component|deployed|rebuilt|outcome", lines)


def _cache(page: Page, reply: Value, function: str, out: str) -> None:
    cache = part_of(reply, "cache")
    for row in rows_of(cache, "kinds"):
        page.row(text_of(row, "kind"), f"{size_of(row, 'bytes', ''):>8}  {files_of(row)}")
    end = ", removed" if cache.get("cleared") is True else f", of at most {amount(number_of(cache, 'limit'))}"
    page.add(f"{amount(number_of(cache, 'bytes'))} in {text_of(cache, 'place')}{end}")


def _valid(page: Page, reply: Value, function: str, out: str) -> None:
    page.add(f"{text_of(reply, 'build_file')} is valid; it makes {shown(items_of(reply, 'components'))}")


def _times(page: Page, reply: Value) -> None:
    """Add the time that each phase took."""
    if not (phases := rows_of(reply, "phases")):
        return
    page.add("times", before="  ")
    whole = number_of(reply, "seconds") or sum(number_of(phase, "seconds") for phase in phases)
    taken: dict[str, float] = {}
    for phase in phases:  # a project's functions have phases of the same name
        taken[text_of(phase, "name")] = taken.get(text_of(phase, "name"), 0.0) + number_of(phase, "seconds")
    for name, seconds in (*taken.items(), ("in the builder", whole)):
        page.add(f"{name:16} {seconds:7.2f} s", before="    ")


# Kinds of reply by a member that only they have; a reply with several members is of the first kind.
_REPORTS: Mapping[str, Callable[[Page, Value, str, str], None]] = {
    "history": _history,
    "verify": _verified,
    "plan": _plan,
    "rollback": _preview,
    "restored": _outcome,
    "packages": _packaged,
    "files": _on_a_workstation,
    "cache": _cache,
    "build_file": _valid,
    "version": _overview,
    "layer": _overview,
    "recorded": _overview,
    "artifacts": _outcome,
    "function": _outcome,
    "changed": _outcome,
}
