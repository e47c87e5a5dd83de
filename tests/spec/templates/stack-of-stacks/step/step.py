def handler(event, context):
    return "step"
