def handler(event, context):
    return "special"
