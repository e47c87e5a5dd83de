"""An authority of our own, and a server with a certificate of it."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NAME, ORGANISATION = "A Root of Our Own", "Example Corp"


_NO_USE = dict.fromkeys(
    (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    ),
    False,
)


@dataclass(frozen=True, kw_only=True)
class Certified:
    """`authority` is the PEM file of the authority's certificate, `server` that of a server's with its key."""

    authority: Path
    server: Path


def certified(folder: Path, *, host: str = "127.0.0.1", days: int = 1, itself: bool = False) -> Certified:
    """A certificate for `host`, good until `days` from now, issued by an authority that nobody else knows.

    `itself`: the server has that of the authority itself.
    """
    now = datetime.datetime.now(datetime.UTC)
    root, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "NL"),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME),
        ]
    )

    def signed(
        name: x509.Name, public: ec.EllipticCurvePublicKey, extension: x509.ExtensionType, *, is_root: bool
    ) -> bytes:
        # Python 3.13 wants all of these.
        uses = {"key_cert_sign": is_root, "crl_sign": is_root, "digital_signature": not is_root}
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=10))
            .not_valid_after(now + datetime.timedelta(days=9 if is_root else days))
            .add_extension(extension, critical=is_root)
            .add_extension(x509.KeyUsage(**{**_NO_USE, **uses}), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
            .sign(root, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)

    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    private = (root if itself else key).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    authority, server = folder / "authority.pem", folder / "server.pem"
    is_authority = x509.BasicConstraints(ca=True, path_length=None)
    authority.write_bytes(signed(issuer, root.public_key(), is_authority, is_root=True))
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    names = x509.SubjectAlternativeName([alternative])
    own = authority.read_bytes() if itself else signed(subject, key.public_key(), names, is_root=False)
    server.write_bytes(own + private)
    return Certified(authority=authority, server=server)
