from common import WORD


def handler(event, context):
    return WORD
