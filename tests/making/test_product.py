"""What comes back from where foreign code ran is read as a stranger's word: it is a product, or it is refused."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import InvalidBuildFile
from builder.event.request import ArchiveSource, ManifestSource, ObjectSource
from builder.flow.order import Fresh, Order
from builder.making.product import Checked, Product
from builder.making.project import Outline
from builder.plan import UNBUILT, Artifact, Component, ComponentPlan
from builder.runtimes import RUNTIMES, Target
from builder.sources.snapshot import Resolved
from builder.store.values import Fields
from builder.trust.roles import Roles
from builder.workspace.domains import Domain
from tests.spec.reading import read_build_file

TEXT = "function: {runtimes: [python3.13], handler: app.handler, files: [app.py]}\nlayers: {dependencies: [r.txt]}\n"
ARTIFACT = Artifact(
    sha256="a" * 64,
    size=10,
    unzipped=20,
    files=1,
    pruned=({"rule": "tests", "files": 1, "bytes": 2},),
    contents=("idna 3.10",),
    parts=("b.zip",),
    notes=("note",),
    native_libraries=({"library": "l.so", "from": "/l.so", "size": 1, "sha256": "c" * 64, "needed_by": ["x"]},),
    missing_libraries=("m.so",),
)
PRODUCT = Product(
    outline=Outline(
        spec=read_build_file(TEXT, file="build.yaml"),
        target=Target(runtime=RUNTIMES["python3.13"], architecture="arm64"),
        text=TEXT,
    ),
    commit="1" * 40,
    ref="refs/heads/main",
    tree="2" * 40,
    plans=(
        ComponentPlan(
            component=Component(name="dependencies", kind="dependencies", key="3" * 64, artifact=ARTIFACT),
            action="reuse",
            why="its inputs have not changed",
        ),
        ComponentPlan(
            component=Component(name="function", kind="function", key="4" * 64),
            action="build",
            why="new",
            changed=("a",),
        ),
    ),
    artifacts={"dependencies": ARTIFACT, "function": UNBUILT},
    checked=Checked(tried=True, why="", native_files=3),
    lock_id="5" * 64,
    distributions=({"name": "idna", "version": "3.10", "index": None},),
)


def test_a_product_travels() -> None:
    assert Product.parse(json.loads(json.dumps(PRODUCT.as_json()))) == PRODUCT


@pytest.mark.parametrize(
    "source",
    [
        Resolved(url="https://git.example.com/a", ref="refs/heads/main", commit="1" * 40),
        ArchiveSource(content=b"\0zip"),
        ObjectSource(bucket="b", key="k", version_id=None),
        ManifestSource(bucket="b", manifest="m", version_id="v", sha256="0f" * 32),
    ],
    ids=lambda source: type(source).__name__,
)
def test_an_order_travels(source: Any) -> None:
    order = Order(
        source=source,
        domain=Domain(name="x", keeps=False, vouched=False),
        function="f",
        components=("function",),
        architecture="arm64",
        foreign=("arn:x",),
        keys={"function": "k"},
        fresh=Fresh(runtime="python3.13", architecture="x86_64", lock=None),
        roles=Roles(default="r", present=None, allowed=("r", "s*"), own=("o",)),
    )
    assert Order.parse(Fields(json.loads(json.dumps(order.as_json())))) == order


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, item in below for place in places(item, (*at, key)))]


WHOLE = json.loads(json.dumps(PRODUCT.as_json()))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("../" * 9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@given(place=st.sampled_from([place for place in places(WHOLE) if place]), value=ANYTHING)
def test_whatever_is_put_into_it_is_refused_or_has_its_form(place: tuple[Any, ...], value: Any) -> None:
    changed = copy.deepcopy(WHOLE)
    holder = changed
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    try:
        made = Product.parse(changed)
    except (KeyError, TypeError, ValueError, AttributeError, InvalidBuildFile):
        return
    assert set(made.artifacts) <= set(made.outline.names)
    for artifact in made.artifacts.values():
        assert artifact is UNBUILT or artifact.name == f"artifacts/{artifact.sha256}.zip"
        assert "/" not in artifact.sha256 + "".join(artifact.parts)
    json.dumps(made.as_json())


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("artifacts", "dependencies", "sha256"), "../../leases/x"),
        (("artifacts", "dependencies", "size"), -1),
        (("artifacts", "dependencies", "size"), 10**400),
        (("artifacts", "dependencies", "parts"), ["../x"]),
        (("plans", 0, "name"), "another"),
        (("plans", 0, "kind"), "builder"),
        (("commit",), "HEAD"),
        (("lock_id",), "x/../../y"),
        (("checked", "native_files"), True),
        (("outline", "runtime"), "python2.7"),
    ],
    ids=str,
)
def test_what_is_not_of_the_form_is_refused(place: tuple[Any, ...], value: Any) -> None:
    changed = copy.deepcopy(WHOLE)
    holder = changed
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    with pytest.raises((KeyError, TypeError, ValueError)):
        Product.parse(changed)
