def handler(event, context):
    return "billed"
