def handler(event, context):
    return "one"


def list_handler(event, context):
    return ["one"]
