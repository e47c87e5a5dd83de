"""The environment variables that Lambda gives to a function."""

from __future__ import annotations

from collections.abc import Mapping

from localaws.runtime.images import Credentials, FunctionImage
from localaws.runtime.nodes import major_of
from localaws.runtime.sandbox import Layout

__all__ = ["function_variables"]


def function_variables(
    image: FunctionImage,
    credentials: Credentials,
    layout: Layout,
    *,
    api_address: str,
    log_stream: str,
    forwarded: Mapping[str, str],
) -> dict[str, str]:
    """All variables of a runtime: defaults, over them the forwarded ones, the function's own, and the reserved ones."""
    python, node = image.runtime.startswith("python"), major_of(image.runtime)
    defaults = {
        "PATH": layout.path,
        "LD_LIBRARY_PATH": layout.library_path,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PWD": layout.task,
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129:2000",
        "_AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129",
        "_AWS_XRAY_DAEMON_PORT": "2000",
    }
    if python:
        defaults["PYTHONPATH"] = layout.runtime
    if node:
        modules = f"{layout.opt}/nodejs/node{node}/node_modules:{layout.opt}/nodejs/node_modules"
        defaults["NODE_PATH"] = f"{modules}:{layout.runtime}/node_modules:{layout.runtime}:{layout.task}"
    if layout.tmp:
        defaults["TMPDIR"] = layout.tmp
        # /var/task cannot be written to; here it is a directory that other environments share.
        defaults["PYTHONDONTWRITEBYTECODE"] = "1"
    if image.endpoint_url:
        defaults["AWS_ENDPOINT_URL"] = image.endpoint_url
    reserved = {
        "_HANDLER": image.handler,
        "AWS_REGION": image.region,
        "AWS_DEFAULT_REGION": image.region,
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
        "AWS_SESSION_TOKEN": credentials.session_token,
        "AWS_LAMBDA_FUNCTION_NAME": image.name,
        "AWS_LAMBDA_FUNCTION_VERSION": image.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(image.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": image.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "AWS_LAMBDA_RUNTIME_API": api_address,
        "LAMBDA_TASK_ROOT": layout.task,
        "LAMBDA_RUNTIME_DIR": layout.runtime,
    }
    if python or node:
        reserved["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{image.runtime}"
    return {**defaults, **forwarded, **image.environment, **reserved}
