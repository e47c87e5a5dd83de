"""Orders for the worker: a second function in which foreign code runs, with rights to its part of the store alone.

One worker serves all trust domains: each is a tenant, and Lambda never gives one environment to two tenants. The
builder decides on the domain, and its parsers treat the worker's reply as untrusted.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from builder import __version__
from builder.arns import Arn
from builder.aws import SessionCredentials, aws_errors
from builder.errors import (
    AwsRefused,
    ContentMismatch,
    FunctionMissing,
    LambdasmithError,
    OutOfMemory,
    OutOfTime,
    WorkerFailed,
    error_of,
)
from builder.event.request import ManifestSource, ObjectSource
from builder.flow import allowance
from builder.flow.order import Order
from builder.making.product import MAX_TEXT, Product, Several, Unchanged, pinned_lock
from builder.making.project import Outline
from builder.plan import UNBUILT, Artifact
from builder.progress import Phase
from builder.secrets import envelope
from builder.secrets.grants import Granted
from builder.store.values import Fields

if TYPE_CHECKING:
    from builder.context import Context

T = TypeVar("T")
P = TypeVar("P", Product, Unchanged, Several)

# AWS limits a session of a role that is assumed by another role to one hour.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#id_roles_terms-and-concepts
_SESSION_S = 3600
# A kept session is used again only if it lasts for a whole invocation, 15 minutes, and a little more.
_LASTS_S = 960
_MOST = 200
_PARALLEL = 4
_FIRST_LOOK_S, _LOOKS_S = 2.0, 1.0


def made_by_worker(order: Order, context: Context) -> Product | Unchanged | Several:
    """Let the worker build the order, and copy its artifacts to the builder's own store.

    Raises:
        LambdasmithError: the worker's error about the project, or the reason why it did not reply.
        ContentMismatch: an object that the worker has stored is not the one that it names.
    """
    with ThreadPoolExecutor(1) as pool:
        # At the same time: STS and the secrets take a request each, and neither needs the other.
        pending = pool.submit(_store_session, order, context)
        given = allowance.granted(order, context)
        session = pending.result()
    answer = _sent(order, given, session, context)
    if "needs" in answer:
        # Only the worker fetches the build file, and only the builder may read the secrets that it names: the worker
        # asks for them, and gets the order again.
        outline = parsed(lambda: Outline.parse(answer.fields("needs").value))
        answer = _sent(order, allowance.for_commands(outline.spec, order, context, given), session, context)
    if "unchanged" in answer:
        return _expected(parsed(lambda: Unchanged.parse(answer.fields("unchanged"))), order)
    if "several" in answer:
        return _expected(parsed(lambda: Several.parse(answer.fields("several"))), order)
    made = _expected(parsed(lambda: Product.parse(answer.fields("product").value)), order)
    if not order.dry and not order.fresh:
        with context.progress.phase("take", "taking over what the worker has made"):
            _take(made, order, context)
    return made


def _expected(made: P, order: Order) -> P:
    """Return the worker's result with the order's commit, whichever commit the worker names.

    Raises:
        WorkerFailed: the worker says that nothing has changed, though the order knows of no earlier tree.
    """
    if isinstance(made, Product) and (made.outline.spec.key, made.outline.spec.stage) != (order.key, order.stage):
        raise WorkerFailed("the worker's answer is about another function or stage than the order")
    if isinstance(made, Several) and (order.key or made.file.stage != order.stage):
        raise WorkerFailed("the worker's answer is about several functions, and the order is not")
    if isinstance(made, Unchanged) and not order.known:
        raise WorkerFailed("the worker says that nothing has changed, but has nothing to compare with")
    resolved = order.resolved
    return replace(made, commit=resolved.commit, ref=resolved.ref) if resolved else made


def parsed(parse: Callable[[], T]) -> T:
    """Parse a part of the worker's reply.

    Raises:
        WorkerFailed: it does not have the right form.
    """
    try:
        return parse()
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise WorkerFailed(f"the worker's answer has the wrong form: {type(error).__name__}") from error


def _sent(order: Order, given: Granted, session: SessionCredentials, context: Context) -> Fields:
    """Send an order and return the worker's reply; raise its error, and add its phases and warnings to this build's."""
    # Any process in the worker can read the event from the Runtime API, so the secrets in it are encrypted, and the key
    # is stored where only the worker's own role can read it.
    key, secret = envelope.new_key(), {"granted": given.as_json(), "store": session.as_json()}
    secret["variables"] = dict(order.variables)
    message = {
        "version": __version__,
        "order": order.as_json(),
        "closed": envelope.closed(json.dumps(secret), key),
        "remaining_s": context.deadline.check("handing the build to the worker"),
        "nonce": uuid.uuid4().hex,
    }
    sealed = json.dumps(message)
    # Anyone who may invoke the worker could send it an order for any tenant, but only the builder can write this proof.
    proof = f"orders/{message['nonce']}.json"
    context.store.write_json(proof, {"sha256": hashlib.sha256(sealed.encode()).hexdigest(), "key": key.hex()})
    with _Following(str(message["nonce"]), order, context):
        answer = _invoked(json.dumps({"sealed": sealed}), order, context)
    parsed(lambda: _tell(answer, context))
    if error := parsed(lambda: error_in(answer)):
        raise error
    return answer


def error_in(answer: Fields) -> LambdasmithError | None:
    """Return the error in a worker's reply, None if it has none."""
    return error_of(answer.fields("error").value) if "error" in answer else None


