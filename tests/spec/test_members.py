# ruff: noqa: E501  (tables of cases read best one to a line)
"""A build file with several functions: what each of them gets, at which stage, and what is wrong on which line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import InvalidBuildFile, InvalidEvent
from builder.spec.document import read_document
from builder.spec.members import read_functions
from builder.spec.overlay import Overlay, Part, Room

SHOP = """\
defaults: {runtimes: [python3.13], memory: 256, environment: {LEVEL: info}}
functions:
  orders-api:
    source_dir: functions/orders
    handler: app.handler
  orders-worker:
    source_dir: functions/orders
    handler: worker.run
    timeout: 300
    environment: {QUEUE: orders}
    layers: [common, "arn:aws:lambda:eu-west-1:123456789012:layer:theirs:7"]
    dependencies: worker.txt
  thumbnails:
    build: {go: ./cmd/thumbs}
    runtimes: [provided.al2023]
    layers: []
layers:
  common: {files: [shared/], dest_dir: python}
  dependencies: [requirements.txt]
stages:
  dev: {}
  prod:
    defaults: {memory: 1024}
    functions:
      orders-api: {environment: {LEVEL: warning}, name: "{stage}-{name}"}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidBuildFile) as caught:
        read_functions(text, file="build.yaml")
    return [line.removeprefix("build.yaml:") for line in caught.value.problems]


def test_each_function_is_read_as_a_build_file_of_its_own() -> None:
    shop = read_functions(SHOP, file="build.yaml")
    assert shop.has_many
    assert shop.names == {key: key for key in ("orders-api", "orders-worker", "thumbnails")}
    api, worker, thumbnails = shop.functions.values()
    assert api.function is not None
    assert (api.function.memory, api.function.environment) == (256, {"LEVEL": "info"})
    assert api.layer_order == ("common", "dependencies")
    assert api.dependencies == ("requirements.txt",)
    assert worker.function is not None
    assert worker.function.environment == {"LEVEL": "info", "QUEUE": "orders"}
    assert worker.dependencies == ("worker.txt",)
    assert [entry if isinstance(entry, str) else entry.arn for entry in worker.layer_order] == [
        "dependencies",
        "common",
        "arn:aws:lambda:eu-west-1:123456789012:layer:theirs:7",
    ]
    assert thumbnails.layer_order == ()


def test_a_stage_is_laid_over_the_file() -> None:
    prod = read_functions(SHOP, file="build.yaml", stage="prod")
    assert [*prod.names.values()] == ["prod-orders-api", "orders-worker-prod", "thumbnails-prod"]
    found = {key: spec.function for key, spec in prod.functions.items()}
    assert {key: function and function.memory for key, function in found.items()} == dict.fromkeys(found, 1024)
    api = found["orders-api"]
    assert api is not None
    assert api.environment == {"LEVEL": "warning"}


def test_a_single_function_has_stages_as_well() -> None:
    text = "function: {runtimes: python3.13, handler: app.run}\nstages: {prod: {function: {memory: 512}}, dev: }\n"
    memories = {}
    for stage in ("", "dev", "prod"):
        function = read_functions(text, file="build.yaml", stage=stage).one("").function
        memories[stage] = function and function.memory
    assert memories == {"": None, "dev": None, "prod": 512}


def test_labels_say_where_something_was_typed() -> None:
    shop = read_functions(SHOP, file="build.yaml", stage="prod")
    api, worker = shop.one("orders-api"), shop.one("orders-worker")
    assert api.at("function.handler") == "build.yaml:5: functions.orders-api.handler"
    assert api.at("function.runtimes.0") == "build.yaml:1: defaults.runtimes.0"
    assert api.at("function.memory") == "build.yaml:23: stages.prod.defaults.memory"
    assert api.at("function.exclude") == "build.yaml:3: functions.orders-api.exclude"
    assert api.at("layers.dependencies.0") == "build.yaml:19: layers.dependencies.0"
    assert worker.at("layers.dependencies.0") == "build.yaml:12: functions.orders-worker.dependencies.0"


