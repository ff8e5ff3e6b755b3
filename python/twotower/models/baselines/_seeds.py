"""Seeds of random numbers."""

from __future__ import annotations

import secrets

from twotower.models._options import check_count

__all__ = ["drawn_seed"]


def drawn_seed(where: str, random_state: int | None) -> int:
    """Give the seed to use: the one that was asked for, or where that is None a new one of 48 bits."""
    return secrets.randbits(48) if random_state is None else check_count(where, "random_state", random_state, minimum=0)
