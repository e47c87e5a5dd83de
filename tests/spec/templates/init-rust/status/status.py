def handler(event, context):
    return "up"
