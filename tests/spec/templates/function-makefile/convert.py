def handler(event, context):
    return "converted"