def _tell(answer: Fields, context: Context) -> None:
    """Add the worker's phases, warnings and notes to this build's."""
    # Bounded in number and length: foreign code may have written this reply.
    for row in answer.rows("phases")[:_MOST] if "phases" in answer else ():
        seconds = row.value.get("seconds")
        # Bounded: `NaN` and infinity are not JSON, and no phase is longer than a session.
        number = round(float(seconds), 3) if isinstance(seconds, int | float) and 0 <= seconds <= _SESSION_S else 0.0
        context.progress.phases.append(Phase(name=row.text("name", longest=MAX_TEXT), seconds=number))
    for warning in answer.texts("warnings", longest=MAX_TEXT)[:_MOST] if "warnings" in answer else ():
        context.progress.warn(warning)
    for note in answer.texts("notes", longest=MAX_TEXT)[:_MOST] if "notes" in answer else ():
        context.progress.note(note)


def _invoked(payload: str, order: Order, context: Context) -> Fields:
    worker = context.settings.worker
    try:
        with aws_errors(f"invoking the worker {worker}"):
            answer = context.clients.lambda_patient.invoke(
                FunctionName=worker, TenantId=order.domain.id, Payload=payload.encode()
            )
            content = answer["Payload"].read()
    except FunctionMissing as error:
        raise WorkerFailed(f"the worker {worker} does not exist", hint="run `python setup.py update`") from error
    said = parsed(lambda: Fields(json.loads(content)))
    if "FunctionError" in answer:
        raise _crashed(worker, said.value)
    return said


def _crashed(worker: str, said: Mapping[str, object]) -> LambdasmithError:
    kind, message = str(said.get("errorType", "")), str(said.get("errorMessage", ""))[:500]
    log = f"its log is in CloudWatch Logs, group /aws/lambda/{worker}"
    if "OutOfMemory" in kind:
        return OutOfMemory(f"the worker {worker}: {message}", hint="raise memory in the builder's configuration")
    if "Timedout" in kind or "timed out" in message:
        return OutOfTime(f"the worker {worker}: {message}", hint="run the same command again, or raise timeout")
    return WorkerFailed(f"the worker {worker} ended without an answer: {kind}: {message}", hint=log)


# Sessions by role, domain and readable sources, each with its expiry: a warm builder need not ask STS for every build.
_SESSIONS: dict[tuple[str, str, tuple[str, ...]], tuple[SessionCredentials, float]] = {}


def _store_session(order: Order, context: Context) -> SessionCredentials:
    """Return credentials for the domain's part of the store and for the order's source, valid for a build."""
    settings, sources = context.settings, _sources(order, context)
    key = (settings.worker_role, order.domain.id, sources)
    found = _SESSIONS.get(key)
    if found is None or found[1] < time.monotonic() + _LASTS_S:
        for old in [old for old, (_, until) in _SESSIONS.items() if until < time.monotonic()]:
            del _SESSIONS[old]
        with aws_errors("getting the worker's access to the store"):
            session = context.clients.assume_role(
                settings.worker_role, order.domain.id, _policy(order, context, sources), seconds=_SESSION_S
            )
        found = _SESSIONS[key] = (session, time.monotonic() + _SESSION_S)
    # Also for a kept session: the masker is new in each invocation.
    for secret in (found[0].secret_access_key, found[0].session_token):
        context.secrets.add(secret)
    return found[0]


