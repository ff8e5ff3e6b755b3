"""What several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


class SharedData:
    """The folder of public data sets, which lies beside the repository and is no part of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __fspath__(self) -> str:
        return str(self.folder)

    def __truediv__(self, name: str) -> Path:
        """Return a file of the folder; skip the test, by name, where it is absent."""
        path = self.folder / name
        if not path.exists():
            pytest.skip(f"{name} is not in {self.folder}; set TWOTOWER_SHARED_DATA to the folder that holds it")
        return path


@pytest.fixture(scope="session")
def shared_data() -> SharedData:
    """Give the folder of real data: $TWOTOWER_SHARED_DATA, or ../shared/data from the root of the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return SharedData(Path(os.environ.get("TWOTOWER_SHARED_DATA", beside)))


# Imported by tests, under its own name; collected for doctests as well it would define its class twice.
collect_ignore = ["factors.py", "rated.py"]
