"""Operations that invoke functions: requests and their results."""

from __future__ import annotations

import json

from localaws.lambda_.asynchronous import submit
from localaws.lambda_.calls import Call
from localaws.lambda_.running import MAX_ASYNC_BYTES, MAX_SYNC_BYTES, checked_payload, log_tail, run, target
from localaws.wire.errors import InvalidParameterValueException
from localaws.wire.eventstream import message
from localaws.wire.requests import HttpAnswer


def invocation_type(call: Call) -> str:
    """Return RequestResponse, Event or DryRun."""
    kind: str = call.params.get("InvocationType", "RequestResponse")
    if kind not in {"RequestResponse", "Event", "DryRun"}:
        raise InvalidParameterValueException(f"Invocation type {kind} is not supported.")
    return kind


def invoke(call: Call) -> HttpAnswer:
    kind = invocation_type(call)
    function, qualifier = call.function()
    what = target(function, qualifier, call.now, tenant_id=call.params.get("TenantId"))
    # After `target`: a dry run also finds a missing function or qualifier.
    if kind == "DryRun":
        return HttpAnswer(status=204)
    if kind == "Event":
        payload = checked_payload(call.request.body, MAX_ASYNC_BYTES)
        submit(call.platform, what, payload, request_id=call.request.request_id)
        return HttpAnswer(status=202)
    result = run(
        call.platform,
        what,
        checked_payload(call.request.body, MAX_SYNC_BYTES),
        request_id=call.request.request_id,
        client_context=call.params.get("ClientContext"),
    )
    headers = {"X-Amz-Executed-Version": what.version.number}
    # The status stays 200: only this header tells that the function failed (Lambda API, Invoke).
    if result.function_error:
        headers["X-Amz-Function-Error"] = result.function_error
    if call.params.get("LogType") == "Tail":
        headers["X-Amz-Log-Result"] = log_tail(result)
    return HttpAnswer(status=200, body=result.payload, headers=headers)


def invoke_async(call: Call) -> HttpAnswer:
    """Return the deprecated InvokeAsync with 202 and `{"Status": 202}`."""
    function, qualifier = call.function()
    payload = checked_payload(call.request.body, MAX_ASYNC_BYTES)
    what = target(function, qualifier, call.now)
    submit(call.platform, what, payload, request_id=call.request.request_id)
    return HttpAnswer(status=202, body=b"{}")


def invoke_with_response_stream(call: Call) -> HttpAnswer:
    """Return a response stream of one payload chunk and the completion: output is not streamed incrementally here."""
    kind = invocation_type(call)
    function, qualifier = call.function()
    what = target(function, qualifier, call.now, tenant_id=call.params.get("TenantId"))
    if kind == "DryRun":
        return HttpAnswer(status=204)
    payload = checked_payload(call.request.body, MAX_SYNC_BYTES)
    result = run(call.platform, what, payload, request_id=call.request.request_id)
    complete: dict[str, str] = {}
    if result.function_error:
        failure = json.loads(result.payload)
        complete = {"ErrorCode": failure.get("errorType", "Unhandled"), "ErrorDetails": result.payload.decode()}
    if call.params.get("LogType") == "Tail":
        complete["LogResult"] = log_tail(result)
    frames = b"" if result.function_error else message("PayloadChunk", "application/octet-stream", result.payload)
    frames += message("InvokeComplete", "application/json", json.dumps(complete).encode())
    return HttpAnswer(
        status=200,
        body=frames,
        headers={"X-Amz-Executed-Version": what.version.number},
        content_type="application/vnd.amazon.eventstream",
    )
