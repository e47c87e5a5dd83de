"""Permission of a project to use secrets: the operator's rules, and whether an allowed ref has the commit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from builder.errors import LambdasmithError, SecretNotAllowed
from builder.flow import credentials, fetching
from builder.network.access import credentials_for
from builder.records.builds import Builds
from builder.records.record import Origin
from builder.secrets.grants import Granted
from builder.secrets.logins import ProjectRule, repository_name
from builder.secrets.references import Reference
from builder.trust.tips import is_allowed, trusted

if TYPE_CHECKING:
    from builder.context import Context
    from builder.flow.order import Order
    from builder.sources.snapshot import Resolved
    from builder.spec.build_file import BuildSpec

_PARALLEL = 8


def check(spec: BuildSpec, function: str, resolved: Resolved | None, context: Context) -> None:
    """Return if the operator allows the project, at this commit, all secrets that its build file names.

    No secret is read before.

    Args:
        resolved: the commit that the project comes from, None if it comes from no repository.

    Raises:
        SecretNotAllowed: some are not allowed; the error names all of them.
        SourceError: the git server does not say which refs the commit is the tip of.
    """
    from builder.spec.base import secrets_in  # imports pydantic, half of a cold start

    named = [(spec.at(f"{place}.from"), Reference.parse(secret.source)) for place, secret in secrets_in(spec)]
    rules = context.settings.logins.rules(function, resolved.url if resolved else "")
    refusals = [refusal for refusal in _refusals(named, rules, resolved, context) if refusal]
    if refusals:
        problems = [refusal.problem for refusal in refusals]
        lacking = dict.fromkeys(refusal.lacking for refusal in refusals if refusal.lacking)
        # Rather a rule for the repository: one for a function would serve any caller, who may name any function.
        project = repository_name(resolved.url) if resolved else function
        add = (
            f"to give {project} access, the operator adds [project {project}] with "
            f"allow = {', '.join(lacking)} to config.ini, and runs setup.py update"
        )
        advice = dict.fromkeys(refusal.advice for refusal in refusals if refusal.advice)
        raise SecretNotAllowed(
            problems[0] if len(problems) == 1 else f"{spec.file} names {len(problems)} secrets that it may not use",
            hint="; ".join([*advice, *([add] if lacking else [])]),
            problems=problems if len(problems) > 1 else (),
        )
    context.allowed_secrets.update(secret.source for _, secret in secrets_in(spec))


@dataclass(frozen=True, kw_only=True)
class _Refusal:
    """A refused secret: the problem, and the pattern of config.ini or the advice that would solve it."""

    problem: str
    lacking: str = ""
    advice: str = ""


def _refusals(
    named: Sequence[tuple[str, Reference]], rules: Sequence[ProjectRule], resolved: Resolved | None, context: Context
) -> Iterator[_Refusal | None]:
    for where, reference in named:
        fitting = [rule for rule in rules if reference.matches(rule.allow)]
        # Even if a pattern allows it: the builder's git token opens repositories of other projects.
        if credentials.is_secret(reference, context.settings.git_secret):
            yield _Refusal(
                problem=f"{where}: {reference} may not be used by this project",
                advice="it is the builder's own git token, which no [project …] can allow: name a secret of the "
                "project",
            )
        elif not fitting:
            yield _Refusal(
                problem=f"{where}: {reference} may not be used by this project",
                lacking=f"{reference.service}:{reference.name}",
            )
        elif not any(_for_commit(rule, resolved, context) for rule in fitting):
            yield _not_for_commit(where, reference, fitting, resolved)


def _not_for_commit(
    where: str, reference: Reference, rules: Sequence[ProjectRule], resolved: Resolved | None
) -> _Refusal:
    refs = ", ".join(dict.fromkeys(ref for rule in rules for ref in rule.refs)) or "its branches and tags"
    sections = " and ".join(f"[project {rule.pattern}]" for rule in rules)
    if resolved is None:
        problem = "files that were sent along come from no ref"
    else:
        asked = "" if resolved.ref == resolved.commit else f" ({resolved.ref})"
        problem = f"commit {resolved.commit}{asked} is not the tip of one and was not deployed from one"
    return _Refusal(
        problem=f"{where}: {sections} gives {reference} only to commits of {refs}, and {problem}",
        advice="merge the commit into a branch that may have the secret and build that branch, or ask the operator "
        f"to extend refs of {sections} in config.ini",
    )


def trusted_commit(resolved: Resolved, context: Context) -> bool:
    """Tell whether the commit is the owners' own by every rule that may cover its repository (`builder.trust.tips`).

    A build that gets secrets must not use the results of other commits' code. Rules for functions count for any
    repository, because a caller may name any function.

    Raises:
        SourceError: the git server does not say which refs the commit is the tip of.
    """
    everybodys = ProjectRule(pattern="*", allow=())
    rules = (rule for rule in context.settings.logins.projects if "/" not in rule.pattern or _is_about(rule, resolved))
    return all(_for_commit(rule, resolved, context) for rule in (everybodys, *rules))


def _is_about(rule: ProjectRule, resolved: Resolved) -> bool:
    return rule.covers("", resolved.url)


def _for_commit(rule: ProjectRule, resolved: Resolved | None, context: Context) -> bool:
    """Tell whether a rule covers the commit: by the ref that was asked for, the server's refs, or recorded deploys."""
    # The cheapest source first: the server's refs take a request, and records of deploys take many.
    if trusted(resolved, rule):
        return True
    if resolved is None:
        return False
    now = replace(resolved, tips=fetching.tips(resolved, context))
    return trusted(now, rule) or trusted(replace(resolved, tips=_recorded(resolved, context)), rule)


