"""Issues signed tokens and reads them back."""

import os

import jwt
from cryptography.hazmat.primitives.asymmetric import ed25519

KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(os.environ.get("SEED", "00" * 32)))


def lambda_handler(event, context):
    token = jwt.encode({"sub": event["user"]}, KEY, algorithm="EdDSA")
    return {"token": token, "reads": jwt.decode(token, KEY.public_key(), algorithms=["EdDSA"])}
