def handler(event, context):
    return "web"
