def handler(event, context):
    return "pip"
