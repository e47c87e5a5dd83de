# `terraform test` without an account and without a builder: what this configuration makes of the build file.
mock_provider "aws" {
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/greeter" }
  }
  # What the builder would answer: as much of it as the modules read.
  mock_resource "aws_lambda_invocation" {
    defaults = {
      result = <<-JSON
        {
          "statusCode": 200,
          "warnings": [],
          "packages": [
            {
              "name": "function", "kind": "function", "key": "artifacts/code.zip",
              "source_code_hash": "Y29kZQ=="
            },
            {
              "name": "dependencies", "kind": "layer", "key": "artifacts/layer.zip",
              "source_code_hash": "bGF5ZXI=", "description": null, "license": null,
              "compatible_runtimes": ["python3.13"], "compatible_architectures": ["x86_64"]
            }
          ],
          "function": {
            "runtime": "python3.13", "architecture": "x86_64", "handler": "app.handler", "memory": 256, "timeout": 10,
            "ephemeral_storage": null, "environment": {"GREETING": "Hello"}, "description": null, "tags": null,
            "role": null, "layers": ["dependencies"], "log_retention": null, "url": null, "configuration": {}
          }
        }
      JSON
    }
  }
  mock_resource "aws_lambda_layer_version" {
    defaults = { arn = "arn:aws:lambda:us-east-1:123456789012:layer:greeter-dependencies:1" }
  }
  mock_resource "aws_lambda_function" {
    defaults = { code_sha256 = "Y29kZQ==", version = "1" }
  }
}

override_module {
  target = module.builder
  outputs = {
    function_name = "lambdasmith"
    bucket        = "builds"
    prefix        = "lambdasmith/"
    architecture  = "x86_64"
    version       = "1"
    fingerprint   = "1"
  }
}

run "apply" {
  assert {
    condition     = output.version == "1"
    error_message = "The version that Lambda names should come out."
  }
  assert {
    condition     = keys(output.layers) == ["dependencies"]
    error_message = "The build file's layer should be attached."
  }
}
