import shared


def handler(event, context):
    return shared.__name__
