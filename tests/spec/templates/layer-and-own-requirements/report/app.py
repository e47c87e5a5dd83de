import idna
import six


def handler(event, context):
    return idna.encode("report").decode() + six.__name__
