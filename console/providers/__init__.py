"""Adapters to the clouds that bill us, and the simulated one."""
