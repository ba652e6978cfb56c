"""What is being done until the engine is there; said by its thread, read by whoever asks meanwhile."""

import structlog

log = structlog.get_logger()


class Loading:
    """The newest word on it."""

    def __init__(self) -> None:
        self.text = "loading"

    def say(self, text: str) -> None:
        """Something else is being done now."""
        self.text = text
        log.info("engine loading", doing=text)
