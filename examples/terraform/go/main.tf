# A function in Go: the builder compiles it, and no Go has to be here. The builder is one that `setup.py init` has set up.
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

resource "aws_iam_role" "gopher" {
  name = "gopher"

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy_attachment" "gopher" {
  role       = aws_iam_role.gopher.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}

module "gopher" {
  source = "../../../integrations/terraform/function"

  builder    = module.builder
  name       = "gopher"
  source_dir = "${path.module}/../../go"
  role       = aws_iam_role.gopher.arn
}
