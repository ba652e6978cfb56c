"""Which process this is, among all that may share a store."""

import os
import socket


def this_process() -> str:
    """Its host and its pid."""
    return f"{socket.gethostname()}:{os.getpid()}"
