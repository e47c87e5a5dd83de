def handler(event, context):
    return "worked"
