"""A user's own modules: kept apart from the run, and known by the source files that they are made of."""
