"""Whom we trust over HTTPS, read once a process: to read it is most of what making a client costs."""

import functools
import ssl

import httpx


@functools.cache
def trusted() -> ssl.SSLContext:
    """What httpx trusts by default: SSL_CERT_FILE or SSL_CERT_DIR where one is set, else certifi's bundle."""
    return httpx.create_ssl_context()
