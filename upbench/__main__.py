"""`python -m upbench`, and the console script."""

import os


def main() -> None:
    """Run the command line, or answer a shell that completes one."""
    from upbench.cli import completion
    from upbench.cli.app import app
    from upbench.user_code import isolation

    try:
        if os.environ.get(completion.VARIABLE) == "complete_bash":
            completion.in_bash(lambda: app(prog_name="upbench"))
        if os.environ.get(completion.VARIABLE) == "complete_zsh":
            completion.in_zsh()
        app(prog_name="upbench")
    finally:
        isolation.silence_exit()


if __name__ == "__main__":
    main()
