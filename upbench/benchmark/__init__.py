"""From a spec to a record."""
