"""CloudFormation stacks in the embedded AWS: templates read, and deployed as CloudFormation would."""

from localaws.stacks.stack import Stack, StackFailed
from localaws.stacks.templates import read_template

__all__ = ["Stack", "StackFailed", "read_template"]
