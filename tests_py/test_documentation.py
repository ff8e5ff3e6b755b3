"""Every page of docs/ runs from top to bottom, once with each frame library, and prints what it says."""

from __future__ import annotations

import contextlib
import importlib
import io
import math
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted(FOLDER.glob("*.md"))
KINDS = ("pandas", "polars")

# A fenced block, with the comment before it that says for which library alone it is.
BLOCK = re.compile(r"^(?:<!-- (?P<kind>\w+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")


@dataclass(frozen=True)
class Block:
    """What stands between fences: `language` is "python", or "text" for what the block before it prints."""

    kind: str | None
    language: str
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(found["kind"], found["language"], found["text"], text.count("\n", 0, found.start("text")) + 1)
        for found in BLOCK.finditer(text)
    ]


def agree(printed: str, shown: str) -> bool:
    """Equal but for spaces and dashes in rules, and numbers with a point within 2 % or 0.02: CPUs differ in the last digits."""
    mine, theirs = (re.sub(r"-{3,}", "---", text).split() for text in (printed, shown))
    if len(mine) != len(theirs):
        return False
    for one, other in zip(mine, theirs, strict=True):
        if NUMBER.sub("#", one) != NUMBER.sub("#", other):
            return False
        numbers = zip(map(float, NUMBER.findall(one)), map(float, NUMBER.findall(other)), strict=True)
        if not all(math.isclose(a, b, rel_tol=0.02, abs_tol=0.02) for a, b in numbers):
            return False
    return True


def run(page: Path, kind: str) -> int:
    """Run a page with one library; how many printed results were compared."""
    names: dict[str, object] = {"__name__": "__main__"}
    printed, compared = "", 0
    for block in blocks_of(page):
        if block.kind not in (None, kind):
            continue
        if block.language == "python":
            output = io.StringIO()
            # Line numbers of the page in a traceback.
            code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
            with contextlib.redirect_stdout(output):
                exec(code, names)
            printed = output.getvalue()
        elif block.language == "text":
            assert agree(printed, block.text), f"{page.name}, line {block.line}: it printed\n{printed}"
            compared += 1
    return compared


def test_there_are_pages() -> None:
    assert [page.name for page in PAGES] == ["columns.md", "ranking.md"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_it_runs_and_prints_what_it_says(
    page: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec(kind) is None:
        pytest.skip(f"{kind} is not installed")
    monkeypatch.chdir(tmp_path)  # a page may write files
    assert run(page, kind) > 0


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_it_calls_public_names_alone(page: Path) -> None:
    for block in blocks_of(page):
        assert block.kind in (None, *KINDS)
        if block.language == "python":
            assert not re.search(r"\b(?:tt|model)\._|\btwotower\._", block.text), block.text


@pytest.mark.parametrize(
    ("printed", "same"),
    [
        ("film  score\nf03    1.23", True),
        ("film score\n f03  1.22", True),
        ("film score\nf03 1.5", False),
        ("film score\nf04 1.23", False),
        ("film score", False),
    ],
)
def test_printed_results_are_compared_by_their_words(printed: str, same: bool) -> None:
    assert agree(printed, "film  score\nf03    1.23\n") is same


def test_a_page_that_prints_something_else_fails(tmp_path: Path) -> None:
    page = tmp_path / "wrong.md"
    page.write_text("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"wrong\.md, line 6: it printed\s+2"):
        run(page, "pandas")
