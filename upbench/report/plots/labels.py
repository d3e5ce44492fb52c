"""Labels beside points so that none covers another: pure geometry, in any unit, the same result every time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_DIRECTIONS = tuple(math.radians(a) for a in (0, 180, 90, 270, 45, 135, 315, 225, 22, 158, 202, 338, 68, 112, 248, 292))
ROUNDS = 24
"""How many orders in which labels choose are tried."""
NOWHERE = 100
"""What a label without a place costs, in steps: more than any place."""

Stroke = tuple[tuple[float, float], tuple[float, float]]
"""A line from one point to another."""


@dataclass(frozen=True)
class Box:
    """A rectangle; y grows upward."""

    x0: float
    y0: float
    x1: float
    y1: float

    def overlaps(self, other: Box, gap: float = 0.0) -> bool:
        return (
            self.x0 < other.x1 + gap
            and other.x0 < self.x1 + gap
            and self.y0 < other.y1 + gap
            and other.y0 < self.y1 + gap
        )

    def inside(self, other: Box) -> bool:
        return self.x0 >= other.x0 and self.x1 <= other.x1 and self.y0 >= other.y0 and self.y1 <= other.y1


@dataclass(frozen=True)
class Anchor:
    """A point with a name. radius: of its marker, which no label covers; soft: of what a label rather leaves free."""

    x: float
    y: float
    width: float
    height: float
    radius: float
    soft: float = 0.0


@dataclass(frozen=True)
class LabelPosition:
    """Where a label goes. leader: the ends of the line from the point to its label, None where it stands close by."""

    box: Box
    leader: Stroke | None


def place(
    anchors: Sequence[Anchor], area: Box, strokes: Sequence[Stroke] = (), step: float = 6.0
) -> list[LabelPosition | None]:
    """A place for each label inside `area`, None for one that finds none within 20 steps of its point.

    No label covers another label, a marker, a leader or one of the strokes. The most crowded points choose first; then,
    round by round, those that have lost most by their turn so far. What is best for all together is kept.
    """
    markers = [Box(a.x - a.radius, a.y - a.radius, a.x + a.radius, a.y + a.radius) for a in anchors]
    options = [_options(anchors, n, area, markers, strokes, step) for n in range(len(anchors))]
    order = sorted(range(len(anchors)), key=lambda n: (-_crowd(anchors, n), n))
    lost = dict.fromkeys(order, 0.0)
    best: dict[int, _Option] = {}
    for _ in range(ROUNDS):
        found = _in_turn(order, options, step)
        if not best or sum(_cost(found, n, step) for n in order) < sum(_cost(best, n, step) for n in order):
            best = found
        more = {n: _cost(found, n, step) - min(o.cost for o in options[n]) for n in order if options[n]}
        if not any(more.values()):
            break
        lost = {n: lost[n] + more.get(n, 0.0) for n in order}
        order = sorted(order, key=lambda n: -lost[n])
    return [best[n].place if n in best else None for n in range(len(anchors))]


def _cost(found: Mapping[int, _Option], n: int, step: float) -> float:
    return found[n].cost if n in found else NOWHERE * step


@dataclass(frozen=True)
class _Option:
    """A place that a label could have as far as points and strokes go, with what it costs."""

    cost: float
    place: LabelPosition


def _options(
    anchors: Sequence[Anchor], n: int, area: Box, markers: Sequence[Box], strokes: Sequence[Stroke], step: float
) -> list[_Option]:
    """The places of one label while there are no other labels, the cheapest first."""
    free = [
        _Option(cost, candidate)
        for cost, candidate in _candidates(anchors, n, step)
        if candidate.box.inside(area)
        and not any(candidate.box.overlaps(marker, step / 6) for marker in markers)
        and not any(crosses(stroke, candidate.box) for stroke in strokes)
    ]
    others = [marker for k, marker in enumerate(markers) if k != n]
    clear = [o for o in free if not (o.place.leader and any(crosses(o.place.leader, marker) for marker in others))]
    # A point between others can only be reached across one of them: such places come last.
    last = {id(o) for o in clear}
    return sorted(free, key=lambda o: (id(o) not in last, o.cost))


def _in_turn(order: Sequence[int], options: Sequence[Sequence[_Option]], step: float) -> dict[int, _Option]:
    """Each label in turn takes the first of its places that those before it have left free."""
    found: dict[int, _Option] = {}
    for n in order:
        boxes = [o.place.box for o in found.values()]
        leaders = [o.place.leader for o in found.values() if o.place.leader]
        for option in options[n]:
            box, leader = option.place.box, option.place.leader
            if (
                not any(box.overlaps(other, step / 6) for other in boxes)
                and not any(crosses(other, box) for other in leaders)
                and not (leader and any(crosses(leader, other) for other in boxes))
            ):
                found[n] = option
                break
    return found


def _crowd(anchors: Sequence[Anchor], n: int) -> int:
    """How many points lie within the length of the label."""
    here = anchors[n]
    near = here.width + here.radius
    return sum(math.hypot(a.x - here.x, a.y - here.y) < near for a in anchors)


def _candidates(anchors: Sequence[Anchor], n: int, step: float) -> list[tuple[float, LabelPosition]]:
    """Boxes around a point in rings, with what each costs: its distance, circles that it covers, a point beside it
    that is another's."""
    here = anchors[n]
    found = []
    for start in sorted({here.radius, here.soft}):
        for ring in range(20):
            away = start + step / 3 + ring * step
            for rank, angle in enumerate(_DIRECTIONS):
                dx, dy = math.cos(angle), math.sin(angle)
                middle_x = here.x + dx * away + max(-1.0, min(1.0, 1.5 * dx)) * here.width / 2
                middle_y = here.y + dy * away + max(-1.0, min(1.0, 1.5 * dy)) * here.height / 2
                box = Box(
                    middle_x - here.width / 2,
                    middle_y - here.height / 2,
                    middle_x + here.width / 2,
                    middle_y + here.height / 2,
                )
                covered = sum(_covers(box, a) for a in anchors)
                gap = _gap(box, here) - max(here.soft, here.radius)
                leader = _leader(here, box) if gap > 0.7 * step else None
                elsewhere = any(_gap(box, a) - a.radius < min(gap, step) for k, a in enumerate(anchors) if k != n)
                cost = away - here.radius + step * (8 * covered + 4 * elsewhere + (leader is not None) + rank / 50)
                found.append((cost, LabelPosition(box, leader)))
    return found


