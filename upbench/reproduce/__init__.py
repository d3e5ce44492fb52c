"""The audit of printed figures: which counts of the built modules a paper's numbers are. Counts are handed in."""
