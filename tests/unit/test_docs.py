"""The pages in docs and the README name only what exists, and the glossary holds its promise."""

import re
from pathlib import Path

import pytest

from app.composition.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
TERM = re.compile(r"^- \*\*(.+?)\*\*: (.+(?:\n  .+)*)$", re.MULTILINE)
GLOSSARY = TERM.findall((ROOT / "docs" / "glossary.md").read_text("utf-8"))


def ids(page: Path) -> str:
    return page.name


def test_the_glossary_has_each_term_once_and_in_one_sentence() -> None:
    terms = [term for term, _ in GLOSSARY]
    assert len(terms) >= 30
    assert len(terms) == len({term.lower() for term in terms})
    for term, sentence in GLOSSARY:
        text = " ".join(sentence.split())
        assert text[0].isupper(), term
        assert text.endswith("."), term
        assert not re.search(r"\.\s", text), f"{term} has more than one sentence"


@pytest.mark.parametrize("term", [term for term, _ in GLOSSARY])
def test_a_term_of_the_glossary_is_used(term: str) -> None:
    others = [page for page in PAGES if page.name != "glossary.md"]
    code = [path for folder in ("app", "training") for path in (ROOT / folder).rglob("*.py")]
    words = re.compile(r"[\s_-]+".join(map(re.escape, term.split())), re.IGNORECASE)
    assert any(words.search(path.read_text("utf-8")) for path in (*others, *code))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_and_paths_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    paths = re.findall(r"`((?:app|training|tests|performance|migrations|models|docs)/[\w./-]+\.\w+)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_make_targets_and_settings_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z][a-z-]+)\b(?!…)", text)) - {"bench"} <= targets
    known = {f"PETOOL_{name.upper()}" for name in Settings.model_fields}
    # Read by the command line, by tests and by benchmarks.
    known |= {"PETOOL_API_KEY", "PETOOL_URL", "PETOOL_SHARED", "PETOOL_VLLM_PYTHON"}
    assert set(re.findall(r"\bPETOOL_[A-Z_]*[A-Z]\b", text)) <= known
