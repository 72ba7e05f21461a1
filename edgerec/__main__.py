"""The entry point of the command line, which needs the ``cli`` extra."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        import rich  # noqa: F401  # imported only to check that it is installed
        import typer  # noqa: F401  # as above
    except ImportError as error:
        sys.exit(
            f"error: the command line needs {error.name}; pip install 'edgerec[cli]'. On a device, "
            "python -m edgerec.device.bench BUNDLE and edgerec.Scorer do without it."
        )
    from edgerec.cli import run

    run()


if __name__ == "__main__":
    main()
