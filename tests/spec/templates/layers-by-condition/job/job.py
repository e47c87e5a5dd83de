import common


def handler(event, context):
    return common.__name__
