"""Figures in files that other programs read."""
