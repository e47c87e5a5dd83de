def handler(event, context):
    return "jobs"
