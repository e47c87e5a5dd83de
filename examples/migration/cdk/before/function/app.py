"""Makes a small picture of a big one; both are base64."""

import base64
import io
import os

from PIL import Image

EDGE = int(os.environ.get("EDGE", "64"))


def handler(event, context):
    picture = Image.open(io.BytesIO(base64.b64decode(event["picture"])))
    before = picture.size
    picture.thumbnail((EDGE, EDGE))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return {"before": before, "after": picture.size, "picture": base64.b64encode(out.getvalue()).decode()}
