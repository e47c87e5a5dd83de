"""S3's own housekeeping: what may go, in every folder of the store; whose rules a shared bucket has."""

from __future__ import annotations

import re

import pytest

import builder.store.s3
from bootstrap.lifecycle import FOLDERS, Rule, merged, put, read, rules, same
from bootstrap.names import Names, Place, names_for
from builder.aws import connect
from localaws.testing import Server

PLACE = Place(partition="aws", account="123456789012", region="us-east-1")


def names(function: str = "smith", bucket: str = "shared-bucket") -> Names:
    return names_for(function=function, bucket=bucket, place=PLACE)


def test_every_folder_of_the_store_is_decided_on() -> None:
    described = re.findall(r"^    ([a-z]+)/", builder.store.s3.__doc__ or "", re.MULTILINE)
    assert sorted(FOLDERS) == sorted(set(described))


def test_nothing_that_anything_refers_to_expires() -> None:
    expiring = {rule["ID"].split()[-1] for rule in rules(names()) if "Days" in rule.get("Expiration", {})}
    assert expiring == {"built", "checks", "recent", "uploads", "toolchains", "caches", "domains", "fanout", "orders"}
    [artifacts] = [rule for rule in rules(names()) if rule["ID"].endswith(" artifacts")]
    assert "NoncurrentVersionExpiration" not in artifacts


def test_artifacts_expire_only_if_the_operator_says_so() -> None:
    """S3 moves no object on the day on which it removes it, so those that go soon stay where they are."""
    for days, rest in ((10, None), (29, None), (30, 30), (400, 30)):
        before, after = ({rule["ID"]: rule for rule in rules(names(), expire_days=each)} for each in (0, days))
        assert {name for name in after if after[name] != before[name]} == {"lambdasmith smith artifacts"}
        rule = after["lambdasmith smith artifacts"]
        assert rule["Expiration"] == {"Days": days + 1}
        assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": days + 1}
        assert [each["Days"] for each in rule.get("Transitions", [])] == ([rest] if rest else [])


def test_uploads_that_were_given_up_are_cleared_away_below_the_prefix_only() -> None:
    assert [rule["Filter"]["Prefix"] for rule in rules(names()) if "AbortIncompleteMultipartUpload" in rule] == [
        "smith/"
    ]
    assert all(rule["Filter"]["Prefix"].startswith("smith/") for rule in rules(names()))


THEIRS: tuple[Rule, ...] = (
    {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 3}},
    {"ID": "lambdasmith smithy parts", "Status": "Enabled", "Filter": {"Prefix": "smithy/"}, "Expiration": {"Days": 9}},
)


def test_rules_of_others_stay_and_ours_are_replaced() -> None:
    mine = rules(names())
    before = [*THEIRS, {**mine[0], "Status": "Disabled"}, {**mine[1], "ID": "lambdasmith smith formerly"}]
    assert merged(names(), before, mine) == [*THEIRS, *mine]
    assert merged(names(), [*THEIRS, *mine], ()) == [*THEIRS]


def test_the_older_spelling_of_a_prefix_becomes_the_newer() -> None:
    old = {"ID": "old", "Status": "Enabled", "Prefix": "old/", "Expiration": {"Days": 1}}
    [rule] = merged(names(), [old], ())
    assert rule == {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "old/"}, "Expiration": {"Days": 1}}


def test_what_s3_answers_is_what_was_asked(localaws: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in localaws.env.items():
        monkeypatch.setenv(name, value)
    clients, bucket = connect(), "lifecycle-shared"
    clients.s3.create_bucket(Bucket=bucket)
    assert read(clients, bucket).rules == ()
    put(clients, names("one"), bucket, rules(names("one")))
    put(clients, names("two"), bucket, rules(names("two")))
    assert same(read(clients, bucket).rules, [*rules(names("one")), *rules(names("two"))])
    put(clients, names("one"), bucket, ())
    assert same(read(clients, bucket).rules, rules(names("two")))
    put(clients, names("two"), bucket, ())
    assert read(clients, bucket).rules == ()
