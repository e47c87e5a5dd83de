def handler(event, context):
    return "got"
