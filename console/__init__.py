"""The engineer's screen and the collector behind it."""
