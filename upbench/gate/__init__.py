"""Gates: budgets, baselines and verdicts as pure functions of records.

Exact quantities are gated exactly; time is gated only on evidence, by the interval of a ratio taken in the same rounds.
"""

from upbench.gate.outcome import Finding, Result, exit_code, lines, result_of

__all__ = ["Finding", "Result", "exit_code", "lines", "result_of"]
