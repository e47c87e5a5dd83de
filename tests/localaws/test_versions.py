"""Versions and aliases as AWS keeps them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.localaws.lab import CODE, INVALID, OTHER, Lab, code_sha256, refused


@pytest.fixture
def versioned(lab: Lab) -> str:
    """A function with versions 1 (CODE) and 2 (OTHER)."""
    name = lab.function(Code={"ZipFile": CODE})
    lab.client.publish_version(FunctionName=name)
    lab.client.update_function_code(FunctionName=name, ZipFile=OTHER)
    lab.settle(name)
    lab.client.publish_version(FunctionName=name)
    return name


def test_publishing_again_without_a_change_gives_the_same_version(lab: Lab) -> None:
    name = lab.function()
    first = lab.client.publish_version(FunctionName=name)
    second = lab.client.publish_version(FunctionName=name, Description="unread")
    assert first["Version"] == second["Version"] == "1"
    assert first["FunctionArn"].endswith(f":{name}:1")


def test_uploading_the_same_bytes_makes_no_new_version(lab: Lab) -> None:
    name = lab.function(Code={"ZipFile": CODE})
    lab.client.publish_version(FunctionName=name)
    assert lab.client.update_function_code(FunctionName=name, ZipFile=CODE, Publish=True)["Version"] == "1"


def test_a_configuration_change_makes_a_new_version(lab: Lab) -> None:
    name = lab.function()
    lab.client.publish_version(FunctionName=name)
    for number, change in (("2", {"Timeout": 9}), ("3", {"Description": "counts too"})):
        lab.client.update_function_configuration(FunctionName=name, **change)
        lab.settle(name)
        assert lab.client.publish_version(FunctionName=name)["Version"] == number
    assert lab.client.get_function_configuration(FunctionName=name, Qualifier="1")["Timeout"] == 3


def test_publish_on_creation_and_on_update(lab: Lab) -> None:
    name = lab.name()
    request = {"Runtime": lab.runtime, "Handler": "app.handler", "Role": lab.role, "Code": {"ZipFile": CODE}}
    created = lab.client.create_function(FunctionName=name, Publish=True, **request)
    assert created["Version"] == "1"
    lab.settle(name)
    updated = lab.client.update_function_code(FunctionName=name, ZipFile=OTHER, Publish=True)
    assert (updated["Version"], updated["CodeSha256"]) == ("2", code_sha256(OTHER))


def test_numbers_are_not_used_twice(lab: Lab, versioned: str) -> None:
    lab.client.delete_function(FunctionName=versioned, Qualifier="2")
    lab.client.update_function_configuration(FunctionName=versioned, Description="new")
    lab.settle(versioned)
    assert lab.client.publish_version(FunctionName=versioned)["Version"] == "3"


def test_a_published_version_keeps_its_code(lab: Lab, versioned: str) -> None:
    found = {
        number: lab.client.get_function(FunctionName=versioned, Qualifier=number)["Configuration"]["CodeSha256"]
        for number in ("1", "2", "$LATEST")
    }
    assert found == {"1": code_sha256(CODE), "2": code_sha256(OTHER), "$LATEST": code_sha256(OTHER)}


def test_the_code_guard_of_publish(lab: Lab) -> None:
    name = lab.function(Code={"ZipFile": CODE})
    with refused(INVALID, "is different from current CodeSHA256 in $LATEST"):
        lab.client.publish_version(FunctionName=name, CodeSha256=code_sha256(OTHER))
    assert lab.client.publish_version(FunctionName=name, CodeSha256=code_sha256(CODE))["Version"] == "1"


def test_a_version_has_its_own_description(lab: Lab) -> None:
    name = lab.function(Description="of latest")
    assert lab.client.publish_version(FunctionName=name, Description="of one")["Description"] == "of one"
    assert lab.client.get_function_configuration(FunctionName=name)["Description"] == "of latest"


def test_versions_are_listed_with_latest_first(lab: Lab, versioned: str) -> None:
    found = lab.client.list_versions_by_function(FunctionName=versioned)["Versions"]
    assert [version["Version"] for version in found] == ["$LATEST", "1", "2"]
    assert [version["FunctionArn"].rsplit(":", 1)[-1] for version in found] == ["$LATEST", "1", "2"]


def test_an_unknown_qualifier_is_not_found(lab: Lab, versioned: str) -> None:
    for qualifier in ("7", "nosuchalias"):
        with refused("ResourceNotFoundException", f":{versioned}:{qualifier}", 404):
            lab.client.get_function(FunctionName=versioned, Qualifier=qualifier)


def test_contradicting_qualifiers_are_refused(lab: Lab, versioned: str) -> None:
    with refused(INVALID, "derived qualifier from the function name does not match"):
        lab.client.get_function(FunctionName=f"{versioned}:1", Qualifier="2")


def test_latest_cannot_be_deleted_alone(lab: Lab, versioned: str) -> None:
    with refused(INVALID, "$LATEST version cannot be deleted"):
        lab.client.delete_function(FunctionName=versioned, Qualifier="$LATEST")


def test_only_latest_can_be_updated(lab: Lab, versioned: str) -> None:
    with refused(INVALID, "without qualifier"):
        lab.client.update_function_code(FunctionName=f"{versioned}:1", ZipFile=CODE)


def test_an_alias_from_creation_to_deletion(lab: Lab, versioned: str) -> None:
    client = lab.client
    created = client.create_alias(FunctionName=versioned, Name="live", FunctionVersion="1", Description="d")
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert created["AliasArn"].endswith(f":function:{versioned}:live")
    got = client.get_alias(FunctionName=versioned, Name="live")
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert (got["FunctionVersion"], got["Description"]) == ("1", "d")
    moved = client.update_alias(FunctionName=versioned, Name="live", FunctionVersion="2")
    assert moved["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert (moved["FunctionVersion"], moved["Description"]) == ("2", "d")
    assert moved["RevisionId"] != created["RevisionId"]
    assert client.delete_alias(FunctionName=versioned, Name="live")["ResponseMetadata"]["HTTPStatusCode"] == 204
    with refused("ResourceNotFoundException", "Cannot find alias arn", 404):
        client.get_alias(FunctionName=versioned, Name="live")


def test_a_function_found_by_alias_has_the_alias_in_its_arn(lab: Lab, versioned: str) -> None:
    lab.client.create_alias(FunctionName=versioned, Name="live", FunctionVersion="1")
    found = lab.client.get_function(FunctionName=versioned, Qualifier="live")["Configuration"]
    assert found["FunctionArn"].endswith(f":{versioned}:live")
    assert found["Version"] == "1"


def test_an_alias_exists_once(lab: Lab, versioned: str) -> None:
    lab.client.create_alias(FunctionName=versioned, Name="live", FunctionVersion="1")
    with refused("ResourceConflictException", "Alias already exists", 409):
        lab.client.create_alias(FunctionName=versioned, Name="live", FunctionVersion="2")


def test_a_stale_alias_revision_is_refused(lab: Lab, versioned: str) -> None:
    lab.client.create_alias(FunctionName=versioned, Name="live", FunctionVersion="1")
    with refused("PreconditionFailedException", "does not match", 412):
        lab.client.update_alias(FunctionName=versioned, Name="live", FunctionVersion="2", RevisionId="old")


def test_a_version_in_use_by_an_alias_cannot_be_deleted(lab: Lab, versioned: str) -> None:
    lab.client.create_alias(FunctionName=versioned, Name="live", FunctionVersion="1")
    with refused("ResourceConflictException", "live", 409):
        lab.client.delete_function(FunctionName=versioned, Qualifier="1")


def test_routing_weights_are_kept_and_cleared(lab: Lab, versioned: str) -> None:
    weights = {"AdditionalVersionWeights": {"2": 0.25}}
    lab.client.create_alias(FunctionName=versioned, Name="live", FunctionVersion="1", RoutingConfig=weights)
    assert lab.client.get_alias(FunctionName=versioned, Name="live")["RoutingConfig"] == weights
    with refused("ResourceConflictException", "live", 409):
        lab.client.delete_function(FunctionName=versioned, Qualifier="2")
    lab.client.update_alias(FunctionName=versioned, Name="live", RoutingConfig={})
    assert "RoutingConfig" not in lab.client.get_alias(FunctionName=versioned, Name="live")


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"FunctionVersion": "9"}, "ResourceNotFoundException", "Function not found"),
        (
            {"FunctionVersion": "$LATEST", "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}}},
            INVALID,
            "$LATEST is not supported for an alias pointing to more than 1 version",
        ),
        ({"RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}}}, INVALID, "already included"),
        ({"RoutingConfig": {"AdditionalVersionWeights": {"9": 0.5}}}, "ResourceNotFoundException", "not found"),
        ({"Name": "42"}, "ValidationException", "'name' failed to satisfy constraint"),
    ],
    ids=["missing version", "weights on latest", "same version twice", "missing weighted version", "numeric name"],
)
def test_an_alias_is_refused(lab: Lab, versioned: str, change: dict[str, Any], code: str, message: str) -> None:
    with refused(code, message):
        lab.client.create_alias(**{"FunctionName": versioned, "Name": "live", "FunctionVersion": "1", **change})


def test_aliases_are_listed_by_version(lab: Lab, versioned: str) -> None:
    for name, number in (("a", "1"), ("b", "2"), ("c", "2")):
        lab.client.create_alias(FunctionName=versioned, Name=name, FunctionVersion=number)
    assert [a["Name"] for a in lab.client.list_aliases(FunctionName=versioned)["Aliases"]] == ["a", "b", "c"]
    of_two = lab.client.list_aliases(FunctionName=versioned, FunctionVersion="2")["Aliases"]
    assert [alias["Name"] for alias in of_two] == ["b", "c"]
    page = lab.client.list_aliases(FunctionName=versioned, MaxItems=2)
    assert len(page["Aliases"]) == 2
    assert len(lab.client.list_aliases(FunctionName=versioned, Marker=page["NextMarker"])["Aliases"]) == 1
