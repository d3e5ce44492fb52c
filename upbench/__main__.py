"""`python -m upbench`, and the console script."""


def main() -> None:
    """Run the command line."""
    from upbench.cli.app import app

    app(prog_name="upbench")


if __name__ == "__main__":
    main()
