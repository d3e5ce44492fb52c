"""The measuring instruments: one quantity a file."""
