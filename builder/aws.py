"""The way to AWS, and the only module that imports boto3.

Everything else gets typed clients and our own errors. Importing this module does not import boto3: that costs 0.2 s,
and `ping` or a bad event need no client.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

from builder.awserrors import translated
from builder.errors import AwsRefused, AwsUnavailable, InvalidConfiguration
from builder.network.calls import Calls

if TYPE_CHECKING:
    import boto3
    from botocore.awsrequest import AWSRequest
    from botocore.client import BaseClient
    from botocore.config import Config
    from botocore.credentials import ReadOnlyCredentials
    from botocore.exceptions import ClientError
    from botocore.model import OperationModel
    from botocore.retries.quota import RetryQuota
    from types_boto3_iam import IAMClient
    from types_boto3_lambda import LambdaClient
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_s3 import S3Client
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_ssm import SSMClient
    from types_boto3_sts import STSClient

C = TypeVar("C", bound="BaseClient")


@dataclass(frozen=True, kw_only=True)
class SessionCredentials:
    """Credentials of a role's session, to be handed on."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)

    def as_json(self) -> dict[str, object]:
        """Return the credentials as JSON, for the worker."""
        return asdict(self)


class Clients:
    """AWS clients of one account and region, each made at its first use.

    Standard retries, five attempts (of Lambda: eight): botocore repeats what was throttled or answered 5xx.
    """

    def __init__(self, session: boto3.Session, config: Config) -> None:
        self._session = session
        self._config = config
        self.calls = Calls()
        self._quotas: list[RetryQuota] = []
        # Functions of a project are published by several threads, and a session makes one client at a time.
        self._making = threading.Lock()
        session.events.register("request-created", self._note)

    def begin_build(self) -> None:
        """Reset the counts of calls, and let each client retry as often as a new one may.

        Clients outlive builds, and botocore takes all retries of a client from one quota, which successful calls refill
        only slowly: after a storm of throttling, a few throttles would end the next build. Refilling takes a
        microsecond; new clients of Lambda and S3 take 10 ms, and new connections.
        """
        self.calls.counts.clear()
        for quota in self._quotas:
            quota.release(quota.INITIAL_CAPACITY)

    def _noted(self, client: C) -> C:
        """Note the client's quota for retries, which botocore keeps private, and return the client."""
        from botocore.retries.standard import register_retry_handler

        meta: Any = client.meta
        name = meta.service_model.service_id.hyphenize()
        meta.events.unregister(f"needs-retry.{name}", unique_id=f"retry-config-{name}")
        handler: Any = register_retry_handler(client, meta.config.retries["total_max_attempts"])
        self._quotas.append(handler._retry_quota._quota)
        return client

    def _note(self, request: AWSRequest, operation_name: str, event_name: str, **_: object) -> None:
        # https://docs.aws.amazon.com/boto3/latest/guide/events.html: request-created.SERVICE.OPERATION, per attempt
        self.calls.note(event_name.split(".")[1], operation_name)

    def expect_owner(self, bucket: str, account: str) -> None:
        """Make S3 accept `bucket` only while it is the account's. Call this before any request to S3.

        Anyone can make a deleted bucket again, and would then get what is meant for ours. Other buckets are those that
        a caller names, of any account: there IAM decides.
        """

        def add(params: dict[str, object], model: OperationModel, **_: object) -> None:
            known = model.input_shape.members if model.input_shape else {}
            if params.get("Bucket") == bucket and "ExpectedBucketOwner" in known:
                params.setdefault("ExpectedBucketOwner", account)

        # https://docs.aws.amazon.com/boto3/latest/guide/events.html: provide-client-params.SERVICE.OPERATION
        self._session.events.register("provide-client-params.s3", add)

    @property
    def region(self) -> str:
        """Region that all clients talk to."""
        return self._session.region_name or ""

    def credentials(self) -> ReadOnlyCredentials:
        """Return what the clients sign with now.

        Raises:
            InvalidConfiguration: there are no credentials.
        """
        found = self._session.get_credentials()
        if found is None:
            raise InvalidConfiguration(
                "no AWS credentials were found", hint="set aws_profile in config.ini, or run `aws configure`"
            )
        return found.get_frozen_credentials()

    @cached_property
    def lambda_(self) -> LambdaClient:
        """Client that slows down when throttled: builders of one account share a rate that none can count alone."""
        from botocore.config import Config

        yielding = Config(retries={"mode": "adaptive", "total_max_attempts": 8})
        with self._making:
            return self._noted(self._session.client("lambda", config=self._config.merge(yielding)))

    @cached_property
    def lambda_patient(self) -> LambdaClient:
        """Client for synchronous invokes: waits as long as Lambda may take and never repeats one by itself."""
        from botocore.config import Config

        # 900 s is Lambda's limit, plus some for the way. A repeated invoke would run the function twice.
        patient = Config(read_timeout=910, retries={"total_max_attempts": 1})
        with self._making:
            return self._noted(self._session.client("lambda", config=self._config.merge(patient)))

    @cached_property
    def s3(self) -> S3Client:
        with self._making:
            return self._noted(self._session.client("s3", config=self._config))

    @cached_property
    def iam(self) -> IAMClient:
        with self._making:
            return self._noted(self._session.client("iam", config=self._config))

    @cached_property
    def sts(self) -> STSClient:
        with self._making:
            return self._noted(self._session.client("sts", config=self._config))

    @cached_property
    def secretsmanager(self) -> SecretsManagerClient:
        with self._making:
            return self._noted(self._session.client("secretsmanager", config=self._config))

    @cached_property
    def logs(self) -> CloudWatchLogsClient:
        with self._making:
            return self._noted(self._session.client("logs", config=self._config))

    def codeartifact_token(self, account: str, domain: str) -> str:
        """Return a password for the domain's repositories, valid as long as the role's own credentials."""
        with self._making:
            client = self._noted(self._session.client("codeartifact", config=self._config))
        answer = client.get_authorization_token(domain=domain, domainOwner=account, durationSeconds=0)
        return str(answer["authorizationToken"])

    def assume_role(self, role: str, session: str, policy: Mapping[str, object], *, seconds: int) -> SessionCredentials:
        """Return a session of another role, restricted to what `policy` allows."""
        answer = self.sts.assume_role(
            RoleArn=role, RoleSessionName=session, Policy=json.dumps(policy), DurationSeconds=seconds
        )["Credentials"]
        return SessionCredentials(
            access_key_id=answer["AccessKeyId"],
            secret_access_key=answer["SecretAccessKey"],
            session_token=answer["SessionToken"],
        )

    @cached_property
    def states(self) -> Any:
        """Client of Step Functions, whose types are in `flow/executions.py`."""
        with self._making:
            return self._noted(self._session.client("stepfunctions", config=self._config))

    def stack_resources(self, stack: str) -> list[tuple[str, str, str]]:
        """Return the resources of a CloudFormation stack: logical id, type, physical id."""
        with self._making:
            client = self._noted(self._session.client("cloudformation", config=self._config))
        pages = client.get_paginator("list_stack_resources").paginate(StackName=stack)
        return [
            (row["LogicalResourceId"], row["ResourceType"], row.get("PhysicalResourceId", ""))
            for page in pages
            for row in page["StackResourceSummaries"]
        ]

    @cached_property
    def ssm(self) -> SSMClient:
        with self._making:
            return self._noted(self._session.client("ssm", config=self._config))


