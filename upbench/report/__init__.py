"""Records in, text out: columns, tables, and one function for each format."""
