from aws_cdk import App, Stack
from lambdasmith_cdk import LambdasmithFunction

app = App()
stack = Stack(app, "Pictures")

LambdasmithFunction(
    stack,
    "Thumbnail",
    builder="arn:aws:lambda:us-east-1:123456789012:function:lambdasmith",
    project="function",
    environment={"EDGE": "64"},
)

app.synth()
