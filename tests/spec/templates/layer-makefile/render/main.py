from pathlib import Path


def handler(event, context):
    return Path("/opt/fonts/list.txt").read_text().strip()