def _recorded(resolved: Resolved, context: Context) -> tuple[str, ...]:
    return Builds(context.store).deployed_from(resolved.url, resolved.commit)


def origin(resolved: Resolved | None, context: Context) -> Origin | None:
    """Return the origin of a deploy, for its record; None if it came from no repository."""
    if resolved is None:
        return None
    refs = sorted({*resolved.tips, *context.tips.get(resolved, ())})
    return Origin(url=resolved.url, commit=resolved.commit, refs=tuple(ref for ref in refs if is_allowed(ref, ())))


def granted(order: Order, context: Context) -> Granted:
    """Return the logins that the order may use: all of the builder's, if a ref of the repository has the commit.

    Code of any other commit gets only the login that fetches it.

    Raises:
        InvalidConfiguration, SecretMissing, AccessDenied: a forge's login cannot be read.
    """
    known = credentials.git_credentials(context)
    if order.resolved is not None:
        if not order.domain.vouched:
            own = credentials_for(order.repository, known)
            known = (own,) if own else ()
        known = (*known, *fetching.of_codecommit(order.repository, context))
    logins = credentials.indexes(context)
    if not order.domain.vouched or not context.settings.logins.indexes:
        return Granted(git=known)
    found: dict[str, tuple[str, str]] = {}
    refused: dict[str, str] = {}
    with ThreadPoolExecutor(_PARALLEL) as pool:
        reading = {index.name: pool.submit(logins.read, index) for index in context.settings.logins.indexes}
        for name, login in reading.items():
            try:
                found[name] = login.result()
            except LambdasmithError as error:  # raised only when the build uses this index, which most do not
                refused[name] = error.message
    return Granted(git=known, indexes=found, refused=refused)


def for_commands(spec: BuildSpec, order: Order, context: Context, given: Granted) -> Granted:
    """Return `given` with the secrets that the build file names for its commands.

    Raises:
        SecretNotAllowed: the operator does not allow them to this project, or to this commit.
        SecretMissing, AccessDenied: one of them cannot be read.
    """
    from builder.spec.base import secrets_in

    check(spec, order.function, order.resolved, context)
    wanted = list(dict.fromkeys(secret.source for _, secret in secrets_in(spec)))
    return replace(given, commands=credentials.CommandSecrets(context).values(wanted))
