# All functions of a project in git, from one build file: examples/shop. The builder is one that `setup.py init` has set up.
# A plan has only the functions that the commit changes:
#
#   terraform plan -var repo=OWNER/shop -var ref=$(git rev-parse HEAD)
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

variable "repo" {
  type = string
}

variable "ref" {
  type = string
}

module "builder" {
  source = "../../../integrations/terraform/installed"
}

resource "aws_iam_role" "functions" {
  name = "project-example"

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy_attachment" "functions" {
  role       = aws_iam_role.functions.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}

module "shop" {
  source = "../../../integrations/terraform/functions"

  builder       = module.builder
  name          = "shop"
  repo          = var.repo
  ref           = var.ref
  role          = aws_iam_role.functions.arn
  environment   = { refunds = { CURRENCY = "EUR" } }
  keep_versions = false # no version of a function is published that would need an old one of the layer
}

output "functions" {
  value = module.shop.functions
}
