"""The server process: everything put together, served on loopback until told to stop."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localaws.interception.faults import Fault, Faults
from localaws.runtime import network
from localaws.runtime.execution import Engine, Fleet, Isolation
from localaws.serving.state import State, copy_state, load

if TYPE_CHECKING:
    from werkzeug.serving import BaseWSGIServer

    from localaws.lambda_.calls import Platform
    from localaws.wire.wsgi import Application

log = logging.getLogger(__name__)

HOST = "127.0.0.1"  # never another address: functions run whatever code a client uploads
ACCOUNT = "123456789012"
REGION = "us-east-1"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to serve. Port 0 takes any free one; without `state` everything is gone at the end.

    `copy_of` is a state directory to begin with, which is left as it is.
    """

    port: int = 4599
    state: Path | None = None
    copy_of: Path | None = None
    engine: Engine = "own"
    isolation: Isolation = "auto"
    enforce_iam: bool = False
    pending_s: float = 0.15
    rate_limits: bool = False
    faults: tuple[Fault, ...] = ()
    forward_env: tuple[str, ...] = ()
    forward_network: bool = False


class Server:
    """Bound server: `url` accepts connections at once, and requests are answered while `serve_forever` runs."""

    def __init__(self, options: Options) -> None:
        self._temporary = None if options.state else tempfile.TemporaryDirectory(prefix="localaws-")
        self.directory = options.state or Path(self._temporary.name if self._temporary else "")
        self.directory.mkdir(parents=True, exist_ok=True)
        if options.copy_of:
            copy_state(options.copy_of, self.directory)
        _share_downloads(self.directory / "cache", os.environ)
        forwarded = dict(network_settings(frozenset(os.environ.items()))) if options.forward_network else {}
        forwarded |= {name: os.environ[name] for name in options.forward_env if name in os.environ}
        self.fleet = Fleet(
            cache=self.directory / "cache",
            engine=options.engine,
            isolation=options.isolation,
            forwarded=forwarded,
        )
        self.options = options
        self._http = self._bind(options)
        self.url = f"http://{HOST}:{self._http.port}"

    def _bind(self, options: Options) -> BaseWSGIServer:
        configure_moto()
        from moto.moto_server.werkzeug_app import MotoRequestHandler
        from werkzeug.serving import make_server

        from localaws.lambda_ import backend
        from localaws.lambda_.poller import Poller
        from localaws.serving.gate import TOKEN_FILE, Gate, new_token
        from localaws.states import api as states
        from localaws.states.settings import Settings

        # Bound first, because functions and moto itself need the port.
        http = make_server(HOST, options.port, _not_ready, threaded=True, request_handler=_quiet(MotoRequestHandler))
        os.environ["MOTO_PORT"] = str(http.port)
        platform = self._platform(options, http.port)
        backend.install(platform)
        settings = Settings(endpoint_url=platform.endpoint_url, enforce_iam=platform.enforce_iam)
        states.install(settings)
        self._state = State(self.directory) if options.state else None
        # After `install`: what is loaded are backends of ours.
        if options.state or options.copy_of:
            load(self.directory)
            states.resume(settings)
        if self._state:
            self._state.start()
        # A new token at each start, so that an old one is worth nothing.
        self.token_file = self.directory / TOKEN_FILE if options.enforce_iam else None
        token = new_token(self.token_file) if self.token_file else None
        http.app = Gate(self._application(options, platform), token)
        self._poller = Poller(platform, backend.regions)
        self._poller.start()
        return http

    def _platform(self, options: Options, port: int) -> Platform:
        from localaws.lambda_ import backend
        from localaws.lambda_.calls import Platform
        from localaws.lambda_.packages import PackageStore
        from localaws.lambda_.rates import ControlPlaneRates

        return Platform(
            fleet=self.fleet,
            packages=PackageStore(self.directory / "packages"),
            cache=self.directory / "cache",
            endpoint_url=f"http://{HOST}:{port}",
            pending_s=options.pending_s,
            enforce_iam=options.enforce_iam,
            invoke_event=backend.invoke_event,
            rates=ControlPlaneRates(enforced=options.rate_limits),
        )

    def _application(self, options: Options, platform: Platform) -> Application:
        """Return the layers that a request passes, from the outermost: faults, Lambda's own calls, IAM, S3, moto."""
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        from localaws.iam.guard import Guard
        from localaws.interception.interceptor import Interceptor
        from localaws.lambda_ import backend
        from localaws.lambda_.api import LambdaApi
        from localaws.s3.conditions import Conditions
        from localaws.s3.integrity import S3Integrity
        from localaws.serving.front import Front

        moto: Application = Conditions(S3Integrity(DomainDispatcherApplication(create_backend_app)))
        front = Front(
            Guard(moto) if options.enforce_iam else moto,
            LambdaApi(platform, backend.region_of),
            platform,
            self._health,
            self._state.changed if self._state else lambda: None,
        )
        faults = Faults()
        for fault in options.faults:
            faults.add(fault)
        return Interceptor(front, self.fleet.callers, faults, platform.rates)

    def _health(self) -> Mapping[str, Any]:
        return {
            "status": "ready",
            "engine": self.options.engine,
            "isolation": self.fleet.isolation,
            "why": self.fleet.why,
            "runtimes": dict(self.fleet.runtimes),
        }

    def serve_forever(self) -> None:
        """Answer requests until `shutdown` is called from another thread."""
        self._http.serve_forever(poll_interval=0.05)

    def shutdown(self) -> None:
        """Make `serve_forever` return."""
        self._http.shutdown()

    def close(self) -> None:
        """End every running function and release all resources."""
        # The poller first: a batch that it started later would change the account after the last write.
        self._poller.stop()
        if self._state:
            self._state.close()
        self._http.server_close()
        self.fleet.close()
        if self.token_file:
            self.token_file.unlink(missing_ok=True)
        if self._temporary is not None:
            self._temporary.cleanup()


def _share_downloads(cache: Path, environ: Mapping[str, str]) -> None:
    """Keep the downloaded parts of a cache, which all servers share, in the user's cache directory."""
    home = environ.get("XDG_CACHE_HOME") or (f"{environ['HOME']}/.cache" if environ.get("HOME") else "")
    for name in ("runtime", "node", "rie"):
        link = cache / name
        try:
            # Only a new cache: one that has its own downloads already keeps them.
            if home and not link.exists():
                shared = Path(home) / "localaws" / name
                shared.mkdir(parents=True, exist_ok=True)
                cache.mkdir(exist_ok=True)
                link.symlink_to(shared.absolute())
        except OSError as error:
            log.info("%s is not shared between servers: %s", link, error)


@cache
def network_settings(environ: Set[tuple[str, str]]) -> Mapping[str, str]:
    """Return what functions get of this machine's network settings."""
    return network.settings(dict(environ))


def configure_moto() -> None:
    """Set what moto reads when an account is made."""
    from moto.core.config import default_user_config

    default_user_config["iam"]["load_aws_managed_policies"] = True


def _not_ready(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("503 Service Unavailable", [("Content-Length", "0")])
    return [b""]


def _quiet(handler: type[Any]) -> type[Any]:
    """Return the request handler without a line per request; HTTP/1.0, see docs/localaws.md for why that is faster."""

    class Quiet(handler):  # type: ignore[misc]
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            log.debug("%s %s %s", self.command, self.path, code)

    return Quiet
