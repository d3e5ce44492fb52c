"""Pictures of records: a metric against an axis, accuracy against cost, the Pareto front, latency against size.

What is drawn is gathered by modules that need no matplotlib (quantities, series, accuracy, labels); only those that
draw import it, and only `upbench plot` imports those.
"""
