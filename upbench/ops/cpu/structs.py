"""What the entries of the C modules are given: one struct each, whose fields are 8 bytes wide and are filled by name."""

from __future__ import annotations

import ctypes
from typing import Any

ADDRESS, COUNT, REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
"""The types of fields."""


def struct(name: str, **fields: Any) -> type[ctypes.Structure]:
    """Return a C struct: its fields by name, in the order in which they lie there."""
    return type(name, (ctypes.Structure,), {"_fields_": list(fields.items())})
