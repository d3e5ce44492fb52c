"""Kinds of data, one module each: `load(size, folder, pictures)` returns a `Pictures` and needs no torch."""
