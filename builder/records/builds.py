"""Builds in the store: who works on a build id, how far it is, how it ended, what was deployed.

builds = Builds(store)
if (present := builds.look(build_id)) is not None:
    …                                       # someone works on it, or it has ended: answer with that
claim = builds.claim(build_id, function)    # nothing is written yet
claim.note(moment)                          # from time to time, in another thread
claim.take()                                # before the first change of anything that content does not name
builds.end(claim, request, reply, seconds=…, deployment=…)
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from builder import __version__
from builder.errors import UnknownBuild
from builder.event.request import Action
from builder.progress import Phase
from builder.records.claim import EXPIRES_S, AlreadyTaken, Claim, State, is_lost, state_name, utc
from builder.records.record import (
    RECORDED,
    DeploymentRecord,
    Origin,
    Record,
    history_of,
    project_history,
    read_short,
)
from builder.store.keeping import Damaged
from builder.store.values import Fields, JsonObject

if TYPE_CHECKING:
    from builder.event.request import Request
    from builder.replies.accounts import BuildState, HistoryRow, RecentRow
    from builder.replies.reply import Reply
    from builder.store.s3 import S3Store

# Records are listed by name: counting down from here puts the newest first.
# S3 lists by name and in ascending order only.
_FAR_FUTURE_MS = 10**13
# Of the refs that one commit was deployed from, so many are kept.
_MOST_REFS = 20
# The most that S3 lists in one answer.
_MOST_LISTED = 1000
# What to do about a record that is damaged. Nothing else needs it.
RECORD_HINT = "name another build to return to; to be rid of the damaged record, delete that object"


class Builds:
    """Build states below `builds/`, records of ended builds in folders (`history_of`, `project_history`), short ones of
    all builds below `recent/`.

    Below `vouched/` is, by repository and commit, which refs had a commit that was deployed from there.
    """

    def __init__(
        self, store: S3Store, clock: Callable[[], float] = time.time, *, claims_expire_s: float = EXPIRES_S
    ) -> None:
        self._store = store
        self._clock = clock
        self._claims_expire_s = claims_expire_s

    def look(self, build_id: str) -> State | None:
        """Return the state of a build id that someone works on, or has worked on; None if it is free.

        A state that cannot be read counts as free: a claim to the id finds out whether someone works on it.
        """
        present = self._store.read_version(state_name(build_id))
        return None if present is None or is_lost(present) else State.of(present)

    def claim(self, build_id: str, function: str, *, resumes: bool = False) -> Claim:
        """Return a claim to the build id that is not taken yet.

        Args:
            resumes: also take it from an execution of Step Functions.
        """
        expires_s, clock = self._claims_expire_s, self._clock
        return Claim(self._store, build_id, function, expires_s=expires_s, clock=clock, resumes=resumes)

    def end(
        self,
        claim: Claim,
        request: Request,
        reply: Reply,
        *,
        seconds: float,
        deployment: DeploymentRecord | None = None,
        restored: str | None = None,
    ) -> None:
        """Keep what came of a build: its reply under its id, a record of it in the history that the claim names.

        A build that succeeded and changed nothing leaves no record, unless it comes with a `deployment`, because none
        is known. Nothing is written without the claim, nor where someone else took the id.

        Args:
            deployment: what it takes to deploy the same again.
            restored: for a rollback, the id of the build that was returned to.
        """
        record = self._record(claim, request, reply, seconds, deployment, restored)
        failed = record.state == "failed"
        recorded = not _may_be_part(request) and (failed or bool(record.changed) or deployment is not None)
        name = None
        # Records are written under the claim: of two builders with one id, only one may leave a record.
        if recorded:
            try:
                claim.take()
            except AlreadyTaken:
                claim.finish(None)
                return
            listed = f"{_FAR_FUTURE_MS - int(self._clock() * 1000):013d}-{claim.build_id}.json"
            name = f"{claim.history}/{listed}"
            # Before the state: whoever sees that the build has ended can rely on its record.
            vouched = {} if failed or deployment is None else _vouched(deployment.origin)
            self._store.write_all({name: record.as_json(), f"recent/{listed}": {**record.short()}, **vouched})
        phases = tuple(Phase(name=row["name"], seconds=row["seconds"]) for row in reply.get("phases", ()))
        claim.finish(
            State(
                build_id=record.build_id,
                function=record.function,
                history=claim.history,
                state=record.state,
                seconds=record.seconds,
                phases=phases,
                started=record.started,
                ended=record.ended,
                reply=reply,
                record=name,
            )
        )

    def _record(
        self,
        claim: Claim,
        request: Request,
        reply: Reply,
        seconds: float,
        deployment: DeploymentRecord | None,
        restored: str | None,
    ) -> Record:
        source, error, function = request.source, reply.get("error"), reply.get("function")
        deployed = function if function and "arn" in function else None
        return Record(
            build_id=claim.build_id,
            action=RECORDED[request.action],
            state="failed" if reply["statusCode"] >= 400 else "succeeded",
            seconds=round(seconds, 3),
            started=utc(claim.started),
            ended=utc(self._clock()),
            function=request.function,
            by=request.by,
            repo=source.place if source else None,
            path=request.path,
            ref=reply.get("ref"),
            commit=reply.get("commit"),
            alias=(deployed["alias"] if deployed else None) or request.alias,
            version=deployed["version"] if deployed else None,
            builder=__version__,
            changed=tuple(reply.get("changed", ())),
            sizes={row["name"]: row["size"] for row in reply.get("artifacts", ()) if "size" in row},
            error=error["code"] if error else None,
            message=error["message"] if error else None,
            restored=restored,
            reply=reply,
            deployment=deployment,
            group=request.group,
            stage=request.stage,
        )

    def state(self, build_id: str) -> BuildState:
        """Return the state of a build.

        Raises:
            UnknownBuild: nothing.
            StoreDamaged: it cannot be read any more.
        """
        present = self._store.read_version(state_name(build_id))
        if present is None:
            raise UnknownBuild(f"no build has the id {build_id!r}", hint="ids are printed when a build starts")
        state = State.of(present)
        if state is None:
            raise Damaged(place=self._store.place(state_name(build_id)), why="it is not the state of a build").error(
                "ask for the function's history, which has the builds that changed something or failed"
            )
        # A killed builder cannot write its own end.
        if is_lost(present):
            state = replace(state, state="failed", message="the builder was stopped before the build ended")
        return state.for_people()

    def recent(self, count: int) -> list[RecentRow]:
        """Return short accounts of the last builds of all functions, newest first, without damaged ones."""
        return self._store.find_all(self._store.first_names("recent", count), read_short)

    def of_function(self, function: str, count: int) -> list[RecentRow]:
        """Return short accounts of one function's builds."""
        return [record.short() for record in self._whole_ones(function, count)]

    def history(self, function: str, count: int) -> list[HistoryRow]:
        """Return what people want to know of the last builds, newest first; damaged records are left out."""
        return [record.for_people() for record in self._whole_ones(function, count)]

    def history_of_project(self, project: str, stage: str, count: int) -> list[HistoryRow]:
        """Return the same of a project.

        Its builds are its single function's if it has no other, and so are those that failed before that was known.
        """
        several = self._store.first_names(project_history(project, stage), count)
        records = self._store.find_all(several, Record.parse)
        # A function of the project may have the project's name: its parts in the project's builds are its own.
        alone = self._whole_ones(project, count)
        records += [record for record in alone if not record.group and record.stage == stage]
        records.sort(key=lambda record: record.ended, reverse=True)
        return [record.for_people() for record in records[:count]]

    def _whole_ones(self, function: str, count: int) -> list[Record]:
        return self._store.find_all(self._store.first_names(history_of(function), count), Record.parse)

    def records(self, function: str, count: int) -> list[Record | Damaged]:
        """Return the last builds of a function that changed something or failed, the newest first."""
        return self._store.look_at_all(self._store.first_names(history_of(function), count), Record.parse)

    def records_of_project(self, project: str, stage: str, count: int) -> list[Record | Damaged]:
        """Return the same of a project with several functions."""
        return self._store.look_at_all(self._store.first_names(project_history(project, stage), count), Record.parse)

    def find(self, function: str, build_id: str, *, history: str = "") -> Record:
        """Return the record of one build of the function, or of a project of that name whose folder is `history`.

        Raises:
            UnknownBuild: it left none, or was another function's.
            StoreDamaged: it cannot be read any more.
        """
        record = self._store.read(self._record_name(function, build_id, history), Record.parse, hint=RECORD_HINT)
        if record is None:
            raise _unknown(function, build_id)
        return record

    def deployed_from(self, url: str, commit: str) -> tuple[str, ...]:
        """Return the refs, by full name, that the commit was the tip of when it was deployed, by any function."""
        found = self._store.find_all(self._store.first_names(_vouched_folder(url, commit), _MOST_REFS), _vouched_for)
        return tuple(ref for at, of, ref in found if (at, of) == (url, commit))

    def _record_name(self, function: str, build_id: str, history: str) -> str:
        state = self._store.look(state_name(build_id), State.parse)
        if isinstance(state, Damaged):  # the record's name also has the id
            folders = [history_of(function), *([history] if history else [])]
            names = [name for folder in folders for name in self._store.first_names(folder, _MOST_LISTED)]
            found = next((name for name in names if name.endswith(f"-{build_id}.json")), None)
        else:
            found = state.record if state and state.function == function else None
        if found is None:
            raise _unknown(function, build_id)
        return found


def _may_be_part(request: Request) -> bool:
    """Tell whether it may be a part of a build that many invocations make: a package of the project, and no attempt."""
    return request.project and request.action == Action.PACKAGE


def _vouched_folder(url: str, commit: str) -> str:
    return f"vouched/{hashlib.sha256(f'{url} {commit}'.encode()).hexdigest()}"


def _vouched(origin: Origin | None) -> dict[str, JsonObject]:
    """Return the objects that tell where a deployed commit came from, one for each ref."""
    if origin is None:
        return {}
    place = {"url": origin.url, "commit": origin.commit}
    folder = _vouched_folder(origin.url, origin.commit)
    return {
        f"{folder}/{hashlib.sha256(ref.encode()).hexdigest()[:16]}.json": {**place, "ref": ref}
        for ref in origin.refs[:_MOST_REFS]
    }


def _vouched_for(kept: Fields) -> tuple[str, str, str]:
    return kept.text("url"), kept.text("commit"), kept.text("ref")


def _unknown(function: str, build_id: str) -> UnknownBuild:
    return UnknownBuild(
        f"{function} has no build {build_id!r} that changed something",
        hint="the function's history lists the ids of its builds",
    )
