"""The page of all known differences between papers and released code."""

from __future__ import annotations

from collections.abc import Sequence

from upbench.cards import Card

HEAD = """# Where papers and released code differ

What upbench computes is what the released code computes; these are the places where that is not what the paper says,
where two releases disagree, or where a count needs its convention. `upbench show NAME --notes` prints one part.
"""
"""The text of the page above the differences."""


def lines(card: Card) -> list[str]:
    """Return the notes of one card, numbered; one line that says so where there are none."""
    return [f"{n}. {note}" for n, note in enumerate(card.notes, 1)] or ["nothing known"]


def page(cards: Sequence[Card]) -> str:
    """Return the page of all differences as Markdown; upsamplers of one paper that share their notes share a section."""
    groups: dict[tuple[str, ...], list[Card]] = {}
    for card in cards:
        if card.notes:
            groups.setdefault(card.notes, []).append(card)
    parts = [HEAD]
    for group in groups.values():
        first = group[0]
        source = f"{first.paper.title} ({first.paper.venue} {first.paper.year})" if first.paper else first.summary
        code = f"\nReleased code: {first.paper.code}\n" if first.paper and first.paper.code else ""
        parts.append("\n".join([f"## {', '.join(c.name for c in group)}", source, code, *lines(first), ""]))
    return "\n".join(parts)
