"""The ground floor: what is recorded, and what follows from it."""
