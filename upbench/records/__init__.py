"""What was measured: records, where they come from, and the files that hold them."""
