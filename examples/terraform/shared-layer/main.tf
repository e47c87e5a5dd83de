# One layer, two functions that have it attached. The builder is one that `setup.py init` has set up.
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
  source = "../../../integrations/terraform/installed"
}

resource "aws_iam_role" "functions" {
  name = "shared-layer-example"

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy_attachment" "functions" {
  role       = aws_iam_role.functions.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}

module "shared" {
  source = "../../../integrations/terraform/layer"

  builder    = module.builder
  name       = "shared"
  source_dir = "${path.module}/layer"
}

module "function" {
  source   = "../../../integrations/terraform/function"
  for_each = toset(["hello", "bye"])

  builder      = module.builder
  name         = each.key
  source_dir   = "${path.module}/${each.key}"
  role         = aws_iam_role.functions.arn
  extra_layers = module.shared.arns
}
