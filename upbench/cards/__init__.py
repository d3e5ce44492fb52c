"""The cards of all built-in upsamplers: one file per paper, found by looking into this folder."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from upbench.cards.card import Card, Guide, Macs, Paper, Param, Setting
from upbench.cards.signature import from_class
from upbench.errors import UpbenchError

__all__ = ["Card", "Guide", "Macs", "Paper", "Param", "Setting", "builtin", "from_class"]


@cache
def builtin() -> dict[str, Card]:
    """Read the folder's files.

    Returns:
        Every built-in card by name, oldest first.

    Raises:
        UpbenchError: when two cards claim one name.
    """
    found: dict[str, Card] = {}
    for info in pkgutil.iter_modules(__path__):
        if info.name in ("card", "param", "setting", "signature"):
            continue
        module = importlib.import_module(f"{__name__}.{info.name}")
        for card in module.CARDS:
            if card.name in found:
                raise UpbenchError(
                    f"two cards claim the name {card.name!r}: {found[card.name].module} and {card.module}"
                )
            found[card.name] = card
    return dict(sorted(found.items(), key=lambda item: _year(item[1])))


def _year(card: Card) -> int:
    return card.paper.year if card.paper and card.paper.year else 0
