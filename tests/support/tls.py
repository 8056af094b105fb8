"""A server's certificate for 127.0.0.1, which only who is told of it trusts."""

import ssl
import subprocess
from pathlib import Path


def self_signed(directory: Path, *, behind: int = 0) -> ssl.SSLContext:
    """Return a server's context with a certificate of about a KiB, and as many more of them `behind` it.

    The certificate is `certificate.pem` in the directory.
    """
    key, certificate, chain = directory / "key.pem", directory / "certificate.pem", directory / "chain.pem"
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    made = ("-keyout", str(key), "-out", str(certificate), "-days", "2")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *made],  # noqa: S607 - the system's
        check=True,
        capture_output=True,
    )
    chain.write_text(certificate.read_text() * (1 + behind))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)
    return context
