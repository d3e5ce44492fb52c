"""Loading released weights: reading a checkpoint, taking the state dict out of it, judging it, loading it."""

from upbench.weights.load import load_weights as load_weights
