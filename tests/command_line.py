"""The command line as a user has it: the real app, its exit code, and what it prints."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from upbench.cli.app import app


def upbench(*arguments: object, env: dict[str, str] | None = None) -> Result:
    """Run a command. env: variables of its environment."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=env)


def refused(*arguments: object) -> str:
    """The sentences of a call that must be refused: exit code 2, nothing on stdout, no traceback."""
    result = upbench(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr
