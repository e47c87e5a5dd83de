"""Lambdasmith: an AWS Lambda function that builds and deploys Lambda functions, itself included."""

__version__ = "0.1.0"
