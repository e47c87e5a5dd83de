"""What the builder may never do, whatever else it may; and what `setup` may nevertheless."""

from __future__ import annotations

from bootstrap.names import Names
from bootstrap.policy.statements import Grant
from builder.trust.reach import OWNER_TAG


def open_urls_alone(names: Names) -> list[Grant]:
    """Return the condition that a permission is only for a URL without credentials."""
    # Two statements: IAM joins the conditions of one by AND, and here each has to forbid by itself.
    why = {"lambda:AddPermission": "no other account or service is let in, and no URL that wants credentials"}
    everything = (names.arn_in("lambda", "function:*"),)
    return [
        Grant(
            sid="LetNobodyElseIn",
            forbids="here",
            why=why,
            resources=everything,
            condition={"StringNotEquals": {"lambda:Principal": "*"}},
        ),
        Grant(
            sid="LetNobodyIntoIamUrls",
            forbids="here",
            why=why,
            resources=everything,
            condition={"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}},
        ),
    ]


# A Deny as well, since lambda:DeleteFunction is one action for versions and for whole functions.
def remove_no_function(names: Names) -> Grant:
    return Grant(
        sid="RemoveNoFunction",
        forbids="elsewhere",
        why={"lambda:DeleteFunction": "a version may go, never a function: its ARN ends with its name"},
        resources=(names.arn_in("lambda", "function:*:*"),),
    )


# A Deny cannot be overruled, so the actions of `setup` are left out of it while setup.py runs that.
_SETUP = {
    "lambda:GetFunction": "wait until the change has arrived",
    "lambda:GetFunctionConfiguration": "read its own layers",
    "lambda:UpdateFunctionConfiguration": "`setup` attaches the layer it has built",
}
_LOOKING_AT_ITS_LAYER = {
    "lambda:GetLayerVersion": "to read it changes nothing",
    # Not only GetLayerVersion: a Deny wins over LookThroughAccount, and `status` could then not tell the storage.
    "lambda:ListLayerVersions": "nor does this: `status` goes through all layers",
}
_SETUP_LAYER = {"lambda:PublishLayerVersion": "`setup` publishes the layer it has built"}


def set_up_itself(names: Names) -> Grant:
    return Grant(sid="SetItselfUp", why=_SETUP, resources=(names.function_arn,))


def set_up_its_layer(names: Names) -> Grant:
    return Grant(sid="PublishItsLayer", why=_SETUP_LAYER, resources=(names.layer_arn,))


_LOOKING_AT_BUILDERS = {
    "lambda:GetFunction": "to look at a builder changes nothing",
    "lambda:GetFunctionConfiguration": "nor does this",
    "lambda:InvokeFunction": "nor to go on in another invocation",
}


def never_another_builder(names: Names, setting_up: bool) -> Grant:
    """Forbid access to other builders: all have a tag, whichever tool has set them up."""
    return Grant(
        # "all else" on purpose: a list of forbidden actions would miss those that Lambda gets later.
        sid="NeverChangeBuilders",
        forbids="all else",
        why=_LOOKING_AT_BUILDERS | (_SETUP if setting_up else {}),
        resources=(names.arn_in("lambda", "function:*"),),
        condition={"Null": {f"aws:ResourceTag/{OWNER_TAG}": "false"}},
    )


def never_itself(names: Names, setting_up: bool) -> Grant:
    return Grant(
        sid="NeverChangeItself",
        forbids="all else",
        why=_LOOKING_AT_BUILDERS | (_SETUP if setting_up else {}),
        resources=tuple(
            names.arn_in("lambda", f"function:{name}{end}") for name in names.own_functions for end in ("", ":*")
        ),
    )


def never_its_layer(names: Names, setting_up: bool) -> Grant:
    return Grant(
        sid="NeverChangeItsLayer",
        forbids="all else",
        why=_LOOKING_AT_ITS_LAYER | (_SETUP_LAYER if setting_up else {}),
        resources=(names.layer_arn, f"{names.layer_arn}:*"),
    )


def never_its_logs(names: Names) -> Grant:
    return Grant(
        sid="NeverChangeItsLogs",
        forbids="all else",
        why={
            "logs:CreateLogStream": "Lambda opens a stream per execution environment",
            "logs:PutLogEvents": "and writes to it",
            "logs:DescribeLogGroups": "to look changes nothing",
        },
        resources=tuple(
            names.arn_in("logs", f"log-group:/aws/lambda/{name}{end}")
            for name in names.own_functions
            for end in ("", ":*")
        ),
    )


def never_its_roles(names: Names) -> Grant:
    return Grant(
        sid="NeverGiveItsRoles",
        forbids="here",
        why={"iam:PassRole": "a function with the builder's role could do all that the builder can"},
        resources=names.own_role_arns,
    )
