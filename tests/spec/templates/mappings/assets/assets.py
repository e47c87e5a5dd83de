def handler(event, context):
    return "assets"
