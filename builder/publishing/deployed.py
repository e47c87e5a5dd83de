"""Record of a function's last deploy, which shows the next one at once that nothing has changed.

`deployed/FUNCTION.json` in the store. It is never needed: without it, everything is compared again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

from builder import __version__
from builder.publishing.steps import FunctionState
from builder.store.values import Fields

if TYPE_CHECKING:
    from builder.event.request import Request
    from builder.replies.reply import Reply
    from builder.settings import Settings
    from builder.store.s3 import S3Store

# Fields of a reply that also hold for a deploy that finds nothing to do.
_LASTING = ("function", "layers", "artifacts", "pruned", "native_libraries", "checks", "warnings")


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """Successful deploy.

    `key` identifies the request and the builder's configuration. `tree` is the id of the directory that
    everything was read from: the project's, or the whole repository's if the project reads outside of itself.
    `revision_id` is the function's after the deploy, `alias` the alias's content.
    `settings` are hashes of the wanted settings by name, `extras` the settings with calls of their own, `keys` the keys
    of the components' inputs.
    """

    key: str
    build_id: str
    commit: str
    tree: str
    revision_id: str
    code_sha256: str
    alias: Mapping[str, object] | None
    settings: Mapping[str, str]
    extras: Mapping[str, object]
    keys: Mapping[str, str]
    reply: Reply

    @property
    def attached(self) -> list[tuple[str, str]]:
        """Component and ARN of each layer that it attached, in order."""
        return [(row["name"], arn) for row in self.reply["layers"] if (arn := row["arn"])]

    @property
    def version(self) -> str | None:
        """Version that it published, or found."""
        function = self.reply.get("function")
        return function["version"] if function and "arn" in function else None

    def stands(self, key: str, state: FunctionState | None) -> bool:
        """Tell whether the request is the same and the function is unchanged since."""
        return (
            state is not None
            and not state.busy
            and not state.failure
            and (self.key, self.revision_id, self.alias) == (key, state.revision_id, _alias(state))
        )

    def again(self, commit: str, ref: str) -> Reply:
        """Return the reply to a deploy that finds nothing to do."""
        artifacts, layers, checks = self.reply["artifacts"], self.reply["layers"], self.reply["checks"]
        return {
            **self.reply,
            "statusCode": 200,
            "commit": commit,
            "ref": ref,
            "artifacts": [{**row, "action": "reuse", "why": "its inputs have not changed"} for row in artifacts],
            "layers": [{**row, "reused": True} for row in layers],
            "checks": {**checks, "reused": True},
            "changed": [],
        }


def request_key(request: Request, settings: Settings, domain: str) -> str:
    """Return a key for everything except the source that decides what is deployed.

    `domain` is the trust domain's id.
    """
    place = (request.path, request.build_file, request.key, request.stage)
    asked = (*place, request.components, request.version, request.alias, request.weight)
    return hashlib.sha256(json.dumps([__version__, domain, asked, asdict(settings)]).encode()).hexdigest()


def read(store: S3Store, function: str) -> Deployed | None:
    """Return the record of the last deploy; None for a record of another version of the builder."""
    return store.find(_name(function), _parse)


def _parse(kept: Fields) -> Deployed | None:
    if kept.text("builder") != __version__:
        return None
    alias = kept.fields_or_none("alias")
    reply = kept.fields("reply")
    for rows in ("artifacts", "layers"):
        reply.rows(rows)
    reply.fields("checks")
    return Deployed(
        key=kept.text("key"),
        build_id=kept.text("build_id"),
        commit=kept.text("commit"),
        tree=kept.text("tree"),
        revision_id=kept.text("revision_id"),
        code_sha256=kept.text("code_sha256"),
        alias=alias.value if alias else None,
        settings=kept.fields("settings").all_texts(),
        extras=kept.fields("extras").value,
        keys=kept.fields("keys").all_texts(),
        reply=cast("Reply", reply.value),  # of this version, and under a checksum
    )


def keep(
    store: S3Store,
    function: str,
    state: FunctionState,
    *,
    key: str,
    build_id: str,
    commit: str,
    tree: str,
    settings: Mapping[str, object],
    extras: Mapping[str, object],
    keys: Mapping[str, str],
    reply: Mapping[str, object],
) -> None:
    """Record a successful deploy; `state` is the function's after it."""
    value = {
        "builder": __version__,
        "key": key,
        "build_id": build_id,
        "commit": commit,
        "tree": tree,
        "revision_id": state.revision_id,
        "code_sha256": state.code_sha256,
        "alias": _alias(state),
        "settings": {name: setting_hash(value) for name, value in settings.items()},
        "extras": dict(extras),
        "keys": dict(keys),
        "reply": {name: reply[name] for name in _LASTING if name in reply},
    }
    store.write_json(_name(function), value)


def forget(store: S3Store, function: str) -> None:
    """Remove the record of the last deploy, before its result is replaced."""
    store.write_json(_name(function), {"builder": ""})  # the role may not remove objects here


def setting_hash(value: object) -> str:
    """Return a hash of a setting's value, which may be secret."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _name(function: str) -> str:
    return f"deployed/{function}.json"


def _alias(state: FunctionState) -> dict[str, object] | None:
    alias = state.alias
    return None if alias is None else {"version": alias.version, "weights": dict(alias.weights), "name": alias.name}
