"""Labels of points so that none covers another: pure geometry, in any unit, the same result every time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_DIRECTIONS = tuple(math.radians(a) for a in (0, 180, 90, 270, 45, 135, 315, 225, 22, 158, 202, 338, 68, 112, 248, 292))
ROUNDS = 24
"""The number of orders in which labels choose that are tried."""
NOWHERE = 100
"""The cost of a label without a position, in steps: more than any position."""

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
        """Return whether two boxes overlap or are closer than a gap."""
        return (
            self.x0 < other.x1 + gap
            and other.x0 < self.x1 + gap
            and self.y0 < other.y1 + gap
            and other.y0 < self.y1 + gap
        )

    def inside(self, other: Box) -> bool:
        """Return whether the box lies within another."""
        return self.x0 >= other.x0 and self.x1 <= other.x1 and self.y0 >= other.y0 and self.y1 <= other.y1


@dataclass(frozen=True)
class Anchor:
    """A point with a name.

    Args:
        x: The position of the point.
        y: The same, upward.
        width: The width of the label.
        height: The height of the label.
        radius: The radius of the marker, which no label covers.
        soft: The radius of what a label covers only where it must.
    """

    x: float
    y: float
    width: float
    height: float
    radius: float
    soft: float = 0.0


@dataclass(frozen=True)
class LabelPosition:
    """The box of a label, and the line from its point to it; None where the label is close to the point."""

    box: Box
    leader: Stroke | None


def place_labels(
    anchors: Sequence[Anchor], area: Box, strokes: Sequence[Stroke] = (), step: float = 6.0
) -> list[LabelPosition | None]:
    """Return a position for each label inside an area; None for one that finds none within 20 steps of its point.

    No label covers another label, a marker, a leader or one of the strokes. The most crowded points choose first; then,
    round by round, those that have lost most by their turn so far. What is best for all together is kept.

    Args:
        anchors: The points with the sizes of their labels.
        area: The box that all labels stay in.
        strokes: Lines that no label may cover.
        step: The distance between the rings around a point in which a label is tried.
    """
    markers = [Box(a.x - a.radius, a.y - a.radius, a.x + a.radius, a.y + a.radius) for a in anchors]
    options = [_options(anchors, n, area, markers, strokes, step) for n in range(len(anchors))]
    order = sorted(range(len(anchors)), key=lambda n: (-_crowd(anchors, n), n))
    losses = dict.fromkeys(order, 0.0)
    best: dict[int, _Option] = {}
    for _ in range(ROUNDS):
        taken = _in_turn(order, options, step)
        if not best or sum(_cost(taken, n, step) for n in order) < sum(_cost(best, n, step) for n in order):
            best = taken
        more = {n: _cost(taken, n, step) - min(o.cost for o in options[n]) for n in order if options[n]}
        if not any(more.values()):
            break
        losses = {n: losses[n] + more.get(n, 0.0) for n in order}
        order = sorted(order, key=lambda n: -losses[n])
    return [best[n].place if n in best else None for n in range(len(anchors))]


def _cost(taken: Mapping[int, _Option], n: int, step: float) -> float:
    return taken[n].cost if n in taken else NOWHERE * step


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
    other_markers = [marker for k, marker in enumerate(markers) if k != n]
    clear = [
        o for o in free if not (o.place.leader and any(crosses(o.place.leader, marker) for marker in other_markers))
    ]
    # A point between others can only be reached across one of them: such places come last.
    last = {id(o) for o in clear}
    return sorted(free, key=lambda o: (id(o) not in last, o.cost))


def _in_turn(order: Sequence[int], options: Sequence[Sequence[_Option]], step: float) -> dict[int, _Option]:
    """Each label in turn takes the first of its places that those before it have left free."""
    taken: dict[int, _Option] = {}
    for n in order:
        boxes = [o.place.box for o in taken.values()]
        leaders = [o.place.leader for o in taken.values() if o.place.leader]
        for option in options[n]:
            box, leader = option.place.box, option.place.leader
            if (
                not any(box.overlaps(obstacle, step / 6) for obstacle in boxes)
                and not any(crosses(obstacle, box) for obstacle in leaders)
                and not (leader and any(crosses(leader, obstacle) for obstacle in boxes))
            ):
                taken[n] = option
                break
    return taken


def _crowd(anchors: Sequence[Anchor], n: int) -> int:
    """How many points lie within the length of the label."""
    anchor = anchors[n]
    near = anchor.width + anchor.radius
    return sum(math.hypot(a.x - anchor.x, a.y - anchor.y) < near for a in anchors)


def _candidates(anchors: Sequence[Anchor], n: int, step: float) -> list[tuple[float, LabelPosition]]:
    """Boxes around a point in rings, with what each costs: its distance, circles that it covers, a nearer point
    that is another's."""
    anchor = anchors[n]
    candidates = []
    for start in sorted({anchor.radius, anchor.soft}):
        for ring in range(20):
            away = start + step / 3 + ring * step
            for direction, angle in enumerate(_DIRECTIONS):
                dx, dy = math.cos(angle), math.sin(angle)
                middle_x = anchor.x + dx * away + max(-1.0, min(1.0, 1.5 * dx)) * anchor.width / 2
                middle_y = anchor.y + dy * away + max(-1.0, min(1.0, 1.5 * dy)) * anchor.height / 2
                box = Box(
                    middle_x - anchor.width / 2,
                    middle_y - anchor.height / 2,
                    middle_x + anchor.width / 2,
                    middle_y + anchor.height / 2,
                )
                covered = sum(_covers(box, a) for a in anchors)
                gap = _gap(box, anchor) - max(anchor.soft, anchor.radius)
                leader = _leader(anchor, box) if gap > 0.7 * step else None
                elsewhere = any(_gap(box, a) - a.radius < min(gap, step) for k, a in enumerate(anchors) if k != n)
                cost = (
                    away - anchor.radius + step * (8 * covered + 4 * elsewhere + (leader is not None) + direction / 50)
                )
                candidates.append((cost, LabelPosition(box, leader)))
    return candidates


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
    """Return whether a line from point to point goes through a box (Liang and Barsky 1984)."""
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
