from aws_cdk import App, BundlingOptions, Duration, Stack
from aws_cdk import aws_lambda as lambda_

app = App()
stack = Stack(app, "Pictures")

lambda_.Function(
    stack,
    "Thumbnail",
    runtime=lambda_.Runtime.PYTHON_3_13,
    handler="app.handler",
    code=lambda_.Code.from_asset(
        "function",
        bundling=BundlingOptions(
            image=lambda_.Runtime.PYTHON_3_13.bundling_image,
            command=["bash", "-c", "pip install -r requirements.txt -t /asset-output && cp -au . /asset-output"],
        ),
    ),
    memory_size=512,
    timeout=Duration.seconds(20),
    environment={"EDGE": "64"},
)

app.synth()
