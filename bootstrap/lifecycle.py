"""Lifecycle rules below the builder's prefix, and why S3 never removes an object that is still needed.

An object expires by age only if nothing else in the store refers to it, and the next build makes it again or the client
sends it again (S3 counts from the last write, not from the last use). Everything else stays, however old it is:
artifacts, because a rollback, or another function of the same content, may want them (but see below); the parts that
artifacts are made of, and the records that lead to them; locks, because `verify` compares with them; accounts of
builds. Of all that only artifacts and parts take room, and those that nobody reads move to cheaper storage by
themselves, where they are as quick to read (but for objects below 128 kB, which S3 leaves where they are).

With `isolation = split` that also holds for deployed artifacts, because the builder copies them to the folders above.
Objects for a trust domain's next build, including locks, expire half a year after they were written: domains come and
go, and each has its own copies.

With `expire_days` in config.ini artifacts expire that many days after the last build that used them. They are named by
their content, so several functions may share one: when a build uses an artifact again, the builder writes it again, at
most once a day, and S3 counts from there. The key and version in a reply are valid for the same time. Deployed
functions do not need it, since Lambda has a copy, and a build that misses one makes it again; but a rollback to a build
whose version or layers are gone from Lambda reaches back no further.

The bucket of `init` keeps old versions of objects, and nothing here uses them: they expire. Those of artifacts stay: a
function in Lambda's REFERENCE mode reads one version of an object for as long as it lives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from bootstrap.names import Names
from builder.aws import Clients, Expected, aws_errors

if TYPE_CHECKING:
    from types_boto3_s3.literals import TransitionDefaultMinimumObjectSizeType
    from types_boto3_s3.type_defs import BucketLifecycleConfigurationTypeDef

# A lifecycle rule as S3 has it, see PutBucketLifecycleConfiguration.
Rule = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Lifecycle:
    """All rules of a bucket, ours and others', and the one setting beside them; None is S3's default."""

    rules: tuple[Rule, ...] = ()
    smallest: TransitionDefaultMinimumObjectSizeType | None = None


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Lifetimes of the objects in one folder of the store. All in days; None is never.

    Args:
        expire: after the last write, until an object expires.
        forget: after it was overwritten or removed, until an old version expires.
        rest: after the last write, until S3 chooses the storage class by use.
    """

    expire: int | None = None
    forget: int | None = None
    rest: int | None = None


FOLDERS: Mapping[str, Folder] = {
    "artifacts": Folder(rest=30),
    "components": Folder(forget=30),
    "layers": Folder(forget=30),
    "locks": Folder(forget=30),
    "pinned": Folder(forget=30),
    "built": Folder(expire=180, forget=1),
    "parts": Folder(forget=1, rest=30),
    "natives": Folder(forget=1),
    "checks": Folder(expire=180, forget=1),
    "deployed": Folder(forget=1),
    "borrowed": Folder(forget=1),
    "leases": Folder(forget=1),
    "builds": Folder(forget=1),
    "records": Folder(forget=30),
    "projects": Folder(forget=30),
    "repositories": Folder(forget=1),
    "recent": Folder(expire=90, forget=1),
    "stacks": Folder(forget=1),
    "uploads": Folder(expire=7, forget=1),
    "toolchains": Folder(expire=180, forget=1),
    "caches": Folder(expire=30, forget=1),
    "baselines": Folder(forget=1),
    "sources": Folder(forget=1),
    "domains": Folder(expire=180, forget=1),
    "fanout": Folder(expire=7, forget=1),
    "orders": Folder(expire=1, forget=1),
    "vouched": Folder(forget=30),
}


def rules(names: Names, *, expire_days: int = 0) -> tuple[Rule, ...]:
    """Return the rules of this builder; they touch no other prefix of the bucket.

    Args:
        expire_days: of artifacts, after their last use; 0 is never.
    """
    folders = dict(FOLDERS)
    if expire_days:
        # One day more, because builds renew an artifact only once a day.
        rest = folders["artifacts"].rest
        folders["artifacts"] = Folder(
            expire=expire_days + 1, forget=expire_days + 1, rest=rest if rest and rest <= expire_days else None
        )
    return tuple(_rules(names, folders))


