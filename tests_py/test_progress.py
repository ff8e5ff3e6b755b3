"""The bar and the lines of `fit`."""

from __future__ import annotations

import io

import pytest

from twotower.models import _progress
from twotower.models._progress import Progress


def test_a_bar_where_somebody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(_progress, "_has_reader", lambda: True)
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress("TwoTower", total_steps=4, total_epochs=1, verbose=1) as progress:
        progress.say("a sentence")
        progress.add(4, 100, 2.5)
        progress.end_epoch(1, 2.5, {"ndcg@10": "0.1000"})
    shown = terminal.getvalue()
    assert "a sentence\n" in shown
    assert "TwoTower: 100%" in shown
    assert "4/4" in shown


@pytest.mark.parametrize(("verbose", "lines"), [(0, 0), (1, 2), (2, 2)])
def test_lines_where_nobody_watches(verbose: int, lines: int, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("TwoTower", total_steps=4, total_epochs=1, verbose=verbose) as progress:
        progress.say("a sentence")
        progress.add(4, 100, 2.5)
        progress.end_epoch(1, 2.5, {"ndcg@10": "0.1000"})
    said = capsys.readouterr().err.splitlines()
    assert len(said) == lines
    if lines:
        assert said[0] == "a sentence"
        assert said[1].startswith("TwoTower: epoch 1/1  loss 2.5000  examples/s ")
        assert said[1].endswith("  ndcg@10 0.1000")
