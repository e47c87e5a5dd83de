data "aws_lambda_function" "builder" {
  function_name = var.name
}

# Answers within milliseconds and changes nothing, so it may run with every plan.
data "aws_lambda_invocation" "ping" {
  function_name = data.aws_lambda_function.builder.function_name
  input         = jsonencode({ action = "ping", on_error = "raise" })

  lifecycle {
    postcondition {
      condition     = jsondecode(self.result).ready
      error_message = "The builder ${var.name} still has its starter layer: run `python setup.py init` again."
    }
  }
}

locals {
  ping = jsondecode(data.aws_lambda_invocation.ping.result)
}
