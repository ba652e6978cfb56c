"""The certificates that every client of ours trusts, read once: each reading takes as long as ten requests."""

import functools
import ssl

import httpx


@functools.cache
def trusted() -> ssl.SSLContext:
    """What `httpx` trusts by itself, for all clients of this process together."""
    return httpx.create_ssl_context()
