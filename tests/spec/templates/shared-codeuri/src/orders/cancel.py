def handler(event, context):
    return "cancelled"
