"""Members of the build file's `configuration` that Lambda sets by separate calls, in Lambda's names.

https://docs.aws.amazon.com/lambda/latest/api/API_PutFunctionEventInvokeConfig.html
"""

from __future__ import annotations

EVENT_INVOKE = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")
SEPARATE = ("ReservedConcurrentExecutions", "RuntimeManagementConfig", "CodeSigningConfigArn", *EVENT_INVOKE)
