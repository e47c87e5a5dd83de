"""Orders handed to the worker: another function, in which foreign code runs, with no power over anything but its store.

The worker is one function for all. Lambda itself never gives one of its environments to two tenants, and the tenant is
the trust domain, as it was found out here. What comes back is read as what a stranger has written.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from builder import __version__, credentials
from builder.aws import SessionCredentials, aws_errors
from builder.errors import (
    AwsRefused,
    ContentMismatch,
    FunctionMissing,
    LambdasmithError,
    OutOfMemory,
    OutOfTime,
    WorkerFailed,
    error_of,
)
from builder.order import Order
from builder.plan import UNBUILT, Artifact
from builder.product import Product, Unchanged, text
from builder.progress import Phase
from builder.project import Outline
from builder.request import ArchiveSource, ManifestSource, ObjectSource

if TYPE_CHECKING:
    from builder.context import Context

# Of the 6 MB that Lambda takes with an invocation, what an archive may have of it.
_LARGEST_INLINE = 4 << 20
# A role that is assumed by a role is lent for an hour at the most.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#id_roles_terms-and-concepts
_LENT_S = 3600
# What is lent must last as long as an invocation may.
_LASTS_S = 960
_MOST_WARNINGS = 100
_PARALLEL = 4


def made_by_worker(order: Order, context: Context) -> Product | Unchanged:
    """What the worker makes of the order; its artifacts are in the builder's own store afterwards.

    Raises:
        LambdasmithError: what the worker says of the project, or why it says nothing.
        ContentMismatch: what the worker has stored is not what it says.
    """
    answer = _sent(order, context)
    if isinstance(answer, Product):
        with context.progress.phase("take", "taking over what the worker has made"):
            _take(answer, order, context)
    return answer


def _sent(order: Order, context: Context) -> Product | Unchanged:
    order = _stored(order, context)
    granted = credentials.granted(order, context)
    answer = _invoked(order, granted, context)
    if "needs" in answer:
        # Which secrets a build file names is known when it is read, and it is read where it is fetched.
        outline = _parsed(lambda: Outline.parse(cast("Mapping[str, object]", answer["needs"])))
        granted = credentials.granted_for(outline.spec, order, context, granted)
        answer = _invoked(order, granted, context)
    if "unchanged" in answer:
        row = cast("Mapping[str, object]", answer["unchanged"])
        return _parsed(lambda: Unchanged(commit=text(row["commit"]), ref=text(row["ref"])))
    return _parsed(lambda: Product.parse(cast("Mapping[str, object]", answer["product"])))
