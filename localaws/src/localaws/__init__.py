"""An AWS account on this machine, in wings: each imports only from those above it in this list.

- `environment`: the variables that point a client here
- `wire`: requests and answers, whatever they are about
- `git`: a git server for tests
- `runtime`: where functions run
- `iam`: who calls, and what that caller may do
- `lambda_`: the Lambda API
- `s3`: what moto's S3 lets pass and the real one does not
- `interception`: every call that a function makes of AWS: kept, and failed on demand
- `serving`: everything put together, and kept across restarts
- `testing`: servers as context managers, for whoever tests against them
- `stacks`: a client that deploys CloudFormation templates
"""
