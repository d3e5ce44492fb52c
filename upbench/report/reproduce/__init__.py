"""The page and the tables of the audit of printed figures."""
