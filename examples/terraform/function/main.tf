# A builder, a role, and a Python function with its dependencies. Before the first apply:
#   python setup.py package build/package     (in the checkout of Lambdasmith)
terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.51"
    }
  }
}

provider "aws" {}

module "builder" {
  source = "../../../integrations/terraform/builder"

  package_dir     = var.package_dir
  functions       = [] # what Terraform deploys, the builder only packages
  force_destroy   = true
  lifecycle_rules = var.lifecycle_rules
}

resource "aws_iam_role" "greeter" {
  name = "greeter"

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy_attachment" "greeter" {
  role       = aws_iam_role.greeter.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}

module "greeter" {
  source = "../../../integrations/terraform/function"

  builder    = module.builder
  name       = "greeter"
  source_dir = "${path.module}/src"
  role       = aws_iam_role.greeter.arn
  alias      = "live"
}
