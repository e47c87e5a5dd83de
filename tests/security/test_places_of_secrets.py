"""Every place for a secret in a build file is one that `secrets_in` reaches: the models themselves are walked."""

from __future__ import annotations

import types
import typing
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any

import builder.spec.builds
import builder.spec.values
from builder.spec.base import SecretSpec, Spec, secrets_in
from builder.spec.values import BuildSpec, FunctionSpec

SECRET = SecretSpec.model_validate({"env": "TOKEN", "from": "ssm:/a"})


def filled(annotation: Any, at: str) -> Iterator[tuple[str, object]]:
    """Yield values of a type, each with one secret in it somewhere, and where that is."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is SecretSpec:
        yield at, SECRET
    elif origin is Annotated:
        yield from filled(arguments[0], at)
    elif origin in (typing.Union, types.UnionType):
        for each in arguments:
            yield from filled(each, at)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield from ((where, {"key": value}) for where, value in filled(arguments[1], f"{at}.key"))
    elif isinstance(origin, type) and issubclass(origin, Collection):
        for each in arguments:
            yield from ((where, _made(origin, value)) for where, value in filled(each, f"{at}[]"))
    elif isinstance(annotation, type) and issubclass(annotation, Spec):
        for name, field in annotation.model_fields.items():
            for where, value in filled(field.annotation, f"{at}.{name}"):
                fields: dict[str, Any] = {**dict.fromkeys(annotation.model_fields), name: value}
                yield where, annotation.model_construct(**fields)
    elif mentions(annotation):
        yield at, None  # nobody here knows how a secret gets in there: so nobody reaches it


def _made(collection: Any, value: object) -> object:
    return collection([value])


def mentions(annotation: Any) -> bool:
    """Whether the class has a field that says SecretSpec, however it is written."""
    if annotation is SecretSpec:
        return True
    fields = getattr(annotation, "__annotations__", {}) if isinstance(annotation, type) else {}
    return any("SecretSpec" in str(each) for each in (*fields.values(), *typing.get_args(annotation)))


def unreached(model: type[Spec]) -> list[str]:
    """Where a secret can be in a value of the class without being found."""
    return [
        where for where, value in filled(model, model.__name__) if [one for _, one in secrets_in(value)] != [SECRET]
    ]


def test_every_place_is_reached() -> None:
    places = [where for where, _ in filled(BuildSpec, "BuildSpec")]
    assert places == [
        "BuildSpec.function.build.secrets[]",
        "BuildSpec.layers[].secrets[]",
        "BuildSpec.layers[].build.secrets[]",
    ]
    assert unreached(BuildSpec) == []


def test_every_class_with_secrets_is_part_of_a_build_file() -> None:
    modules = (builder.spec.builds, builder.spec.values)
    classes = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    with_secrets = {each.__name__ for each in classes if each is not SecretSpec and mentions(each)}
    assert with_secrets == {"CommandBuild", "LayerSpec"}, "is the new one reached from BuildSpec? then add it here"


class _Elsewhere:
    """No Spec: what `secrets_in` does not look into."""

    token: SecretSpec


class _Wider(FunctionSpec):
    by_name: Mapping[str, SecretSpec] = {}
    alone: SecretSpec | None = None


class _Hidden(FunctionSpec):
    model_config = {"arbitrary_types_allowed": True}  # noqa: RUF012

    elsewhere: _Elsewhere | None = None


def test_a_new_place_is_reached_or_found_missing() -> None:
    assert {where for where, _ in filled(_Wider, "_Wider")} >= {"_Wider.by_name.key", "_Wider.alone"}
    assert unreached(_Wider) == []
    assert unreached(_Hidden) == ["_Hidden.elsewhere"]
