"""One parameter of an upsampler: its default, and what it may be."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Param:
    """One parameter of an upsampler, with its default and what it may be.

    Args:
        name: the name in specs and of the constructor's argument.
        default: the default; of a user's own class the text that stands for it where no spec can hold it.
        doc: what it is, in words.
        released: the name that the released constructor gives it, None where nothing was released.
        minimum: the least value, None for no bound.
        odd: whether the value must be odd.
        choices: the values that are allowed, None for all of the type.
        kind: the type of the value, None for that of the default.
        required: whether there is no default.
        positional: whether it cannot be given by name.
        settable: whether a spec may set it.
        own: the default itself, alone in a tuple, where `default` only stands for it.
    """

    name: str
    default: Any
    doc: str
    released: str | None = None
    minimum: float | None = None
    odd: bool = False
    choices: tuple[Any, ...] | None = None
    kind: type | None = None
    required: bool = False
    positional: bool = False
    settable: bool = True
    own: tuple[Any, ...] = field(default=(), compare=False, repr=False)

    @property
    def type(self) -> type:
        """The type that values must have."""
        return self.kind or type(self.default)

    def allowed(self) -> str:
        """Say in words what the parameter may be."""
        if not self.settable:
            return "not settable here: an object of the class"
        words = self._allowed()
        return f"{words}, or null" if self.default is None and self.kind not in (None, object) else words

    def _allowed(self) -> str:
        if self.choices:
            return "one of " + ", ".join(_yaml(c) for c in self.choices)
        if self.type is bool:
            return "true or false"
        noun = {int: "integer", float: "number", str: "text", list: "list" if self.own else None}.get(self.type)
        if noun is None:
            return "any value"
        text = f"an odd {noun}" if self.odd else f"{'an' if noun == 'integer' else 'a'} {noun}"
        return text if self.minimum is None else f"{text} of at least {self.minimum:g}"

    def mistake(self, value: Any) -> str | None:
        """Say in a sentence why the parameter cannot be `value`, or give None where it can.

        None itself may be the value where it is the default.
        """
        if self.own and value == self.default:
            return None
        if not self.settable:
            return (
                f"{self.name} cannot be set from YAML or --set, since its default {self.default} is an object; leave it "
                f"out, or name a class of your own that sets it"
            )
        if value is None and self.default is None and not self.required:
            return None
        if self.choices:
            ok = any(value == c and type(value) is type(c) for c in self.choices)
        elif self.type is bool:
            ok = isinstance(value, bool)
        elif self.type is int:
            ok = isinstance(value, int) and not isinstance(value, bool)
        elif self.type is float:
            ok = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        elif self.type is str:
            ok = isinstance(value, str)
        elif self.type is list and self.own:
            ok = isinstance(value, list | tuple)
        else:
            ok = True
        if ok and self.minimum is not None:
            ok = value >= self.minimum
        if ok and self.odd:
            ok = value % 2 == 1
        return None if ok else f"{self.name} is {_yaml(value)}, but must be {self.allowed()}{self._unquoted(value)}"

    def _unquoted(self, value: Any) -> str:
        """Say how a word is written that YAML takes for true or false; empty where no word was meant."""
        if not isinstance(value, bool) or not (self.type is str or any(isinstance(c, str) for c in self.choices or ())):
            return ""
        words = "yes, on and true as true" if value else "no, off and false as false"
        return f"; YAML reads {words}: quote the word, as '{'yes' if value else 'no'}'"

    def argument(self, value: Any) -> Any:
        """Give what the constructor is called with for a value of a spec: its own default where the value stands for it."""
        if not self.own:
            return value
        (default,) = self.own
        if value == self.default:
            return default
        return tuple(value) if isinstance(default, tuple) and isinstance(value, list) else value


def _yaml(value: Any) -> str:
    """A value as it is written in YAML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    return repr(value) if isinstance(value, str) else str(value)
