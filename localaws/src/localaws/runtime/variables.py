"""Environment variables that Lambda sets for a function."""

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
    """Return all variables of a runtime: the defaults, then the forwarded, the function's own and the reserved ones."""
    reserved = _reserved(image, credentials, layout, api_address=api_address, log_stream=log_stream)
    # The order decides who wins: a function may replace defaults, and nothing replaces the reserved ones (Lambda
    # Developer Guide, configuration-envvars).
    return {**_defaults(image, layout), **forwarded, **image.environment, **reserved}


def _defaults(image: FunctionImage, layout: Layout) -> dict[str, str]:
    """Return the variables that a function may replace by its own."""
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
    if image.runtime.startswith("python"):
        defaults["PYTHONPATH"] = layout.runtime
    if node := major_of(image.runtime):
        modules = f"{layout.opt}/nodejs/node{node}/node_modules:{layout.opt}/nodejs/node_modules"
        defaults["NODE_PATH"] = f"{modules}:{layout.runtime}/node_modules:{layout.runtime}:{layout.task}"
    if layout.tmp:
        defaults["TMPDIR"] = layout.tmp
        # /var/task is read-only on Lambda; here it is a directory that other environments share.
        defaults["PYTHONDONTWRITEBYTECODE"] = "1"
    if image.endpoint_url:
        defaults["AWS_ENDPOINT_URL"] = image.endpoint_url
    return defaults


def _reserved(
    image: FunctionImage, credentials: Credentials, layout: Layout, *, api_address: str, log_stream: str
) -> dict[str, str]:
    """Return the variables that no function may set: Lambda refuses a configuration with one of them."""
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
    if image.runtime.startswith("python") or major_of(image.runtime):
        reserved["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{image.runtime}"
    return reserved
