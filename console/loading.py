"""Imports that are put off until they are needed, one at a time.

A thread that imports a part of a package while another one is still importing the package itself may be given half
of it: CPython breaks the deadlock of their locks, and SQLAlchemy, whose parts import one another, then fails.
"""

import threading

LOADING = threading.RLock()


def load_store() -> None:
    """SQLAlchemy and SQLModel, whole: nothing of ours that reads the store imports itself in a circle."""
    with LOADING:
        import sqlmodel  # noqa: F401
