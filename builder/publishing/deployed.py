"""What the last deploy of a function left, so that the next can tell that nothing has changed before it does anything.

`deployed/FUNCTION.json` in the store. It is never needed: without it, every comparison is made anew.
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

# Of a reply, what is true again of a deploy that finds nothing to do.
_LASTING = ("function", "layers", "artifacts", "pruned", "native_libraries", "checks", "warnings")


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A deploy that ended well.

    `key` stands for all that was asked for and how the builder was configured. `tree` is the id of the directory that
    everything was read from: the project's, or the whole repository's where the project reads outside of itself.
    `revision_id` is the function's afterwards, `alias` what the alias served.
    `settings` are hashes of what was wanted by name, `extras` the settings with calls of their own, `keys` those of the
    components' inputs.
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
        """Component and ARN of the layers that it attached, in their order."""
        return [(row["name"], arn) for row in self.reply["layers"] if (arn := row["arn"])]

    @property
    def version(self) -> str | None:
        """The version that it published, or found."""
        function = self.reply.get("function")
        return function["version"] if function and "arn" in function else None

    def stands(self, key: str, state: FunctionState | None) -> bool:
        """Whether the same is asked for, and nobody has changed the function since."""
        return (
            state is not None
            and not state.busy
            and not state.failure
            and (self.key, self.revision_id, self.alias) == (key, state.revision_id, _alias(state))
        )

    def again(self, commit: str, ref: str) -> Reply:
        """The reply to a deploy that finds nothing to do."""
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
    """Stands for all but the source that decides what is deployed; `domain` is the id of the trust domain."""
    asked = (request.path, request.build_file, request.components, request.version, request.alias, request.weight)
    return hashlib.sha256(json.dumps([__version__, domain, asked, asdict(settings)]).encode()).hexdigest()


def read(store: S3Store, function: str) -> Deployed | None:
    """What is known of the last deploy; what another version of the builder has kept is not."""
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
    """Remember a deploy that ended well; `state` is the function's after it."""
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
    """Remember nothing of the last deploy, before something else takes the place of what it left."""
    store.write_json(_name(function), {"builder": ""})  # the role may remove nothing here


def setting_hash(value: object) -> str:
    """Stands for the value of a setting, which may be secret."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _name(function: str) -> str:
    return f"deployed/{function}.json"


def _alias(state: FunctionState) -> dict[str, object] | None:
    alias = state.alias
    return None if alias is None else {"version": alias.version, "weights": dict(alias.weights), "name": alias.name}
