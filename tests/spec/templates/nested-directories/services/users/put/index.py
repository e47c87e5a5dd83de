def handler(event, context):
    return "put"
