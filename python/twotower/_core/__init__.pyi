from twotower._core import _cpu as _cpu
from twotower._core import _native as core

__all__ = ["core"]
