"""Steps for what a function needs around it: bucket, secret, roles and log group."""

from __future__ import annotations

from bootstrap.changes import MakeBucket, MakeLogGroup, PutLifecycle, PutRole, PutSecret, Step
from bootstrap.lifecycle import rules, same
from bootstrap.plan.wanted import Wanted
from bootstrap.policy.roles import TRUST
from bootstrap.policy.statements import Document
from bootstrap.state import Present, RoleState


def surroundings(want: Wanted, present: Present, *, keep_role: bool) -> list[Step]:
    names, steps = want.names, list[Step]()
    bucket, secret = present.bucket, present.secret
    if bucket is None:
        text = f"make bucket {names.bucket} (versioned, encrypted, not public)"
        steps.append(MakeBucket(sentence=text, bucket=names.bucket, create=True))
    # Only a bucket of ours: the settings of someone else's are its owner's affair.
    elif bucket.made_here and not (bucket.versioned and bucket.private and bucket.encrypted):
        text = f"make bucket {names.bucket} versioned, encrypted and not public"
        steps.append(MakeBucket(sentence=text, bucket=names.bucket, create=False))
    kept = rules(names, expire_days=want.expire_days)
    if bucket is None or not same(bucket.rules, kept):
        text = f"let S3 remove below s3://{names.bucket}/{names.prefix} what can be made again, and old versions"
        if want.expire_days:
            text += f", and built zips {want.expire_days} days after their last use"
        steps.append(PutLifecycle(sentence=text, bucket=names.bucket, rules=kept))
    if want.secret and (secret is None or secret.deleted or not secret.current):
        # A secret that waits for its deletion keeps its name, so it is restored and not made again.
        verb = "put the git token into" if secret is None or secret.deleted else "update the git token in"
        steps.append(
            PutSecret(
                sentence=f"{verb} secret {names.secret}",
                secret=names.secret,
                value=want.secret,
                create=secret is None,
                restore=bool(secret and secret.deleted),
            )
        )
    # Left open after an interrupted run: closing it here would only make the same run open it again before `setup`.
    if not keep_role:
        what, description = "with only what the builder needs", f"What the builder {names.function} may do"
        steps += role_steps(PutRole, names.role, present.role, TRUST, want.policy, what, description, want.boundary)
    if present.log_group is None:
        steps.append(MakeLogGroup(sentence=f"make log group {names.log_group}", group=names.log_group))
    return steps


def role_steps(
    kind: type[PutRole],
    name: str,
    there: RoleState | None,
    trust: Document,
    policy: Document,
    what: str,
    description: str,
    boundary: str | None,
) -> list[Step]:
    """Yield the step that brings a role to its wanted state, unless it has that."""
    # Without a boundary in config.ini the present one stays.
    if there is not None and (there.policy, there.trust) == (policy, trust) and boundary in (there.boundary, None):
        return []
    sentence = f"{'make' if there is None else 'bring up to date'} role {name} {what}"
    return [
        kind(
            sentence=sentence,
            role=name,
            create=there is None,
            description=description,
            trust=trust,
            policy=policy,
            boundary=boundary,
        )
    ]
