"""Names of everything in the account, derived from the function's name, the account and the region."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

# Every resource that can have tags is created with OWNER_TAG; `destroy` removes nothing without it.
from builder.trust.reach import OWN_ENDS, OWNER_TAG


@dataclass(frozen=True, kw_only=True)
class Place:
    """Account and region of AWS calls."""

    partition: str
    account: str
    region: str


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names of one builder. Two builders with different function names share nothing."""

    place: Place
    function: str
    bucket: str
    owns_bucket_name: bool  # a name that no one else would choose

    @property
    def function_arn(self) -> str:
        return self.arn_in("lambda", f"function:{self.function}")

    @property
    def tags(self) -> dict[str, str]:
        """Tags of a resource that this builder's `init` made."""
        return {OWNER_TAG: self.function_arn}

    @property
    def prefix(self) -> str:
        """The builder's part of the bucket."""
        return f"{self.function}/"

    @property
    def layer(self) -> str:
        return f"{self.function}-layer"

    @property
    def layer_arn(self) -> str:
        """ARN without the version."""
        return self.arn_in("lambda", f"layer:{self.layer}")

    @property
    def secret(self) -> str:
        return f"{self.function}/git"

    @property
    def log_group(self) -> str:
        return f"/aws/lambda/{self.function}"

    @property
    def role(self) -> str:
        """IAM is global, so the region is part of the name."""
        return self._role_of(self.function)

    @property
    def worker(self) -> str:
        """The function in which foreign code runs, with `isolation = split`."""
        return f"{self.function}-worker"

    @property
    def worker_log_group(self) -> str:
        return f"/aws/lambda/{self.worker}"

    @property
    def worker_role(self) -> str:
        return self._role_of(self.worker)

    @property
    def store_role(self) -> str:
        """Role that the builder assumes to lend the worker access to the store."""
        return self._role_of(f"{self.function}-store")

    @property
    def machine(self) -> str:
        """The state machine that makes many functions at a time, with `fan_out = on`."""
        return f"{self.function}-fan-out"

    @property
    def machine_arn(self) -> str:
        return self.arn_in("states", f"stateMachine:{self.machine}")

    @property
    def executions_arn(self) -> str:
        """Pattern of its executions' ARNs."""
        return self.arn_in("states", f"execution:{self.machine}:*")

    @property
    def map_runs_arn(self) -> str:
        """Pattern of the ARNs of its Distributed Map's runs."""
        return self.arn_in("states", f"mapRun:{self.machine}/*")

    @property
    def machine_role(self) -> str:
        return self._role_of(self.machine)

    @property
    def own_functions(self) -> tuple[str, ...]:
        """Names of all functions that belong to this builder, whether they exist or not."""
        return tuple(f"{self.function}{end}" for end in OWN_ENDS)

    @property
    def own_role_arns(self) -> tuple[str, ...]:
        """ARNs of their roles, and of the store role."""
        roles = [*map(self._role_of, self.own_functions), self.store_role]
        return tuple(map(self.role_arn_of, roles))

    @property
    def role_arn(self) -> str:
        return self.role_arn_of(self.role)

    def _role_of(self, name: str) -> str:
        # 64 is IAM's limit for a role's name (IAM User Guide, reference_iam-quotas).
        return _fitted(f"{name}-{self.place.region}", 64)

    def role_arn_of(self, role: str) -> str:
        """Return the ARN of a role that is given by name, path and name, or ARN."""
        return role if role.startswith("arn:") else f"arn:{self.place.partition}:iam::{self.place.account}:role/{role}"

    def policy_arn_of(self, policy: str) -> str:
        """Return the ARN of a managed policy that is given by name, path and name, or ARN."""
        own = f"arn:{self.place.partition}:iam::{self.place.account}:policy/{policy}"
        return policy if policy.startswith("arn:") else own

    def arn_in(self, service: str, rest: str) -> str:
        """Return an ARN in this account and region."""
        return f"arn:{self.place.partition}:{service}:{self.place.region}:{self.place.account}:{rest}"


def names_for(*, function: str, bucket: str | None, place: Place) -> Names:
    """Return the names of the builder `function`; the default bucket is unique to function, account and region."""
    own = bucket is None
    if bucket is None:
        stem = re.sub(r"[^a-z0-9-]", "-", function.lower()).strip("-") or "lambdasmith"
        # S3 has one namespace for all accounts, and 63 characters at most (S3 User Guide, bucketnamingrules).
        tail = f"-{place.account}-{place.region}"
        bucket = _fitted(stem, 63 - len(tail)) + tail
    return Names(place=place, function=function, bucket=bucket, owns_bucket_name=own)


def _fitted(name: str, limit: int) -> str:
    """Return `name`, or if it is too long, its beginning and a hash of the whole."""
    if len(name) <= limit:
        return name
    # A hash of the whole: two long names with the same beginning must not share a role.
    return f"{name[: limit - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
