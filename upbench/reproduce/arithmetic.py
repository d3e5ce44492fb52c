"""Formulas as papers print them, evaluated: whole numbers, names, + - * / **, brackets, and nothing else."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction

from upbench.errors import UpbenchError, suggestion

_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
LARGEST_POWER = 8
"""The largest exponent that a formula may have."""


def evaluate(formula: str, variables: Mapping[str, int]) -> int:
    """Return the whole number that a formula gives. The formula is parsed, never executed.

    Args:
        formula: The formula, as 5*C*d + 4*K**2*C.
        variables: The values of its names.

    Raises:
        UpbenchError: The formula is not arithmetic, has an unknown name, or gives a number that is not whole.
    """
    try:
        tree = ast.parse(formula, mode="eval")
    except (SyntaxError, ValueError):
        raise UpbenchError(f"formula {formula!r} is not arithmetic; write it as 5*C*d + 4*K**2*C") from None
    result = _value(tree.body, variables, formula)
    if result.denominator != 1:
        raise UpbenchError(f"formula {formula!r} gives {float(result):g}, which is not a whole number")
    return int(result)


def _value(node: ast.expr, variables: Mapping[str, int], formula: str) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return Fraction(node.value)
    if isinstance(node, ast.Name):
        if node.id not in variables:
            known = ", ".join(sorted(variables)) or "none"
            raise UpbenchError(
                f"formula {formula!r}: unknown name {node.id!r}; known: {known}{suggestion(node.id, variables)}"
            )
        return Fraction(variables[node.id])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, variables, formula)
    if isinstance(node, ast.BinOp):
        left, right = (_value(side, variables, formula) for side in (node.left, node.right))
        if isinstance(node.op, ast.Pow) and right.denominator == 1 and 0 <= right <= LARGEST_POWER:
            return left ** int(right)
        if type(node.op) in _OPERATORS and not (isinstance(node.op, ast.Div) and right == 0):
            return _OPERATORS[type(node.op)](left, right)
    raise UpbenchError(
        f"formula {formula!r}: {ast.unparse(node)!r} is not allowed; use whole numbers, names, + - * / and ** up to "
        f"{LARGEST_POWER}"
    )
