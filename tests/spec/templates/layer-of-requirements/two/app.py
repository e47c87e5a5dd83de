import idna


def handler(event, context):
    return idna.encode("two").decode()
