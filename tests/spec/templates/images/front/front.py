def handler(event, context):
    return "front"