def _rules(names: Names, folders: Mapping[str, Folder]) -> Iterator[Rule]:
    yield _rule(names, "unfinished", names.prefix) | {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}
    for name, folder in folders.items():
        rule = _rule(names, name, f"{names.prefix}{name}/")
        if folder.expire:
            rule["Expiration"] = {"Days": folder.expire}  # this also removes delete markers
        elif folder.forget:
            rule["Expiration"] = {"ExpiredObjectDeleteMarker": True}
        if folder.forget:
            rule["NoncurrentVersionExpiration"] = {"NoncurrentDays": folder.forget}
        if folder.rest:
            rule["Transitions"] = [{"Days": folder.rest, "StorageClass": "INTELLIGENT_TIERING"}]
        yield rule


def _rule(names: Names, title: str, prefix: str) -> dict[str, Any]:
    return {"ID": f"{_stem(names)}{title}", "Status": "Enabled", "Filter": {"Prefix": prefix}}


def _stem(names: Names) -> str:
    """Return the prefix of our rules' IDs.

    Function names have no spaces, so no other builder's rules have this prefix.
    """
    return f"lambdasmith {names.function} "


def ours(names: Names, present: Sequence[Rule]) -> tuple[Rule, ...]:
    """Return this builder's rules among the bucket's."""
    return tuple(rule for rule in present if str(rule.get("ID", "")).startswith(_stem(names)))


def merged(names: Names, present: Sequence[Rule], wanted: Sequence[Rule]) -> list[Rule]:
    """Return all rules for the bucket: those of others unchanged, then `wanted` in place of ours.

    S3 knows an older spelling of a rule's prefix, and refuses both spellings in one bucket: the older one becomes the
    newer, which means the same.
    """
    mine = ours(names, present)
    return [*(_newer(rule) for rule in present if rule not in mine), *wanted]


def _newer(rule: Rule) -> Rule:
    if "Prefix" not in rule:
        return rule
    return {**{key: value for key, value in rule.items() if key != "Prefix"}, "Filter": {"Prefix": rule["Prefix"]}}


def same(one: Sequence[Rule], other: Sequence[Rule]) -> bool:
    """Return whether both have the same rules, in any order."""
    return sorted(one, key=lambda rule: str(rule["ID"])) == sorted(other, key=lambda rule: str(rule["ID"]))


def read(clients: Clients, bucket: str) -> Lifecycle:
    """Return the bucket's lifecycle configuration."""
    doing = f"reading the lifecycle rules of bucket {bucket}"
    with aws_errors(doing), Expected({"NoSuchLifecycleConfiguration"}) as none:
        found = clients.s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    if none.error:
        return Lifecycle()
    return Lifecycle(rules=tuple(found["Rules"]), smallest=found.get("TransitionDefaultMinimumObjectSize"))


def put(clients: Clients, names: Names, bucket: str, wanted: Sequence[Rule]) -> None:
    """Replace this builder's rules in the bucket by `wanted`; those of others stay."""
    # PutBucketLifecycleConfiguration replaces all rules of the bucket, so those of others are read and sent again.
    present = read(clients, bucket)
    every = merged(names, present.rules, wanted)
    with aws_errors(f"changing the lifecycle rules of bucket {bucket}"):
        if not every:
            clients.s3.delete_bucket_lifecycle(Bucket=bucket)
            return
        configuration = cast("BucketLifecycleConfigurationTypeDef", {"Rules": every})
        # Sent again if it is set: left out, S3 applies its default (S3 API, PutBucketLifecycleConfiguration).
        if present.smallest is None:
            clients.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=configuration)
        else:
            clients.s3.put_bucket_lifecycle_configuration(
                Bucket=bucket,
                LifecycleConfiguration=configuration,
                TransitionDefaultMinimumObjectSize=present.smallest,
            )
