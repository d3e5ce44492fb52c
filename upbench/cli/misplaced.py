"""What is written in the wrong place of a command line: options before the command or at another one, values apart from keys."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from upbench.errors import SpecError


def having(option: str, group: Any) -> list[str]:
    """Return the commands of a group that list an option, by their names."""
    commands: dict[str, Any] = getattr(group, "commands", {})
    return [
        name
        for name, command in commands.items()
        if any(option in param.opts and not getattr(param, "hidden", False) for param in command.params)
    ]


def advice(option: str, others: Sequence[str], takes_params: bool) -> str:
    """Return what an option is that a command does not have, as the end of a sentence.

    Args:
        option: As it was written: "--exact".
        others: The commands that have it.
        takes_params: Whether the command has --set.
    """
    from upbench.cards import builtin

    key = option.lstrip("-").replace("-", "_")
    written = f"a parameter of an upsampler is written --set {key}=VALUE"
    if not others:
        return f"; {written}"
    named = any(param.name == key for card in builtin().values() for param in card.params)
    listed = " and ".join(filter(None, [", ".join(others[:-1]), others[-1]]))
    return f"; it is an option of {listed}{f', and {written}' if takes_params and named else ''}"


def before_command(option: str, group: Any, args: Sequence[str]) -> str:
    """Return where an option belongs that stands before the command, as the end of a sentence; empty where no command has it.

    Args:
        option: As it was written.
        group: The commands.
        args: The whole command line.
    """
    if not (others := having(option, group)):
        return ""
    at = next((n for n, word in enumerate(args) if word in group.commands), None)
    line = [others[0], "...", *args] if at is None else [args[at], *args[at + 1 :], *args[:at]]
    wrong = at is not None and args[at] not in others
    if wrong:
        return advice(option, others, False)
    written = " ".join(word if word == "..." else shlex.quote(word) for word in line)
    return f"; options stand after the name of the command: upbench {written}"


def check_assignments(args: Sequence[str]) -> None:
    """Raise SpecError where a value stands apart from its key, as `--set reduction 4`.

    Args:
        args: The words behind the command's name.
    """
    from upbench.cli import drafts
    from upbench.registry import names

    words = list(args)
    mistakes = []
    for n, word in enumerate(words[:-2]):
        key, value = words[n + 1], words[n + 2]
        if word != "--set" or "=" in key or not key.strip() or value.startswith("-"):
            continue
        if value in names() or ":" in value or drafts.is_file(value):  # the upsampler itself
            continue
        mistakes.append(f"--set {key} {value}: `{key}` is not KEY=VALUE; write --set {shlex.quote(f'{key}={value}')}")
    if mistakes:
        raise SpecError(mistakes)
