"""`python -m upbench`, and the console script."""

import os
import sys

from upbench import interrupts


def main() -> None:
    """Run the command line, or answer a shell that completes one."""
    interrupts.end_at_once("nothing was begun", first=True)  # until a command begins, which answers Ctrl-C itself
    from upbench.cli import completion
    from upbench.cli.app import app
    from upbench.user_code import isolation

    try:
        if os.environ.get(completion.VARIABLE) == "complete_bash":
            completion.in_bash(lambda: app(prog_name="upbench"))
        if os.environ.get(completion.VARIABLE) == "complete_zsh":
            completion.in_zsh()
        app(prog_name="upbench")
    except SystemExit as end:
        if end.code == interrupts.CODE:
            interrupts.say_unsaid()
        raise
    except KeyboardInterrupt:
        interrupts.say_unsaid()
        sys.exit(interrupts.CODE)
    finally:
        isolation.silence_exit()


if __name__ == "__main__":
    main()
