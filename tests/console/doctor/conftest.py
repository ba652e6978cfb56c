"""What the doctor's tests borrow."""

from tests.console.hosts.conftest import answering

__all__ = ["answering"]
