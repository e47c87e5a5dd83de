"""The CloudFormation door: a custom resource of a stack is built by an event like any other."""
