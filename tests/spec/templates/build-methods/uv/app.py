def handler(event, context):
    return "uv"
