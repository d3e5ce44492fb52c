"""What the shell completes: names of upsamplers, their keys and values, and what options may be. Loads no torch."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import typer

VARIABLE = "_UPBENCH_COMPLETE"
"""The environment variable by which a shell asks for completions, and says which shell it is."""
Complete = Callable[[str], list[str]]
"""Returns everything that could be meant; typer keeps what begins with what was typed."""


def one_of(*values: str) -> Complete:
    """Return the completion of an option that takes one of a few values."""
    return lambda incomplete: list(values)


def several(names: Callable[[], Iterable[str]]) -> Complete:
    """Return the completion of an option that takes names separated by commas, each of which is completed."""

    def complete(incomplete: str) -> list[str]:
        before, comma, _ = incomplete.rpartition(",")
        given = before.split(",")
        return [f"{before}{comma}{name}" for name in names() if name not in given]

    return complete


def formats(incomplete: str) -> list[str]:
    """Return the formats of --format."""
    from upbench.report.formats.render import FORMATS

    return list(FORMATS)


def dtypes(incomplete: str) -> list[str]:
    """Return the number types of --dtype."""
    from upbench.specs.sections import DTYPES

    return list(DTYPES)


def modes(incomplete: str) -> list[str]:
    """Return the modes of --mode."""
    from upbench.specs.sections import MODES

    return list(MODES)


def shapes(incomplete: str) -> list[str]:
    """Return the named shapes."""
    from upbench.specs.shapes import NAMED

    return list(NAMED)


def hosts(incomplete: str) -> list[str]:
    """Return the host models, those with another backbone and the variants of each."""
    from upbench import papers

    known = {**papers.hosts(), **papers.aliases()}
    return [name for host in known for name in (host, *(f"{host}/{variant}" for variant in known[host].variants))]


def tables(incomplete: str) -> list[str]:
    """Return the published tables."""
    from upbench import papers

    return papers.names()


def metrics(incomplete: str) -> list[str]:
    """Return the measured quantities."""
    from upbench.metrics import METRICS

    return list(METRICS)


def _columns() -> list[str]:
    from upbench.report.tables import column_choice

    return column_choice.names()


def columns(incomplete: str) -> list[str]:
    """Return the columns and groups of columns of --columns."""
    return several(_columns)(incomplete)


def conventions(incomplete: str) -> list[str]:
    """Return the counting conventions of FLOPs and parameters."""
    from upbench import conventions as known

    return several(lambda: dict.fromkeys((*known.FLOPS, *known.PARAMS)))(incomplete)


def bounds(incomplete: str) -> list[str]:
    """Return the quantities of METRIC=VALUE, each with an equals sign and an example of a value."""
    from upbench.metrics import with_evidence

    examples = {"latency": "10ms", "params": "50k"}

    def known() -> list[str]:
        return [
            f"{name}={examples.get(name, '100MiB' if 'memory' in name else '1G')}"
            for name, m in with_evidence().items()
        ]

    return several(known)(incomplete)


def upsamplers(incomplete: str) -> list[str]:
    """Return the upsamplers; behind a name and a colon, its keys with their values, as ldaaqu:theta=11."""
    from upbench import registry

    name, colon, rest = incomplete.partition(":")
    if not colon:
        return registry.names()
    before, comma, _ = rest.rpartition(",")
    given = [part.partition("=")[0] for part in before.split(",")]
    return [f"{name}:{before}{comma}{pair}" for pair in _pairs([name]) if pair.partition("=")[0] not in given]


def patterns(incomplete: str) -> list[str]:
    """Return what `compare` takes: the upsamplers as `upsamplers` has them, and all."""
    return [*upsamplers(incomplete), *([] if ":" in incomplete else ["all"])]


def assignments(context: typer.Context, incomplete: str) -> list[str]:
    """Return the keys of --set with their values, of the upsamplers that stand on the line before; else of all."""
    from upbench import registry

    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    parsed = [
        str(text) for value in context.params.values() for text in (value if isinstance(value, list) else [value])
    ]
    typed = [*parsed, *_split(line)]  # an option without its value keeps the arguments before it from being parsed
    names = list(dict.fromkeys(name for text in typed if (name := text.partition(":")[0]) in registry.names()))
    return _pairs(names or registry.names())


def _pairs(names: Sequence[str]) -> list[str]:
    """Return key=value for every parameter of upsamplers: every value where it is one of a few, else the default."""
    from upbench import cards

    found: dict[str, None] = {}
    for name in names:
        card = cards.builtin().get(name)
        for param in card.params if card else ():
            values = (True, False) if param.type is bool else param.choices or (param.default,)
            for value in values:
                found[f"{param.name}={_yaml(value)}"] = None
    return list(found)


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def in_bash(app: Callable[[], Any]) -> None:
    """Answer bash, which cuts words at every : and =, so that `ldaaqu:theta=5` comes as five words.

    The words are joined before the application sees them, and each answer loses the part that bash has on its line already.

    Args:
        app: The application, which prints the answers.
    """
    words, at = os.environ.get("COMP_WORDS", ""), os.environ.get("COMP_CWORD", "")
    joined, position, cut = join_words(_split(words), int(at) if at.isdigit() else 0)
    os.environ |= {"COMP_WORDS": shlex.join(joined), "COMP_CWORD": str(position)}
    printed = io.StringIO()
    code: Any = 0
    with contextlib.redirect_stdout(printed):
        try:
            app()
        except SystemExit as end:
            code = end.code
    for line in printed.getvalue().splitlines():
        typer.echo(line[cut:])
    raise SystemExit(code)


def in_zsh() -> None:
    """Prepare the answer to zsh, which takes `--format=la` for one word: what stands before the value is set aside first."""
    words = os.environ.get("_TYPER_COMPLETE_ARGS", "").split(" ")
    if option := re.match(r"--[a-z-]+=", words[-1]):
        typer.echo(f"compset -P {shlex.quote(option[0])};", nl=False)


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # an open quote
        return line.split()


def join_words(words: Sequence[str], position: int) -> tuple[list[str], int, int]:
    """Join the words that bash cut at : and =.

    Args:
        words: The words as bash has them.
        position: The index of the word that is completed; the number of words for a new one.

    Returns:
        The joined words, the index of the one that is completed, and how many of its characters stand before the last cut.
    """
    joined: list[str] = []
    glued, cut, where = False, 0, len(words)
    for n, word in enumerate(words):
        breaks = n > 1 and re.fullmatch(r"[:=]+", word) is not None
        if breaks and joined[-1].startswith("--"):  # --format=latex is an option and its value
            word, breaks, glued = "", False, False
            if n + 1 < len(words) and n != position:
                continue
        if n > 1 and (glued or breaks):
            joined[-1] += word
        else:
            joined.append(word)
        if n == position:
            where, cut = len(joined) - 1, len(joined[-1]) - (0 if breaks else len(word))
        glued = breaks
    return (joined, len(joined), 0) if position >= len(words) else (joined[: where + 1], where, cut)
