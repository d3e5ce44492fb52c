"""Two versions of a module, each in a worker process of its own, measured in turn."""