def connect(
    *,
    profile: str | None = None,
    region: str | None = None,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
    session_token: str | None = None,
) -> Clients:
    """Return clients for the given profile and region; what is missing comes from boto3's usual chain.

    Raises:
        InvalidConfiguration: there is no such profile, or no region anywhere.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ProfileNotFound

    try:
        session = boto3.Session(
            profile_name=profile,
            region_name=region,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            aws_session_token=session_token,
        )
    except ProfileNotFound as error:
        raise InvalidConfiguration(
            f"AWS profile {profile!r} does not exist", hint="see `aws configure list-profiles`"
        ) from error
    if not session.region_name:
        raise InvalidConfiguration(
            "no AWS region is set", hint="set aws_region in config.ini, or AWS_REGION, or the profile's region"
        )
    config = Config(retries={"mode": "standard", "total_max_attempts": 5}, max_pool_connections=32, connect_timeout=10)
    return Clients(session, config)


def invoke_later(clients: Clients, function: str, event: Mapping[str, object]) -> None:
    """Make Lambda invoke a function with an event, without waiting for it.

    Raises:
        AccessDenied, AwsRefused, AwsUnavailable: Lambda refuses.
    """
    with aws_errors(f"invoking {function}"):
        clients.lambda_.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(event).encode())


# https://docs.aws.amazon.com/codecommit/latest/userguide/regions.html
CODECOMMIT_URL = re.compile(
    r"https://(?:vpce-[\w.-]+\.)?git-codecommit(?:-fips)?\.(?P<region>[a-z0-9-]+)\.(?:vpce\.)?amazonaws\.com(?:\.cn)?"
    r"/v1/repos/[\w.-]+\Z",
    re.ASCII,
)


def codecommit_credentials(clients: Clients, url: str) -> tuple[str, str]:
    """Return user and password that CodeCommit takes for the repository at `url`: the role's, for 15 minutes.

    Made like the AWS CLI's credential helper:
    https://github.com/aws/aws-cli/blob/v2/awscli/customizations/codecommit.py

    Raises:
        InvalidConfiguration: there are no credentials, or `url` is not CodeCommit's.
    """
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    found, credentials = CODECOMMIT_URL.match(url), clients.credentials()
    if found is None:
        raise InvalidConfiguration(f"{url} is not the HTTPS address of a CodeCommit repository")
    parts = urlsplit(url)
    signer = SigV4Auth(credentials, "codecommit", found["region"])
    request = AWSRequest(method="GIT", url=url)
    request.context["timestamp"] = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    # Without the payload's hash that other services sign: this is what CodeCommit expects.
    canonical = f"GIT\n{parts.path}\n\nhost:{parts.netloc}\n\nhost\n"
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    username = f"{credentials.access_key}%{credentials.token}" if credentials.token else f"{credentials.access_key}"
    return username, f"{request.context['timestamp']}Z{signature}"


@cache
def service_shapes(service: str) -> Mapping[str, Any]:
    """Return the shapes of all that a service takes and answers, by name, from AWS's own description of it.

    No request is made, and neither a client nor boto3 is needed.
    """
    from botocore.loaders import Loader

    shapes: Mapping[str, Any] = Loader().load_service_model(service, "service-2")["shapes"]
    return shapes


@contextlib.contextmanager
def aws_errors(doing: str) -> Iterator[None]:
    """Translate botocore's errors in the block into ours.

    Args:
        doing: what was attempted, for the message, for example `updating function web`.

    Raises:
        AccessDenied, FunctionBusy, FunctionMissing, AwsUnavailable, AwsRefused, InvalidConfiguration: with AWS's words;
            the original is the cause.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        HTTPClientError,
        NoCredentialsError,
        ParamValidationError,
    )
    from botocore.exceptions import ConnectionError as NoConnection

    try:
        yield
    except ClientError as error:
        raise translated(*_code_and_words(error), doing) from error
    except Boto3Error as error:
        # A transfer in parts wraps S3's answer.
        if isinstance(error.__context__, ClientError):
            raise translated(*_code_and_words(error.__context__), doing) from error.__context__
        raise AwsUnavailable(f"{doing}: {error}", hint="run the same command again") from error
    except NoCredentialsError as error:
        raise InvalidConfiguration(
            f"{doing}: no AWS credentials were found", hint="set aws_profile in config.ini, or run `aws configure`"
        ) from error
    except ParamValidationError:
        raise  # botocore's model refuses the request, so it is our bug
    except (NoConnection, HTTPClientError) as error:
        from builder.network.untrusted import explained

        endpoint = str(getattr(error, "kwargs", {}).get("endpoint_url", ""))
        if untrusted := explained(error, endpoint):
            raise untrusted from error
        unavailable = AwsUnavailable(f"{doing}: {error}", hint="check the network, the region and AWS_ENDPOINT_URL")
        raise unavailable from error
    except BotoCoreError as error:
        refused = AwsRefused(f"{doing}: {error}", hint="check the network, the region and AWS_ENDPOINT_URL")
        raise refused from error


class Expected:
    """Ends its block where AWS answers with an error of one of the `codes`, and keeps it; other errors pass."""

    error: BaseException | None = None

    def __init__(self, codes: Collection[str]) -> None:
        self._codes = codes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        from botocore.exceptions import ClientError

        if isinstance(error, ClientError) and error_code(error) in self._codes:
            self.error = error
        return self.error is not None


def error_code(error: BaseException | None) -> str:
    """Return AWS's error code of an exception or of its cause, or an empty string."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        error = error.__cause__
    return ""


def _code_and_words(error: ClientError) -> tuple[str, str]:
    return error_code(error), str(error.response.get("Error", {}).get("Message", "")).strip()
