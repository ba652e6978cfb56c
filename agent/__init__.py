"""The headless server on a GPU host: it serves, counts every token, and stops without a lease."""
