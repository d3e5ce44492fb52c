"""The measuring instruments: one quantity a file."""

MEASUREMENT_VERSION = 2
"""The number that two records must share to be comparable, whichever upbench wrote them. Raise it by one when the same module on the same machine gets
another number for a quantity that records held before: other MACs, bytes or times, not a new field or another name. Every
sweep is then measured anew, so it is never raised for a release alone."""
