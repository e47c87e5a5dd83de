"""Tables of docs/iam.md: `python -m bootstrap.policy` prints them."""

from __future__ import annotations

from bootstrap.names import Names, Place, names_for
from bootstrap.policy.fan_out import machine_grants
from bootstrap.policy.roles import grants, store_grants, worker_grants
from bootstrap.policy.scope import Scope
from bootstrap.policy.statements import Grant
from builder.secrets.logins import GitLogin, IndexLogin, Logins, ProjectRule

# The scope that docs/iam.md shows.
EXAMPLE = Logins(
    git=(GitLogin(base="https://git.example.com", token="ssm:/shop/git"),),  # noqa: S106  # a reference
    indexes=(
        IndexLogin(
            name="shop",
            url="https://shop-123456789012.d.codeartifact.us-east-1.amazonaws.com/pypi/python/simple",
            password="codeartifact:123456789012/shop",  # noqa: S106  # says by whom, not what
        ),
    ),
    projects=(ProjectRule(pattern="shop-*", allow=("secretsmanager:shop/*", "ssm:/shop/*")),),
)


_FORBIDS = {
    "": "",
    "here": "forbidden on ",
    "elsewhere": "forbidden on all but ",
    "all else": "all other actions forbidden on ",
}


_HEAD = ("| statement | action | on | why |", "|---|---|---|---|")


def table() -> str:
    """Return the actions as a Markdown table, for the builder `lambdasmith` with the functions `shop-*`.

    Permissions that hold only while `setup` runs, with `isolation = split` or with `fan_out = on`, come last.
    """
    names, lines = _example(), [*_HEAD]
    listed: set[tuple[str, str]] = set()
    for when, setting_up, split in (
        ("", False, False),
        ("during `setup`", True, False),
        ("`split`", False, True),
        ("`fan_out`", False, False),
    ):
        fan_out = when == "`fan_out`"
        scope = Scope(functions=("shop-*",), roles=("shop-role",), logins=EXAMPLE, split=split, fan_out=fan_out)
        granted = grants(names, scope, setting_up=setting_up)
        for grant in granted:
            title = f"{grant.sid}, {when}" if when else grant.sid
            new = {action: why for action, why in grant.why.items() if (grant.sid, action) not in listed}
            listed |= {(grant.sid, action) for action in new}
            lines += [f"| {title} | `{action}` | {_on(grant)} | {why} |" for action, why in new.items()]
    return "\n".join(lines) + "\n"


def split_table() -> str:
    """Return the same table for the two roles that `isolation = split` adds."""
    names = _example()
    return _of_roles((names.worker_role, worker_grants(names)), (names.store_role, store_grants(names)))


def fan_out_table() -> str:
    """Return the same table for the role that `fan_out = on` adds."""
    names = _example()
    return _of_roles((names.machine_role, machine_grants(names)))


def _of_roles(*roles: tuple[str, tuple[Grant, ...]]) -> str:
    lines = ["| role | statement | action | on | why |", "|---|---|---|---|---|"]
    for role, granted in roles:
        for grant in granted:
            lines += [
                f"| {role} | {grant.sid} | `{action}` | {_on(grant)} | {why} |" for action, why in grant.why.items()
            ]
    return "\n".join(lines) + "\n"


def _example() -> Names:
    place = Place(partition="aws", account="123456789012", region="us-east-1")
    return names_for(function="lambdasmith", bucket=None, place=place)


def _on(grant: Grant) -> str:
    conditions = [(test, key, value) for test, keys in (grant.condition or {}).items() for key, value in keys.items()]
    return (
        _FORBIDS[grant.forbids]
        + "<br>".join(f"`{each}`" for each in grant.resources)
        + "".join(f"<br>if `{key}` is {'not ' if 'Not' in test else ''}`{value}`" for test, key, value in conditions)
    )


if __name__ == "__main__":
    print(table(), split_table(), fan_out_table(), sep="\n", end="")
