"""Clients with which a state machine calls this server, with its role's credentials."""

from __future__ import annotations

import threading
import time
from typing import Any

import boto3
from botocore.config import Config

from localaws.states.settings import Settings

_VALID_S = 3600
_FOREVER_S = 99_999_999  # as long as a task may take, by default (Amazon States Language, TimeoutSeconds)


class Clients:
    """Clients by region, service and role. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._session = boto3.Session(aws_access_key_id="ak", aws_secret_access_key="sk")  # noqa: S106 (not a secret)
        self._known: dict[tuple[str, str, str], tuple[float, Any]] = {}

    def client(self, region: str, service: str, state_credentials: Any = None) -> Any:
        """Return a client; its calls are not repeated, since retrying is up to the state machine."""
        role = state_credentials.role_arn if state_credentials is not None else ""
        now = time.monotonic()
        # One at a time: a session must not make two clients at once.
        with self._lock:
            made, client = self._known.get((region, service, role), (now - _VALID_S, None))
            if now - made >= _VALID_S:
                client = self._new(region, service, role)
                self._known[region, service, role] = now, client
        return client

    def _new(self, region: str, service: str, role: str) -> Any:
        make: Any = self._session.client
        return make(
            service,
            region_name=region,
            endpoint_url=self._settings.endpoint_url,
            config=Config(
                parameter_validation=False,
                retries={"total_max_attempts": 1},
                connect_timeout=_FOREVER_S,
                read_timeout=_FOREVER_S,
                max_pool_connections=100,
            ),
            **(_credentials(region, role) if role and self._settings.enforce_iam else {}),
        )


def _credentials(region: str, role: str) -> dict[str, str]:
    from moto.sts.models import sts_backends

    session = sts_backends[role.split(":")[4]]["aws"].assume_role(
        region_name=region,
        role_session_name="StepFunctions",
        role_arn=role,
        policy="",
        duration=2 * _VALID_S,
        external_id="",
    )
    return {
        "aws_access_key_id": session.access_key_id,
        "aws_secret_access_key": session.secret_access_key,
        "aws_session_token": session.session_token,
    }
