"""What is asked of Lambda, and how it differs from what Lambda has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import InvalidBuildFile
from builder.publishing.configuration import HIDDEN, Difference, changes, differences, settings
from builder.runtimes import RUNTIMES, Target
from builder.spec.values import FunctionSpec

TARGET = Target(runtime=RUNTIMES["python3.13"], architecture="x86_64")


def function(**keys: Any) -> FunctionSpec:
    return FunctionSpec(runtimes=("python3.13",), handler="app.main", **keys)


def test_settings_name_only_what_the_file_names() -> None:
    assert settings(function(), TARGET) == {"Runtime": "python3.13", "Handler": "app.main"}


def test_friendly_keys_and_lambdas_own_names_come_together_and_extras_stay_out() -> None:
    spec = function(
        memory=256,
        timeout=9,
        description="",
        environment={},
        ephemeral_storage=600,
        role="arn:aws:iam::123456789012:role/r",
        log_retention=7,
        configuration={
            "TracingConfig": {"Mode": "Active"},
            "ReservedConcurrentExecutions": 3,
            "MaximumRetryAttempts": 0,
            "CodeSigningConfigArn": "arn",
        },
    )
    assert settings(spec, TARGET) == {
        "Runtime": "python3.13",
        "Handler": "app.main",
        "MemorySize": 256,
        "Timeout": 9,
        "Description": "",
        "Environment": {"Variables": {}},
        "EphemeralStorage": {"Size": 600},
        "Role": "arn:aws:iam::123456789012:role/r",
        "TracingConfig": {"Mode": "Active"},
    }


@pytest.mark.parametrize(
    ("wanted", "present"),
    [
        pytest.param({"VpcConfig": {"SubnetIds": ["a", "b"]}}, {"VpcConfig": {"SubnetIds": ["b", "a"]}}, id="no-order"),
        pytest.param({"VpcConfig": {"SubnetIds": []}}, {}, id="detached"),
        pytest.param({"VpcConfig": {"Ipv6AllowedForDualStack": False}}, {}, id="false"),
        pytest.param({"KMSKeyArn": ""}, {}, id="empty-text"),
        pytest.param({"DeadLetterConfig": {"TargetArn": ""}}, {}, id="empty-below"),
        pytest.param({"FileSystemConfigs": []}, {}, id="empty-list"),
        pytest.param({"FileSystemConfigs": [{"Arn": "a"}]}, {"FileSystemConfigs": [{"Arn": "a", "New": 1}]}, id="more"),
        pytest.param({"SnapStart": {"ApplyOn": "None"}}, {}, id="snapstart"),
        pytest.param({"TracingConfig": {"Mode": "PassThrough"}}, {}, id="tracing"),
        pytest.param({"Environment": {"Variables": {}}}, {}, id="no-variables"),
        pytest.param({"EventInvokeConfig": {"MaximumRetryAttempts": 2}}, {}, id="retries"),
        pytest.param({}, {"MemorySize": 1024, "Environment": {"Variables": {"A": "b"}}}, id="not-named"),
    ],
)
def test_what_is_the_same_to_lambda_is_no_difference(wanted: Mapping[str, Any], present: Mapping[str, Any]) -> None:
    assert differences(wanted, present) == ()
    assert changes(wanted, present) == {}


@pytest.mark.parametrize(
    ("wanted", "present", "sentence"),
    [
        ({"MemorySize": 512}, {"MemorySize": 128}, "MemorySize: 128 → 512"),
        ({"KMSKeyArn": "arn"}, {}, "KMSKeyArn: not set → arn"),
        ({"KMSKeyArn": ""}, {"KMSKeyArn": "arn"}, "KMSKeyArn: arn → ''"),
        (
            {"VpcConfig": {"SubnetIds": ["a", "b"]}},
            {"VpcConfig": {"SubnetIds": ["a", "c"]}},
            "VpcConfig.SubnetIds: [a, c] → [a, b]",
        ),
        ({"VpcConfig": {"SubnetIds": []}}, {"VpcConfig": {"SubnetIds": ["a"]}}, "VpcConfig.SubnetIds: [a] → []"),
        ({"FileSystemConfigs": [{"Arn": 1}]}, {"FileSystemConfigs": [{"Arn": 2}]}, "FileSystemConfigs.0.Arn: 2 → 1"),
        ({"X": {"Y": ["a", "b"]}}, {"X": {"Y": ["b", "a"]}}, "X.Y.0: b → a"),
        ({"ReservedConcurrentExecutions": 0}, {}, "ReservedConcurrentExecutions: not set → 0"),
        ({"EventInvokeConfig": {"MaximumRetryAttempts": 0}}, {}, "EventInvokeConfig.MaximumRetryAttempts: not set → 0"),
        ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, {}, "SnapStart.ApplyOn: not set → PublishedVersions"),
        ({"X": True}, {"X": 1}, "X: 1 → True"),
    ],
)  # fmt: skip
def test_differences_name_the_place(wanted: Mapping[str, Any], present: Mapping[str, Any], sentence: str) -> None:
    assert differences(wanted, present)[0].sentence == sentence
    [name] = wanted
    assert changes(wanted, present) == {name: wanted[name]}


def test_variables_are_told_by_name_never_by_value_and_those_that_vanish_too() -> None:
    wanted = {"Environment": {"Variables": {"NEW": "secret-1", "SAME": "x", "OTHER": "secret-2"}}}
    present = {"Environment": {"Variables": {"SAME": "x", "OTHER": "secret-3", "BY_HAND": "secret-4"}}}
    found = differences(wanted, present)
    assert [difference.sentence for difference in found] == [
        "Environment.Variables.BY_HAND: removed",
        "Environment.Variables.NEW: added",
        "Environment.Variables.OTHER: changed",
    ]
    assert found[0] == Difference(key="Environment.Variables.BY_HAND", now=HIDDEN, then=None)
    assert "secret" not in repr(found)
    assert changes(wanted, present) == wanted


def test_what_cannot_change_is_refused_before_anything_is_done() -> None:
    wanted = {"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}, "MemorySize": 128}
    assert changes(wanted, wanted) == {}
    with pytest.raises(InvalidBuildFile, match="TenancyConfig can only be set when a function is created") as caught:
        changes(wanted, {"MemorySize": 256})
    assert caught.value.hint


# --- for all configurations -------------------------------------------------------------------------------------------

names = st.text("ABCxyz", min_size=1, max_size=4) | st.sampled_from(["SubnetIds", "Environment", "Variables"])
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)
configurations = st.dictionaries(names, values, max_size=4)


def grown(value: object, data: st.DataObject, at: str = "") -> object:
    """`value` as Lambda answers it: with more members, with ids in another order, without what is empty."""
    if isinstance(value, dict) and at.endswith("Environment.Variables"):
        return value
    if isinstance(value, dict):
        result = {name: grown(item, data, f"{at}.{name}") for name, item in value.items()}
        result = {name: item for name, item in result.items() if item not in ("", [], {}) and item is not False}
        return result | {f"more-{name}": name for name in data.draw(st.lists(names, max_size=2))}
    if isinstance(value, list) and at.endswith("SubnetIds"):
        return data.draw(st.permutations(value))
    if isinstance(value, list):
        return [grown(item, data, f"{at}.{position}") for position, item in enumerate(value)]
    return value


@given(configurations, st.data())
def test_what_was_just_sent_is_never_a_difference(wanted: dict[str, Any], data: st.DataObject) -> None:
    answer = grown(wanted, data)
    assert isinstance(answer, dict)
    assert differences(wanted, answer) == ()


@given(configurations, configurations)
def test_applying_the_changes_leaves_none(wanted: dict[str, Any], present: dict[str, Any]) -> None:
    assert changes(wanted, {**present, **changes(wanted, present)}) == {}
