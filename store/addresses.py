"""Addresses to listen on, as settings write them: `127.0.0.1:8700`."""

import ipaddress
import re


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:8700`.

    Raises:
        ValueError: it is not written so.
    """
    host, _, port = address.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        msg = f"{address!r} is no address; write one such as '127.0.0.1:8700'"
        raise ValueError(msg)
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
