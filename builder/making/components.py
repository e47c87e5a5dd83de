"""The choice of the class that makes a component.

    Dependencies    distributions of the lock        dependencies.py
    Function        files as they are                files.py
    FilesLayer      files as they are                files.py
    CommandsLayer   files that commands make         preinstall.py
    KindBuild       what a kind of build makes       building.py

All are `Buildable`; `wrappers.py` has the wrappers that any of them can get.
"""

from __future__ import annotations

from builder.making import shipment
from builder.making.buildable import Buildable
from builder.making.dependencies import Dependencies
from builder.making.files import FilesLayer, Function
from builder.making.preinstall import CommandsLayer
from builder.making.project import Project
from builder.making.wrappers import Collecting
from builder.spec.build_file import FunctionSpec
from builder.workshop.workshop import Workshop


def component(project: Project, name: str, workshop: Workshop) -> Buildable:
    """Return the named component of a project, which a workshop can make."""
    chosen = _class_of(project, name, workshop)
    return Collecting(of=chosen, project=project, workshop=workshop) if shipment.collects(project, name) else chosen


def _class_of(project: Project, name: str, workshop: Workshop) -> Buildable:
    if recipe := project.recipe(name):
        from builder.making.building import KindBuild  # the kinds take a while to import, and most builds need none

        return KindBuild(name=name, project=project, workshop=workshop, recipe=recipe)
    holder = project.holder(name)
    if holder is None:
        return Dependencies(name=name, project=project, workshop=workshop)
    if isinstance(holder, FunctionSpec):
        return Function(name=name, project=project, workshop=workshop)
    if holder.preinstall:
        return CommandsLayer(name=name, project=project, workshop=workshop, layer=holder)
    return FilesLayer(name=name, project=project, workshop=workshop, layer=holder)
