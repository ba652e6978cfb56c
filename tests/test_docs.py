"""The documents say what the code does: every command, setting, code; every link and screenshot is there."""

import re
from pathlib import Path

import pytest

from tests.reference import PAGE, api_codes, page
from tests.screenshots import NAMES, SIZES, THEMES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_reference_is_the_code_s() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.reference"


def test_every_code_of_the_api_has_been_found() -> None:
    codes = api_codes()
    assert {"budget_exhausted", "no_lease", "context_length_exceeded", "queue_full", "loading"} <= set(codes)
    assert all(codes.values())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), f"{path.name} links {target}"


def test_every_page_is_linked_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in PAGES[1:]:
        assert f"(docs/{path.name})" in text


def test_what_the_readme_shows_is_still_photographed() -> None:
    shown = re.findall(r"\(screenshots/([a-z-]+)-(?:dark|light)-\d+x\d+\.png\)", (ROOT / "README.md").read_text())
    assert len(shown) == 3
    assert set(shown) <= set(NAMES)
    for name in NAMES:
        for theme in THEMES:
            for width, height in SIZES:
                for kind in ("svg", "png"):
                    assert (ROOT / "screenshots" / f"{name}-{theme}-{width}x{height}.{kind}").exists()
