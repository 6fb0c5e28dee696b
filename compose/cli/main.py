"""The program `backbeat`: says which packages to install where the command line is not, else hands over to program.py.

`pip install backbeat` gives the SDK and this much of a command line; the rest comes with the extras.
"""

import sys

from backbeat.compose.cli.installation import missing_module


def main() -> None:
    """Run the command line."""
    try:
        from backbeat.compose.cli.program import backbeat

        backbeat(prog_name="backbeat")
    except ModuleNotFoundError as error:
        print(f"backbeat: {missing_module(error.name or '', sys.argv[1:])}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
