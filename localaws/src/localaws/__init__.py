"""An AWS account on this machine, in wings: each imports only from those further down in this list.

- `warm`: a process that forks into servers, so that they start quickly
- `stacks`: a client that deploys CloudFormation templates
- `testing`: servers as context managers, for tests
- `serving`: everything put together, and kept across restarts
- `interception`: the calls of AWS that functions make: recorded, and failed on demand
- `s3`: checks of the real S3 that moto's leaves out
- `states`: Step Functions, whose tasks call this server
- `lambda_`: the Lambda API
- `iam`: callers and their permissions
- `runtime`: where functions run
- `git`: a git server for tests
- `wire`: requests and responses of every service
- `environment`: the variables that point a client here
- `whole`: files and directories that appear whole or not at all
- `starting`: servers as processes
"""
