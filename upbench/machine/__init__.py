"""The machine that measures: what it is, its ceilings and the time that they allow, and how it is held still."""
