"""The variables that point boto3, the AWS CLI and Terraform at an embedded AWS."""

from __future__ import annotations


def client_environment(url: str) -> dict[str, str]:
    """Variables for clients; the keys are the operator's and no secret."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
