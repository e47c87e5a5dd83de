"""Permissions for the builder's bucket, and for lending a part of it to the worker."""

from __future__ import annotations

from bootstrap.names import Names
from bootstrap.policy.statements import Grant


def stored(names: Names, what: str) -> str:
    return f"arn:{names.place.partition}:s3:::{names.bucket}/{names.prefix}{what}"


def keep_builds(names: Names, split: bool) -> Grant:
    archives = {"s3:GetObjectVersion": "read an archive in the version that an event names"}
    return Grant(
        sid="KeepBuilds",
        why={
            "s3:GetObject": "read artifacts, locks and records; Lambda reads the code with it",
            **({} if split else archives),  # the worker reads them, with lent credentials
            "s3:PutObject": "store them",
        },
        resources=(stored(names, "*"),),
    )


def order_from_worker(names: Names) -> Grant:
    return Grant(
        sid="OrderFromWorker",
        why={"lambda:InvokeFunction": "have the worker make what is to be deployed"},
        resources=(names.arn_in("lambda", f"function:{names.worker}"),),
    )


def lend_to_worker(names: Names) -> Grant:
    return Grant(
        sid="LendStoreToWorker",
        why={"sts:AssumeRole": "give the worker one trust domain's part of the store, for the time of a build"},
        resources=(names.role_arn_of(names.store_role),),
    )


def give_leases_back(names: Names) -> Grant:
    return Grant(
        sid="GiveLeasesBack",
        why={"s3:DeleteObject": "let the next build of a function begin"},
        resources=(stored(names, "leases/*"),),
    )


def list_builds(names: Names) -> Grant:
    return Grant(
        sid="ListBuilds",
        why={"s3:ListBucket": "tell a missing object from a forbidden one; list the last builds"},
        resources=(f"arn:{names.place.partition}:s3:::{names.bucket}",),
        # IfExists: S3 also asks for this permission, and then without a prefix, to answer 404 instead of 403.
        condition={"StringLikeIfExists": {"s3:prefix": f"{names.prefix}*"}},
    )
