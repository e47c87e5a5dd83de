"""What starts inside `/var/lang/bin/python3.X`: arranges sys.path as Lambda does, then hands over to awslambdaric.

Has to run on every Python from 3.9 on, with nothing but the standard library.
"""

from __future__ import annotations

import importlib
import os
import site
import sys


def arrange(task: str, layers: str, runtime: str) -> None:
    """Put the package first, then the layers, the interpreter's own, and AWS's libraries last."""
    python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    ours = [task, f"{layers}/python/lib/{python}/site-packages", f"{layers}/python"]
    own = [path for path in sys.path[1:] if path not in (runtime, "")]
    sys.path[:] = own
    for path in ours:
        site.addsitedir(path)  # for the .pth files; where the folder stands in the list is settled below
    added = [path for path in sys.path if path not in own and path not in ours]
    sys.path[:] = [*ours, *own, *added, runtime]


def make_up_for_emulator(marker: str) -> None:
    """Do two things that the emulator does not: tell errors from answers, and give the function's real ARN.

    The server sends the ARN before the tenant, in the one header that the emulator hands on as it came.
    """
    client = importlib.import_module("awslambdaric.lambda_runtime_client").BaseLambdaRuntimeClient
    bootstrap = importlib.import_module("awslambdaric.bootstrap")
    post_error, handle = client.post_invocation_error, bootstrap.handle_event_request

    def post(self: object, invoke_id: str, *rest: object, **named: object) -> object:
        os.write(1, f"{marker} {invoke_id}\n".encode())
        return post_error(self, invoke_id, *rest, **named)

    def handle_event(*given: object, **named: object) -> object:
        # client, handler, request id, body, content type, client context, identity, ARN, deadline, tenant, …
        arn, _, tenant = str(given[9]).partition(" ")
        return handle(*given[:7], arn, given[8], tenant or None, *given[10:], **named)

    client.post_invocation_error = post
    vars(bootstrap)["handle_event_request"] = handle_event


def main() -> None:
    """Serve invocations until the sandbox ends."""
    layers = os.environ.pop("_LOCALAWS_LAYERS", "/opt")
    emulator = os.environ.pop("_LOCALAWS_EMULATOR", "")
    arrange(os.environ["LAMBDA_TASK_ROOT"], layers, os.environ["LAMBDA_RUNTIME_DIR"])
    if emulator:
        make_up_for_emulator(emulator)
    sys.argv[:] = [sys.argv[0], os.environ["_HANDLER"]]
    importlib.import_module("awslambdaric.__main__").main(sys.argv)


if __name__ == "__main__":
    main()
