"""GPU hosts over SSH, and their agents."""