def test_a_layer_without_runtimes_is_for_those_of_all_functions_that_have_it() -> None:
    text = (
        "functions:\n"
        "  old: {runtimes: python3.12, handler: a.b}\n"
        "  new: {runtimes: python3.13, handler: a.b}\n"
        "  other: {runtimes: nodejs22.x, handler: a.b, layers: []}\n"
        "layers: {common: {files: shared}}\n"
    )
    found = read_functions(text, file="build.yaml").functions
    assert found["old"].layers[0].runtimes == ("python3.12", "python3.13")
    assert found["new"].layers[0].runtimes == ("python3.13", "python3.12")


def test_dependencies_go_to_functions_of_their_language() -> None:
    text = (
        "functions:\n"
        "  one: {runtimes: python3.13, handler: a.b}\n"
        "  two: {runtimes: nodejs22.x, handler: a.b}\n"
        "layers: {dependencies: requirements.txt}\n"
    )
    found = read_functions(text, file="build.yaml").functions
    assert [spec.dependencies for spec in found.values()] == [("requirements.txt",), ()]


def test_all_problems_of_all_functions_and_stages_are_told_once() -> None:
    text = """\
defaults: {runtimes: [python3.13], memry: 256}
functions:
  a: {handlr: app.handler, layers: [comon, "arn:x"]}
  b: {handler: worker, timeout: 3000, name: "{nme}"}
  d: {handler: x.y, layers: [], name: same}
  e: {handler: x.y, layers: [], name: same}
  common: {}
  function: {}
layers: {common: {files: shared/, dest_dirr: python}, unused: {files: x}}
function: {}
stages:
  dev: {defalts: {}}
  prod: {defaults: {memory: 10}, functions: {bb: {}, b: {timeout: 4000}}, layers: {comon: {}}}
  "a b": {}
  low: 3
"""
    assert problems(text) == [
        "1: defaults.memry: unknown key; did you mean memory?",
        "3: functions.a.handlr: unknown key; did you mean handler?",
        "3: functions.a.layers.0: 'comon' is neither in the file's layers nor an ARN; did you mean common?",
        "3: functions.a.layers.1: 'arn:x' is not a layer version's ARN (arn:aws:lambda:REGION:ACCOUNT:layer:NAME:VERSION); "
        "a layer of your own is a mapping with `files`",
        "4: functions.b.handler: 'worker' must be FILE.FUNCTION, for example lambda_function.lambda_handler",
        "4: functions.b.name: {nme} is not known; there are {name} and {stage}",
        "4: functions.b.timeout: must be from 1 to 900, not 3000",
        "6: functions.e: name: Lambda would call it same, like functions.d",
        "7: functions.common: is also the name of a layer; give one of them another name",
        "8: functions.function: a function's name has 1 to 64 of A-Z a-z 0-9 _ - and is not function or dependencies",
        "9: layers.common.dest_dirr: unknown key; did you mean dest_dir?",
        "10: function: stands beside `functions`; move it there, below its name",
        "12: stages.dev.defalts: unknown key; did you mean defaults?",
        "13: stages.prod.defaults.memory: must be from 128 to 10240, not 10",
        "13: stages.prod.functions.b.timeout: must be from 1 to 900, not 4000",
        "13: stages.prod.functions.bb: is not one of functions; did you mean b?",
        "13: stages.prod.layers.comon: is not one of layers; did you mean common?",
        "14: stages.a b: a stage's name has 1 to 64 of A-Z a-z 0-9 _ -",
        "15: stages.low: must be a mapping of what is different at this stage, or {}",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("functions: {}", "1: functions: must be a mapping of names to functions, and has none"),
        ("functions: [a]", "1: functions: must be a mapping of names to functions, and has none"),
        ("functions: {a: }", "1: functions.a: is empty; give it a value or leave the key out"),
        ("functions: {a: 1}", "1: functions.a: must be a mapping (key: value), not 1"),
        ("defaults: {memory: 1}\nfunction: {runtimes: python3.13, handler: a.b}", "1: defaults: is for `functions`, and there are none"),
        ("stages: [x]\nfunction: {runtimes: python3.13, handler: a.b}", "1: stages: must be a mapping of names to what is different there"),
        ("functions: {a: {runtimes: python3.13, handler: a.b}}\nstages: {p: {functions: [a], defaults: x}}",
         "2: stages.p.defaults: must be a mapping (key: value)\n2: stages.p.functions: must be a mapping (key: value)"),
        ("defaults: hello\nfunctions: {a: {runtimes: python3.13, handler: a.b}}", "1: defaults: must be a mapping (key: value)"),
        ("layers: [x]\nfunctions: {a: {runtimes: python3.13, handler: a.b}}", "1: layers: must be a mapping (key: value)"),
        ("functions: {a: {runtimes: python3.13, handler: a.b}}\nstages: {p: {layers: {x: {files: y}}}}",
         "2: stages.p.layers.x: is not one of layers"),
        ("functions: {a: {runtimes: python3.13, handler: a.b}}\nstages:\n  p: {functions: {a: }}",
         "3: stages.p.functions.a: is empty; give it a value or leave the key out"),
        ("functions: {a: {runtimes: python3.13, handler: a.b}}\nlayers: {x: {files: y}, z: {files: y}}\ndefaults: {layers: x}",
         "2: layers.z: no function has it in its `layers`"),
    ],
)  # fmt: skip
def test_what_is_no_project_of_several_functions(text: str, expected: str) -> None:
    assert problems(text) == expected.split("\n")


