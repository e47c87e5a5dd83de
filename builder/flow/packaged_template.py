"""The template of a packaged project: its functions and layers point to the artifacts in the store."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import InvalidBuildFile
from builder.plan import DEPENDENCIES, FUNCTION
from builder.spec.document import read_document
from builder.spec.templates.reading import FUNCTIONS, LAYERS, Template, resources_of
from builder.spec.templates.writing import Changes, Place, rewritten

if TYPE_CHECKING:
    from builder.flow.member import Member
    from builder.making.product import Product, Several
    from builder.plan import Artifact
    from builder.replies.deploys import TemplateRow
    from builder.store.s3 import S3Store


def written(members: Sequence[Member], several: Several, template: Template, store: S3Store) -> TemplateRow:
    """Write the template of packaged functions to the store, and return where it is.

    CloudFormation sees a change of exactly those functions whose content differs: a place is named after its content.

    Raises:
        InvalidBuildFile: a function's layers are not a list, and it needs one more.
    """
    file = several.file.file
    resources = resources_of(read_document(several.text, file=file).value)
    changes = Changes()
    made = [(member.key, member.made) for member in members if member.made is not None]
    for key, product in made:
        _add(key, product, template, resources, changes, store, file)
    for name, entry in template.packages.items():
        # Its functions have it within their own layers; the resource is to be valid all the same.
        having = [
            product
            for _, product in made
            if entry in product.outline.spec.dependencies and DEPENDENCIES in product.artifacts
        ]
        if having and name not in changes.properties:
            artifact = having[0].artifacts[DEPENDENCIES]
            _set_layer(name, Place(bucket=store.bucket, key=store.key(artifact.name)), resources, changes)
    text = rewritten(several.text, file, changes).encode()
    sha256 = hashlib.sha256(text).hexdigest()
    # Beside the artifacts, which callers may read; its name is the hash of its content as well.
    name = f"artifacts/{sha256}.{file.rpartition('.')[2]}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template"
        path.write_bytes(text)
        store.put(name, path, sha256=sha256)
    return {"name": file, "bucket": store.bucket, "key": store.key(name), "sha256": sha256}


def _add(
    key: str,
    product: Product,
    template: Template,
    resources: Mapping[str, Mapping[str, object]],
    changes: Changes,
    store: S3Store,
    file: str,
) -> None:
    def place(artifact: Artifact) -> Place:
        return Place(bucket=store.bucket, key=store.key(artifact.name))

    kind, properties = str(resources[key]["Type"]), changes.properties.setdefault(key, {})
    for component, artifact in product.artifacts.items():
        if component == FUNCTION:
            properties[FUNCTIONS[kind]] = place(artifact).of(kind)
        elif component != DEPENDENCIES:
            _set_layer(component, place(artifact), resources, changes)
        elif layers := [
            name
            for name, entry in template.packages.items()
            if (entry,) == product.outline.spec.dependencies and name not in product.artifacts
        ]:
            for name in layers:
                _set_layer(name, place(artifact), resources, changes)
        else:
            runtimes = product.outline.spec.function.runtimes if product.outline.spec.function else ()
            present = resources[key].get("Properties")
            named = present.get("Layers", []) if isinstance(present, dict) else []
            if not isinstance(named, list):
                raise InvalidBuildFile(
                    f"{file}: Resources.{key}.Properties.Layers: must be a list: a layer with the function's "
                    "dependencies is added to it",
                    hint="write a list, with Fn::If inside of its items",
                )
            ref = changes.dependencies(place(artifact), artifact.sha256, runtimes)
            within = [
                {"Ref": name}
                for name, entry in template.packages.items()
                if entry in product.outline.spec.dependencies and name not in product.artifacts
            ]
            properties["Layers"] = [*(layer for layer in named if layer not in within), {"Ref": ref}]


def _set_layer(name: str, place: Place, resources: Mapping[str, Mapping[str, object]], changes: Changes) -> None:
    kind = str(resources[name]["Type"])
    changes.properties.setdefault(name, {})[LAYERS[kind]] = place.of(kind)
