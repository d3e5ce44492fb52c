"""Sweeps: which cells are measured, in which order, and where."""
