"""Process that has imported what a server needs, and forks one per order: imports take most of a server's start.

`localaws.starting` runs it as `python -m localaws.warm`, with a Unix socket as standard input, and has the form of an
order. It ends when nobody can give orders any more.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence

from localaws.starting import Order

# What tests of functions ask for. moto imports others when they are first asked for.
_SERVICES = ("iam", "logs", "s3", "secretsmanager", "sqs", "ssm", "sts")


def _prepare() -> None:
    import moto.moto_server.werkzeug_app  # noqa: F401
    from moto.backends import get_backend
    from moto.core.utils import get_service_model
    from moto.iam.models import get_account_id_from

    import localaws.__main__
    import localaws.iam.guard
    import localaws.interception.interceptor
    import localaws.lambda_.api
    import localaws.lambda_.backend
    import localaws.lambda_.poller
    import localaws.s3.conditions
    import localaws.s3.integrity
    import localaws.serving.front  # noqa: F401
    from localaws.runtime.execution import programs
    from localaws.serving.server import ACCOUNT, configure_moto, network_settings

    for service in _SERVICES:
        get_backend(service)  # type: ignore[call-overload]
        get_service_model(service)
    # What the machine has.
    environ = frozenset(os.environ.items())
    network_settings(environ)
    programs(environ)
    # An empty account with all policies that AWS manages, once for each partition: asking who has a key makes them.
    configure_moto()
    get_backend("iam")[ACCOUNT]["aws"]
    get_account_id_from("nobody's key")


def _become_server(order: Order, descriptors: Sequence[int]) -> int:
    from moto.moto_api._internal import mock_random

    from localaws.__main__ import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *standard, life = descriptors
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.set_inheritable(life, False)  # what the server starts may outlive it
    os.environ.clear()
    os.environ.update(order.environment)
    mock_random.seed()  # else all servers would give the same ids
    return main(order.arguments)


def _run_and_end(work: Callable[[], int]) -> None:
    """End this process with what `work` returns, without the parent's cleanup."""
    code = 1
    try:
        code = work()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Fork into servers until the other side of the socket is closed."""
    orders = socket.socket(fileno=os.dup(0))
    # Ctrl-C is for the servers. Whoever gave an order notices the server's end by a descriptor, so nobody waits.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _prepare()
    gc.collect()
    gc.freeze()  # memory stays shared between servers if the collector does not write to it
    while received := Order.take(orders):
        order, descriptors = received
        pid = os.fork()
        if not pid:
            orders.close()
            _run_and_end(lambda: _become_server(order, descriptors))  # noqa: B023 (called at once)
        for descriptor in descriptors:
            os.close(descriptor)
        Order.answer(orders, pid)


if __name__ == "__main__":
    main()
