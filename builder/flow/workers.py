"""Orders handed to the worker: another function, in which foreign code runs, with no power over anything but its store.

The worker is one function for all. Lambda itself never gives one of its environments to two tenants, and the tenant is
the trust domain, as it was found out here. What comes back is read as what a stranger has written.
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
from builder.making.product import MAX_TEXT, Product, Unchanged, pinned_lock
from builder.making.project import Outline
from builder.plan import UNBUILT, Artifact
from builder.progress import Phase
from builder.secrets import envelope
from builder.secrets.grants import Granted
from builder.store.values import Fields

if TYPE_CHECKING:
    from builder.context import Context

T = TypeVar("T")
P = TypeVar("P", Product, Unchanged)

# A role that is assumed by a role is lent for an hour at the most.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#id_roles_terms-and-concepts
_SESSION_S = 3600
# What is lent must last for a whole invocation.
_LASTS_S = 960
_MOST = 200
_PARALLEL = 4
_FIRST_LOOK_S, _LOOKS_S = 2.0, 1.0


def made_by_worker(order: Order, context: Context) -> Product | Unchanged:
    """What the worker makes of the order; its artifacts are in the builder's own store afterwards.

    Raises:
        LambdasmithError: what the worker says of the project, or why it says nothing.
        ContentMismatch: what the worker has stored is not what it says.
    """
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(_store_session, order, context)
        given = allowance.granted(order, context)
        session = pending.result()
    answer = _sent(order, given, session, context)
    if "needs" in answer:
        # Which secrets a build file names is known when it is read, and it is read where it is fetched.
        outline = parsed(lambda: Outline.parse(answer.fields("needs").value))
        answer = _sent(order, allowance.for_commands(outline.spec, order, context, given), session, context)
    if "unchanged" in answer:
        return _expected(parsed(lambda: Unchanged.parse(answer.fields("unchanged"))), order)
    made = _expected(parsed(lambda: Product.parse(answer.fields("product").value)), order)
    if not order.dry and not order.fresh:
        with context.progress.phase("take", "taking over what the worker has made"):
            _take(made, order, context)
    return made


def _expected(made: P, order: Order) -> P:
    """What was made, of the order's commit, whatever commit the worker names.

    Raises:
        WorkerFailed: nothing has changed, and there is nothing that it could have been compared with.
    """
    if isinstance(made, Unchanged) and not order.known:
        raise WorkerFailed("the worker says that nothing has changed, but has nothing to compare with")
    resolved = order.resolved
    return replace(made, commit=resolved.commit, ref=resolved.ref) if resolved else made


def parsed(parse: Callable[[], T]) -> T:
    """What `parse` makes of something that the worker has said.

    Raises:
        WorkerFailed: it is not what it should be.
    """
    try:
        return parse()
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise WorkerFailed(f"the worker's answer does not have the form of one: {type(error).__name__}") from error


def _sent(order: Order, given: Granted, session: SessionCredentials, context: Context) -> Fields:
    """The worker's answer to an order; its errors are raised, its phases and warnings told."""
    # What the worker runs can ask the Runtime API for the event, and must not learn what the worker knows: the key goes
    # where the worker's own role alone may read.
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
    # Whoever may invoke the worker could send it an order as any tenant. Only the builder can write this.
    proof = f"orders/{message['nonce']}.json"
    context.store.write_json(proof, {"sha256": hashlib.sha256(sealed.encode()).hexdigest(), "key": key.hex()})
    with _Following(str(message["nonce"]), order, context):
        answer = _invoked(json.dumps({"sealed": sealed}), order, context)
    parsed(lambda: _tell(answer, context))
    if error := parsed(lambda: error_in(answer)):
        raise error
    return answer


def error_in(answer: Fields) -> LambdasmithError | None:
    """The error that a worker's answer is, if it is one."""
    return error_of(answer.fields("error").value) if "error" in answer else None


def _tell(answer: Fields, context: Context) -> None:
    """Add the worker's phases and warnings to this build's."""
    for row in answer.rows("phases")[:_MOST] if "phases" in answer else ():
        seconds = row.value.get("seconds")
        # No other number is JSON, and no phase is longer.
        number = round(float(seconds), 3) if isinstance(seconds, int | float) and 0 <= seconds <= _SESSION_S else 0.0
        context.progress.phases.append(Phase(name=row.text("name", longest=MAX_TEXT), seconds=number))
    for warning in answer.texts("warnings", longest=MAX_TEXT)[:_MOST] if "warnings" in answer else ():
        context.progress.warn(warning)


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


# What was lent, by role, domain and what else may be read, with the time until which it is good.
_SESSIONS: dict[tuple[str, str, tuple[str, ...]], tuple[SessionCredentials, float]] = {}


def _store_session(order: Order, context: Context) -> SessionCredentials:
    """Access to the domain's own part of the store, and to the order's source, for the time of a build."""
    settings, sources = context.settings, _sources(order, context)
    key = (settings.worker_role, order.domain.id, sources)
    found = _SESSIONS.get(key)
    if found is None or found[1] < time.monotonic() + _LASTS_S:
        for old in [old for old, (_, until) in _SESSIONS.items() if until < time.monotonic()]:
            del _SESSIONS[old]
        with aws_errors("borrowing the worker's access to the store"):
            session = context.clients.assume_role(
                settings.worker_role, order.domain.id, _policy(order, context, sources), seconds=_SESSION_S
            )
        found = _SESSIONS[key] = (session, time.monotonic() + _SESSION_S)
    for secret in (found[0].secret_access_key, found[0].session_token):
        context.secrets.add(secret)
    return found[0]


def _sources(order: Order, context: Context) -> tuple[str, ...]:
    """ARNs of the objects that the order's source is made of."""
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
    """A key of a caller's choice in a policy, where it stands for nothing but itself.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#policy-vars-specialchars
    """
    return re.sub(r"[*?$]", r"${\g<0>}", key)


def _policy(order: Order, context: Context, sources: Sequence[str]) -> Mapping[str, object]:
    """The session's: what the role may do is cut down to this."""
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
    """Copy what is to be published to where the worker cannot write, if it is what its name says.

    Raises:
        ContentMismatch: it is not.
    """
    part = context.kept(order.domain)
    artifacts = {artifact.sha256: artifact for artifact in made.artifacts.values() if artifact is not UNBUILT}

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
    """Tells, while the block lasts, what the worker writes down of its progress."""

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
                continue
            if isinstance(now, tuple):  # it is the worker's
                self._progress.relay(*now)