def _covers(box: Box, anchor: Anchor) -> bool:
    return _gap(box, anchor) < anchor.soft


def _gap(box: Box, anchor: Anchor) -> float:
    """From a point to the nearest edge of a box; 0 inside it."""
    x, y = min(max(anchor.x, box.x0), box.x1), min(max(anchor.y, box.y0), box.y1)
    return math.hypot(anchor.x - x, anchor.y - y)


def _leader(anchor: Anchor, box: Box) -> Stroke:
    """From the rim of the marker to the nearest point of the box."""
    x, y = min(max(anchor.x, box.x0), box.x1), min(max(anchor.y, box.y0), box.y1)
    length = math.hypot(x - anchor.x, y - anchor.y) or 1.0
    part = anchor.radius / length
    return (anchor.x + (x - anchor.x) * part, anchor.y + (y - anchor.y) * part), (x, y)


def crosses(line: Stroke, box: Box) -> bool:
    """Whether a line from point to point goes through a box (Liang and Barsky 1984)."""
    (x0, y0), (x1, y1) = line
    enter, leave = 0.0, 1.0
    for delta, before, after in ((x1 - x0, x0 - box.x0, box.x1 - x0), (y1 - y0, y0 - box.y0, box.y1 - y0)):
        if delta == 0:
            if before < 0 or after < 0:
                return False
            continue
        first, last = sorted((-before / delta, after / delta))
        enter, leave = max(enter, first), min(leave, last)
    return enter < leave
