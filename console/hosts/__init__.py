"""GPU hosts: their agents, and later SSH."""
