"""A whole local world: simulated provider, agents, load."""
