"""The worker's entry point, which builds one order. Foreign code runs here and in no other function.

The worker's own role can read the builder's records of orders, and write logs. Access to the store comes with the
order, for its trust domain alone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from builder import __version__
from builder.errors import InvalidEvent, LambdasmithError
from builder.invocation import LambdaContext, configure_logging, time_limit
from builder.jsontext import read_json
from builder.secrets import envelope
from builder.secrets.masking import Masker
from builder.secrets.surroundings import secrets_of
from builder.store.values import SHA256, Fields
from builder.system.descendants import StillRunningError
from builder.workspace import execution
from builder.workspace.directory import distrust, full_disk

if TYPE_CHECKING:
    from builder.aws import Clients, SessionCredentials
    from builder.context import Context
    from builder.flow.order import Order
    from builder.making.project import Outline
    from builder.progress import Progress
    from builder.secrets.grants import Granted
    from builder.store.s3 import DomainStore

log = logging.getLogger("builder")


class _NeedsSecretsError(Exception):
    """The build file names secrets that the builder has not sent yet."""

    def __init__(self, outline: Outline) -> None:
        super().__init__()
        self.outline = outline


def handler(event: Mapping[str, object], context: LambdaContext) -> dict[str, object]:
    """Answer one order: {product}, {several} or {unchanged}, {needs} for secrets, or {error}.

    Each comes with phases, warnings and notes.
    """
    from builder.progress import Progress

    masker, progress = Masker(), Progress()
    for secret in secrets_of(os.environ):
        masker.add(secret, key="password")
    configure_logging(masker)
    # Before the order is opened: only then is no other process there to read its secrets.
    execution.begin()
    try:
        with time_limit(context.get_remaining_time_in_millis() / 1000), full_disk():
            answer = _answer(*_opened(event, context), masker, progress)
    except LambdasmithError as error:
        from builder.flow.reply import failure

        answer = {**failure(error)}
    except StillRunningError:
        execution.give_up()  # ends this environment, so only the build that left the processes is lost
    except BaseException:
        # Foreign code may have caused the bug on purpose: the next build uses nothing that this one leaves.
        distrust()
        raise
    phases = [{"name": phase.name, "seconds": phase.seconds} for phase in progress.phases]
    said = {"warnings": list(progress.warnings), "notes": list(progress.notes)}
    return masker.mask_json({**answer, "phases": phases, **said})


def _opened(event: Mapping[str, object], context: LambdaContext) -> tuple[Fields, Fields]:
    """Check the builder's message and decrypt its closed part.

    Raises:
        InvalidEvent: someone else has sent it, or it is for another environment.
    """
    sealed = event.get("sealed") if isinstance(event, Mapping) else None
    try:
        message = Fields(read_json(str(sealed)))
        nonce = message.text("nonce")
        domain = message.fields("order").fields("domain").text("name")
    except ValueError as error:
        raise _not_from_the_builder() from error
    # It becomes part of a key.
    if not nonce.isalnum():
        raise _not_from_the_builder()
    said = _orders().look(f"{nonce}.json", lambda kept: (kept.text("sha256", SHA256), kept.text("key", SHA256)))
    # The builder writes the hash of each order into the store, where only it can write: an event from anyone else has
    # none.
    if not isinstance(said, tuple) or said[0] != hashlib.sha256(str(sealed).encode()).hexdigest():
        raise _not_from_the_builder()
    if (version := message.text("version")) != __version__:
        raise InvalidEvent(
            f"the worker is version {__version__}, the builder {version}",
            hint="run `python setup.py update`",
        )
    from builder.workspace.domains import Domain

    tenant = getattr(context, "tenant_id", None)
    # Lambda never gives an environment to two tenants. An event for another domain was sent past the builder.
    if tenant != Domain(name=domain).id:
        raise InvalidEvent("the order belongs to another trust domain than this environment")
    secret = json.loads(envelope.opened(message.text("closed"), bytes.fromhex(said[1])))
    return message, Fields(secret)


def _not_from_the_builder() -> InvalidEvent:
    return InvalidEvent("the worker accepts orders only from the builder", hint="invoke the builder instead")


def _answer(message: Fields, secret: Fields, masker: Masker, progress: Progress) -> dict[str, object]:
    from builder.flow.making import make
    from builder.flow.order import Order
    from builder.flow.selfbuild import require_ready
    from builder.making.product import Several, Unchanged
    from builder.secrets.grants import Granted

    require_ready()
    granted = Granted.parse(secret.fields("granted"))
    order = replace(Order.parse(message.fields("order")), variables=secret.fields("variables").all_texts())
    for value in granted.values():
        masker.add(value, key="password")
    session, left_s = _session_of(secret.fields("store")), message.number("remaining_s")
    context = _context(session, left_s, order, granted, masker, progress)
    with context.until_end, _progress_stored(message.text("nonce"), context):
        try:
            made = make(order, context, allow=lambda outline: _allow(outline, granted))
        except _NeedsSecretsError as needs:
            return {"needs": needs.outline.as_json()}
    if isinstance(made, Unchanged):
        return {"unchanged": {"commit": made.commit, "ref": made.ref}}
    return {"several" if isinstance(made, Several) else "product": made.as_json()}


def _allow(outline: Outline, granted: Granted) -> None:
    from builder.spec.base import secrets_in

    if {secret.source for _, secret in secrets_in(outline.spec)} - set(granted.commands):
        raise _NeedsSecretsError(outline)


def _context(
    session: SessionCredentials, left_s: float, order: Order, granted: Granted, masker: Masker, progress: Progress
) -> Context:
    from builder.context import Context
    from builder.secrets.surroundings import Surroundings
    from builder.settings import Settings
    from builder.store.s3 import DomainStore
    from builder.workspace.directory import Deadline

    around, settings = Surroundings.of(os.environ), Settings.from_environment(os.environ)
    for secret in (session.secret_access_key, session.session_token):
        masker.add(secret)
    clients = _clients_of(session)
    return Context(
        # Without a worker of its own: the build runs here and is not sent on.
        settings=replace(settings, worker=""),
        clients=clients,
        store=DomainStore(clients, settings.bucket, settings.store_prefix, order.domain.folder, warn=progress.warn),
        workspace=execution.workspace(os.environ),
        deadline=Deadline.after(left_s),
        progress=progress,
        environment=around.environment,
        ambient_indexes=around.indexes,
        secrets=masker,
        granted=granted,
    )


@contextlib.contextmanager
def _progress_stored(nonce: str, context: Context) -> Iterator[None]:
    """Write the progress in the block to the store, where the builder reads it."""
    from builder.progress import BackgroundListener, Moment

    def write(now: Moment) -> None:
        message = context.secrets.mask(now.message)
        context.store.write_json(f"progress/{nonce}.json", {"phase": now.phase, "message": message})

    listener = BackgroundListener(write)
    context.progress.listener = listener
    try:
        yield
    finally:
        listener.close()


@functools.cache
def _orders() -> DomainStore:
    """Return the builder's record of orders: the only part of its store that the worker's own role can read."""
    from builder.aws import connect
    from builder.settings import Settings
    from builder.store.s3 import DomainStore

    settings = Settings.from_environment(os.environ)
    return DomainStore(connect(), settings.bucket, settings.store_prefix, "orders")


def _session_of(sent: Fields) -> SessionCredentials:
    from builder.aws import SessionCredentials

    return SessionCredentials(
        access_key_id=sent.text("access_key_id"),
        secret_access_key=sent.text("secret_access_key"),
        session_token=sent.text("session_token"),
    )


@functools.lru_cache(maxsize=2)
def _clients_of(session: SessionCredentials) -> Clients:
    from builder.aws import connect

    return connect(
        access_key_id=session.access_key_id,
        secret_access_key=session.secret_access_key,
        session_token=session.session_token,
    )
