"""An AWS account on this machine, in wings: each imports only from those further down in this list.

- `stacks`: a client that deploys CloudFormation templates
- `testing`: servers as context managers, for whoever tests against them
- `serving`: everything put together, and kept across restarts
- `interception`: every call that a function makes of AWS: kept, and failed on demand
- `s3`: what moto's S3 lets pass and the real one does not
- `lambda_`: the Lambda API
- `iam`: who calls, and what that caller may do
- `runtime`: where functions run
- `git`: a git server for tests
- `wire`: requests and answers, whatever they are about
- `environment`: the variables that point a client here
- `whole`: files and directories that appear whole or not at all
"""
