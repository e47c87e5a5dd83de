"""CloudFormation stacks in the embedded AWS: templates are read, and deployed in CloudFormation's order."""

from localaws.stacks.stack import Stack, StackFailed
from localaws.stacks.templates import read_template

__all__ = ["Stack", "StackFailed", "read_template"]
