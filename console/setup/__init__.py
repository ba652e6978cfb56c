"""`mtok init`: from a key to settings that work."""
