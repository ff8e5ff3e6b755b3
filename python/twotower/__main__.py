"""`python -m twotower` is the command `twotower`."""

from __future__ import annotations

import sys

from twotower.cli import main

if __name__ == "__main__":
    sys.exit(main())
