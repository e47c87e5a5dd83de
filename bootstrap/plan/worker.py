"""Steps to the worker of `isolation = split`, a second function with roles of its own, and those that remove it."""

from __future__ import annotations

from dataclasses import replace

from bootstrap.changes import (
    AttachToWorker,
    CreateWorker,
    DeleteStoreRole,
    DeleteWorker,
    DeleteWorkerLogGroup,
    DeleteWorkerRole,
    MakeWorkerLogGroup,
    NeverRepeatWorker,
    PutStoreRole,
    PutWorkerRole,
    ReplaceWorker,
    Step,
    UpdateWorkerCode,
    UpdateWorkerConfiguration,
)
from bootstrap.names import Names
from bootstrap.plan.functions import differences, has_moved, starter_layer, variables_of_others
from bootstrap.plan.installed import own_layer
from bootstrap.plan.surroundings import role_steps
from bootstrap.plan.wanted import Wanted
from bootstrap.policy.roles import TRUST, store_grants, store_trust, worker_grants
from bootstrap.policy.statements import document
from bootstrap.state import FunctionSettings, Present


def worker_steps(want: Wanted, present: Present, settings: FunctionSettings, *, setting_up: bool) -> list[Step]:
    """Yield the steps to the wanted worker, except for the layer that `setup` is about to make."""
    names, there = want.names, present.worker
    steps = [
        *role_steps(
            PutWorkerRole,
            names.worker_role,
            there.role,
            TRUST,
            document(worker_grants(names)),
            "with which the worker can write its log and know its orders",
            f"What the worker of the builder {names.function} may do by itself",
            want.boundary,
        ),
        *role_steps(
            PutStoreRole,
            names.store_role,
            there.store_role,
            store_trust(names),
            document(store_grants(names)),
            "of which the builder lends the worker a part for each build",
            f"What the builder {names.function} may lend to its worker",
            want.boundary,
        ),
    ]
    if there.log_group is None:
        text = f"make log group {names.worker_log_group}"
        steps.append(MakeWorkerLogGroup(sentence=text, group=names.worker_log_group))
    return steps + _worker_function(want, present, settings, setting_up=setting_up)


def _worker_function(want: Wanted, present: Present, settings: FunctionSettings, *, setting_up: bool) -> list[Step]:
    names, function, steps = want.names, present.worker.function, list[Step]()
    name, architecture = names.worker, want.architecture
    own = own_layer(names, present)
    # Tenant isolation can be set only when a function is created.
    if function is None or function.state == "Failed" or not function.per_tenant:
        return _new_worker(want, present, settings)
    foreign = variables_of_others(function.settings.environment)
    settings = replace(settings, environment={**foreign, **settings.environment})
    changed = differences(function.settings, settings)
    others = tuple(layer for layer in function.layers if not layer.startswith(f"{names.layer_arn}:"))
    # While `setup` is about to make another layer, AttachToWorker does this.
    layer = own if own and own not in function.layers and not setting_up else None
    if changed or layer is not None:
        listed = ", ".join([*changed, *(["layers"] if layer is not None else [])])
        steps.append(
            UpdateWorkerConfiguration(
                sentence=f"update the configuration of function {name}: {listed}",
                function=name,
                settings=settings,
                layer=layer,
                layers=others,
            )
        )
    if function.code_sha256 != want.package.code_sha256 or function.architecture != architecture:
        text = f"update the code of function {name}"
        steps.append(UpdateWorkerCode(sentence=text, function=name, architecture=architecture, code=want.package.code))
    if not function.retries_decided:
        steps.append(_never_repeat(name))
    return steps


def _new_worker(want: Wanted, present: Present, settings: FunctionSettings) -> list[Step]:
    names, steps = want.names, list[Step]()
    own = own_layer(names, present)
    if present.worker.function is not None:
        text = f"remove function {names.worker}, which does not keep trust domains apart"
        steps.append(ReplaceWorker(sentence=text, function=names.worker))
    return [
        *steps,
        CreateWorker(
            sentence=f"create function {names.worker}, in which the projects' code runs, like the builder",
            function=names.worker,
            # The builder's own layer, if it fits: then the worker is ready without `setup`. Else the starter, which
            # AttachToWorker replaces at the end.
            layer=own if own and not has_moved(want, present) else starter_layer(want, present)[0],
            architecture=want.architecture,
            settings=settings,
            per_tenant=True,
            code=want.package.code,
        ),
        _never_repeat(names.worker),
    ]


def _never_repeat(worker: str) -> NeverRepeatWorker:
    text = f"tell Lambda never to repeat a failed invocation of function {worker} by itself"
    return NeverRepeatWorker(sentence=text, function=worker)


def attach_to_worker(names: Names) -> AttachToWorker:
    text = f"attach the layer of function {names.function} to function {names.worker}"
    return AttachToWorker(sentence=text, builder=names.function, function=names.worker, layer=names.layer_arn)


def remove_worker(names: Names, present: Present) -> list[Step]:
    """Return the steps that remove the resources of `isolation = split`."""
    there, steps = present.worker, list[Step]()
    # Each part by its own tag: a run that was killed may have removed some of them.
    if there.function and there.function.made_here:
        steps.append(DeleteWorker(sentence=f"delete function {names.worker}", function=names.worker))
    if there.store_role and there.store_role.made_here:
        text = f"delete role {names.store_role} and its policy"
        steps.append(DeleteStoreRole(sentence=text, role=names.store_role))
    if there.role and there.role.made_here:
        text = f"delete role {names.worker_role} and its policy"
        steps.append(DeleteWorkerRole(sentence=text, role=names.worker_role))
    if there.log_group and there.log_group.made_here:
        text = f"delete log group {names.worker_log_group}"
        steps.append(DeleteWorkerLogGroup(sentence=text, group=names.worker_log_group))
    return steps
