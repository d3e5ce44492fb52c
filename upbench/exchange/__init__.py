"""Modules that leave for other runtimes: captured as torch's own operators, written to a file, run from it and compared."""
