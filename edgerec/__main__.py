"""The command line's door: a device without the ``cli`` extra gets a message, no traceback."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        import rich  # noqa: F401  # asked for only to see whether it is there
        import typer  # noqa: F401  # as above
    except ImportError as error:
        sys.exit(
            f"error: the command line needs {error.name}; pip install 'edgerec[cli]'. On a device, "
            "python -m edgerec.bench BUNDLE and edgerec.Scorer need neither."
        )
    from edgerec.cli import run

    run()


if __name__ == "__main__":
    main()
