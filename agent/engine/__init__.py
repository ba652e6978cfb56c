"""Engines behind one protocol: the reference engine in numpy, later ExLlamaV2."""
