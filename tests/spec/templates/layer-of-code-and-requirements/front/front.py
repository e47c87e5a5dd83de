import both
import code_alone


def handler(event, context):
    return both.NAME + code_alone.NAME