def _sources(order: Order, context: Context) -> tuple[str, ...]:
    """Return ARNs of the objects of the order's source."""
    source = order.source
    if not isinstance(source, ObjectSource | ManifestSource):
        return ()
    partition = Arn.read(context.settings.worker_role).partition
    key = source.key if isinstance(source, ObjectSource) else source.manifest
    root = f"arn:{partition}:s3:::{source.bucket}/"
    if isinstance(source, ObjectSource):
        return (root + _literal(key),)
    folder = _literal(key.rpartition("/")[0])
    return (root + _literal(key), f"{root}{folder}/files/*" if folder else f"{root}files/*")


def _literal(key: str) -> str:
    """Escape a key that a caller has chosen: in a policy, `*`, `?` and `${` would match other objects.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#policy-vars-specialchars
    """
    return re.sub(r"[*?$]", r"${\g<0>}", key)


def _policy(order: Order, context: Context, sources: Sequence[str]) -> Mapping[str, object]:
    """Return the session's policy, which restricts the role's rights to one domain and one source."""
    partition = Arn.read(context.settings.worker_role).partition
    root = f"arn:{partition}:s3:::{context.store.bucket}"
    own = f"{root}/{context.store.key(order.domain.folder)}/*"
    statements: list[Mapping[str, object]] = [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": own},
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{root}/{context.store.key('baselines')}/*"},
    ]
    if sources:
        statements.append(
            {"Effect": "Allow", "Action": ["s3:GetObject", "s3:GetObjectVersion"], "Resource": list(sources)}
        )
    return {"Version": "2012-10-17", "Statement": statements}


def _take(made: Product, order: Order, context: Context) -> None:
    """Copy what will be published to where the worker cannot write, and compare the content with its hash.

    Raises:
        ContentMismatch: the content differs, or is missing.
    """
    part = context.kept(order.domain)
    artifacts = {artifact.sha256: artifact for artifact in made.artifacts.values() if artifact is not UNBUILT}

    # What the worker claims to have built must be in its part, even if the shared store has the same content.
    new = {made.artifacts[plan.component.name].sha256 for plan in made.plans if plan.action == "build"}

    def take(artifact: Artifact) -> None:
        if artifact.sha256 not in new and context.store.exists(artifact.name, sha256=artifact.sha256):
            return
        if not context.store.take(artifact.name, part, sha256=artifact.sha256, size=artifact.size):
            raise ContentMismatch(
                f"{artifact.name}: the worker has not stored the artifact that it claims to have built",
                hint="run the same command again; if it fails again, deploy with force",
            )

    with ThreadPoolExecutor(_PARALLEL) as pool:
        locked = pool.submit(_take_lock, made.lock_id, order, context)
        list(pool.map(take, artifacts.values()))
        locked.result()


def _take_lock(lock_id: str | None, order: Order, context: Context) -> None:
    if lock_id is None:
        return
    name, parse = f"pinned/{lock_id}.json", functools.partial(pinned_lock, lock_id=lock_id)
    if context.store.find(name, parse) is not None:
        return
    lock = context.kept(order.domain).find(name, parse)
    if lock is None:
        raise ContentMismatch(f"{name}: the worker has not stored the lock that it claims to have made")
    context.store.write_json(name, {"lock": lock})


def _said(kept: Fields) -> tuple[str, str]:
    return kept.text("phase", longest=MAX_TEXT), kept.text("message", longest=MAX_TEXT)


class _Following:
    """Context manager that shows the progress that the worker writes to the store."""

    def __init__(self, nonce: str, order: Order, context: Context) -> None:
        self._name, self._part, self._progress = f"progress/{nonce}.json", context.kept(order.domain), context.progress
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="following", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()

    def _run(self) -> None:
        pause = _FIRST_LOOK_S
        while not self._done.wait(pause):
            pause = _LOOKS_S
            try:
                now = self._part.look(self._name, _said)
            except AwsRefused:
                # Progress is a convenience: the reply, or its error, arrives without it.
                continue
            if isinstance(now, tuple):  # otherwise it is missing or damaged
                self._progress.relay(*now)
