"""The Python API: the verbs of the command line as functions, and what they return."""
