"""`python -m upbench`, and the console script."""


def main() -> None:
    """Run the command line."""
    from upbench.cli.app import app
    from upbench.user_code import isolation

    try:
        app(prog_name="upbench")
    finally:
        isolation.silence_exit()


if __name__ == "__main__":
    main()
