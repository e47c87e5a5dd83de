def handler(event, context):
    return "debug"
