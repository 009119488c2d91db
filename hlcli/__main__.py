"""Starts the command line under `python -m hlcli`, `accelerate launch -m hlcli` and `accelerate launch hlcli`.

The last one runs this folder as a script. Python then looks for every module in this folder first, and finds
neither hlcli nor, where names are equal, the libraries; so the folder gives way to the one above it.
"""

from __future__ import annotations

import sys


def start() -> None:
    """Run the command line; Ctrl-C while Python is still loading it ends without a traceback, too."""
    try:
        from hlcli.cli.main import main
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)
    main()


if __name__ == "__main__":
    import os

    if not __package__:
        package = os.path.dirname(os.path.abspath(__file__))
        sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != package]
        sys.path.insert(0, os.path.dirname(package))

    start()
