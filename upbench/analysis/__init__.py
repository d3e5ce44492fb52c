"""Statistics, effects and power laws of numbers that were measured: pure functions, without torch."""
