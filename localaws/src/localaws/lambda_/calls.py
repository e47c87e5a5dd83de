"""Arguments of every Lambda operation: the platform and the call."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from localaws.iam.policies import Principal
from localaws.lambda_.model import Function, Package, Region, Version
from localaws.lambda_.packages import PackageStore
from localaws.lambda_.rates import ControlPlaneRates
from localaws.runtime.execution import BadArchive, Credentials, Fleet, FunctionImage, RuntimeUnavailable, extract
from localaws.wire.errors import AccessDeniedException, InvalidParameterValueException, ResourceNotFoundException
from localaws.wire.requests import HttpRequest, Json

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Platform:
    """Machinery behind the control plane, shared by all accounts and regions.

    `pending_s` is how long a created function is Pending and an updated one InProgress. `enforce_iam` turns on the
    evaluation of policies. `invoke_event` invokes the function of an ARN asynchronously, for outcomes that are another
    function's events. `rates` throttles callers as Lambda does.
    """

    fleet: Fleet
    packages: PackageStore
    cache: Path
    endpoint_url: str
    pending_s: float
    enforce_iam: bool
    invoke_event: Callable[[str, bytes], None]
    rates: ControlPlaneRates
    retry_delays_s: tuple[float, ...] = (1.0, 2.0)  # AWS waits minutes between retries; that would make tests too slow
    clock: Callable[[], float] = time.time
    _trees: dict[str, Path] = field(default_factory=dict)

    def tree(self, package: Package) -> Path:
        """Return the directory with the content of a package.

        Raises:
            BadArchive: the zip is damaged.
        """
        known = self._trees.get(package.sha256)
        if known is None:
            known = extract(self.packages.path(package.sha256), self.cache)
            # Two threads may both get here: unpacking is by content and ends with a rename, so both have the same
            # directory.
            self._trees[package.sha256] = known
        return known

    def image(self, function: Function, version: Version, tenant_id: str | None = None) -> FunctionImage:
        """Return the image of one version of a function, for a tenant if the function isolates tenants.

        Raises:
            BadArchive: its code or a layer is a damaged zip.
        """
        configuration = version.configuration
        return FunctionImage(
            name=function.name,
            arn=function.arn,
            version=version.number,
            revision=f"{version.number}/{version.build}",
            account=function.account,
            region=function.region,
            runtime=configuration.runtime or "",
            handler=configuration.handler or "",
            architecture=configuration.architecture,
            code=self.tree(version.package),
            layers=tuple(self.tree(layer.package) for layer in configuration.layers),
            environment=dict(configuration.environment),
            timeout_s=configuration.timeout_s,
            memory_mb=configuration.memory_mb,
            ephemeral_mb=configuration.ephemeral_mb,
            credentials=partial(_credentials, function, configuration.role),
            endpoint_url=self.endpoint_url,
            log_group=function.log_group(version),
            tenant_id=tenant_id,
        )

    def prepare(self, function: Function, version: Version) -> None:
        """Start unpacking code and layers before the first invoke needs them: it is the real cost of a cold start."""

        def work() -> None:
            try:
                self.fleet.prepare(self.image(function, version))
            except BadArchive as error:
                log.warning("%s cannot be unpacked: %s", function.arn, error)
            except RuntimeUnavailable as error:
                log.warning("%s cannot run here: %s", function.arn, error)
            except Exception:
                log.exception("preparing %s failed", function.arn)

        if version.configuration.package_type == "Zip":
            threading.Thread(target=work, name=f"prepare-{function.name}", daemon=True).start()


def _credentials(function: Function, role: str) -> Credentials:
    """Issue credentials of the role, for a session named after the function."""
    # By moto's STS, so that GetCallerIdentity in the function answers with the assumed role.
    from moto.sts.models import sts_backends

    session = sts_backends[function.account]["aws"].assume_role(
        region_name=function.region,
        role_session_name=function.name,
        role_arn=role,
        policy="",
        duration=12 * 3600,
        external_id="",
    )
    return Credentials(
        access_key_id=session.access_key_id,
        secret_access_key=session.secret_access_key,
        session_token=session.session_token,
    )


@dataclass(frozen=True, kw_only=True)
class Call:
    """Parsed request of the Lambda API: caller, region and parameters."""

    platform: Platform
    region: Region
    caller: Principal
    request: HttpRequest
    params: Json
    all_regions: Callable[[str], Region]

    @property
    def now(self) -> float:
        return self.platform.clock()

    def function(self) -> tuple[Function, str | None]:
        """Return the function that FunctionName (a name, `name:qualifier` or ARN) and Qualifier address.

        Raises:
            ResourceNotFoundException: there is no such function.
        """
        name, qualifier = self.reference()
        function = self.region.functions.get(name)
        if function is None:
            suffix = f":{qualifier}" if qualifier else ""
            raise ResourceNotFoundException(f"Function not found: {self.function_arn(name)}{suffix}")
        return function, qualifier

    def unqualified_function(self) -> Function:
        """Return the function addressed by name alone, for operations that work on `$LATEST`."""
        function, qualifier = self.function()
        if qualifier not in (None, "$LATEST"):
            raise InvalidParameterValueException(
                "This operation is permitted on Lambda functions only without qualifier."
            )
        return function

    def function_arn(self, name: str) -> str:
        return f"arn:aws:lambda:{self.region.name}:{self.region.account}:function:{name}"

    def reference(self) -> tuple[str, str | None]:
        """Return the call's function name and qualifier, in any of the accepted forms."""
        name, derived = split_function(self.params["FunctionName"], self.region)
        qualifier = self.params.get("Qualifier")
        if derived and qualifier and derived != qualifier:
            raise InvalidParameterValueException(
                "The derived qualifier from the function name does not match the specified qualifier."
            )
        return name, qualifier or derived


def split_function(text: str, region: Region) -> tuple[str, str | None]:
    """Return the name and qualifier in a function name, partial ARN (`123456789012:function:name`) or ARN.

    Raises:
        AccessDeniedException, ResourceNotFoundException: an ARN of another account or region.
    """
    parts = text.split(":")
    if text.startswith("arn:"):
        if parts[3] != region.name:
            raise ResourceNotFoundException(
                f"Functions from '{parts[3]}' are not reachable in this region ('{region.name}')"
            )
        if parts[4] != region.account:
            raise AccessDeniedException(f"User is not authorized to access functions of account {parts[4]}")
        parts = parts[6:]
    elif "function" in parts[:-1]:
        parts = parts[parts.index("function") + 1 :]
    return parts[0], parts[1] if len(parts) > 1 else None
