"""A table as a value, and one file for each format that it is printed in."""