def test_a_layer_by_arn_takes_no_name_of_the_projects() -> None:
    text = (
        "functions: {a: {runtimes: python3.13, handler: a.b, layers: [theirs, 'arn:aws:lambda:eu-west-1:123456789012:layer:theirs:7']}}\n"
        "layers: {theirs: {files: x}}\n"
    )
    order = read_functions(text, file="build.yaml").one("a").layer_order
    assert [entry if isinstance(entry, str) else entry.arn[-8:] for entry in order] == ["theirs", "theirs:7"]


def test_a_stage_may_take_a_layer_away() -> None:
    text = (
        "functions: {a: {runtimes: python3.13, handler: a.b}}\n"
        "layers: {common: {files: x}}\nstages: {bare: {functions: {a: {layers: []}}}}\n"
    )
    assert read_functions(text, file="build.yaml", stage="bare").one("a").layer_order == ()
    assert read_functions(text, file="build.yaml").one("a").layer_order == ("common",)


def test_a_small_file_cannot_come_to_millions_of_values() -> None:
    names = ", ".join(f"f{number}: {{handler: a.b}}" for number in range(100))
    files = ", ".join("f" * 1 for _ in range(3000))
    stages = ", ".join(f"s{number}: {{}}" for number in range(20))
    text = f"defaults: {{runtimes: python3.13, files: [{files}]}}\nfunctions: {{{names}}}\nstages: {{{stages}}}\n"
    assert problems(text) == [
        "2: functions: come to more than 200,000 values, with defaults and stages; split the file"
    ]


def test_an_unknown_stage_names_those_that_exist() -> None:
    with pytest.raises(InvalidEvent) as caught:
        read_functions(SHOP, file="build.yaml", stage="prd")
    assert caught.value.message == "stage: 'prd' is not in build.yaml; did you mean prod?"
    assert caught.value.hint == "it has dev, prod"
    with pytest.raises(InvalidEvent) as caught:
        read_functions("functions: {a: {runtimes: python3.13, handler: a.b}}", file="build.yaml", stage="prd")
    assert caught.value.hint == "leave stage out, or add it to the build file's `stages`"


def test_an_unknown_function_names_those_that_exist() -> None:
    with pytest.raises(InvalidEvent, match=r"'order-api' is not in build.yaml; did you mean orders-api\?"):
        read_functions(SHOP, file="build.yaml").one("order-api")


VALUES = st.recursive(
    st.one_of(st.integers(0, 9), st.sampled_from(["a", "b"])),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)),
    max_leaves=8,
)


def merged(one: object, other: object) -> object:
    if isinstance(one, dict) and isinstance(other, dict):
        both = {**one, **other}
        return {key: merged(one[key], other[key]) if key in one and key in other else both[key] for key in both}
    return other


@given(VALUES, VALUES)
def test_overlaid_values_are_merged_and_every_place_leads_to_its_value(one: object, other: object) -> None:
    import json

    source = read_document(json.dumps({"one": one, "other": other}), file="x.json")
    overlay = Overlay(source=source, room=Room())
    parts = [Part(value=source.value, at=()).get(key) for key in ("one", "other")]
    result = overlay.put(("r",), *parts)
    assert result == merged(one, other)
    for at, place in overlay.places.items():
        here: object = {"r": result}
        there: object = source.value
        for key in at:
            here = here[key]  # type: ignore[index]
        for key in place:
            there = there[key]  # type: ignore[index]
        if not isinstance(here, dict):
            assert here == there
