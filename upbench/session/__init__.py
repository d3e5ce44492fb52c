"""Where specs are checked and measured: in a worker process of their own, or in this one, by the same calls."""
