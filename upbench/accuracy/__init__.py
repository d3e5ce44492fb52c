"""Accuracy beside measured cost: what a user gives and what papers printed, joined to records."""
