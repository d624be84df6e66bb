"""The documents are consistent: links and paths exist, decisions refer to each other."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = next(path for path in Path(__file__).resolve().parents if (path / "pyproject.toml").exists())
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
DECISIONS = sorted(ROOT.glob("docs/decisions/[0-9]*.md"))
INDEX = ROOT / "docs" / "decisions" / "README.md"
_PLACES = "accounts|docs|imissive|messaging|otp|static|templates|tests|webhooks"
_LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """Return the document without its code, where brackets are not links."""
    text = re.sub(r"^( *)```.*?^\1```", "", path.read_text(), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", lambda code: code[0].replace("](", ""), text)


@cache
def anchors(path: Path) -> frozenset[str]:
    """Return the anchors that GitHub generates for the document's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.M)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return frozenset(heading.strip().replace(" ", "-") for heading in plain)


def links(path: Path) -> list[str]:
    found = [first or second for first, second in _LINK.findall(prose(path))]
    return [link for link in found if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_each_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    for link in links(document):
        target, _, anchor = link.partition("#")
        path = (document.parent / target).resolve() if target else document
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_each_path_and_module_that_is_named_exists(document: Path) -> None:
    text = document.read_text()
    for path in re.findall(rf"`((?:{_PLACES})/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"python -m ((?:imissive|messaging|tests)[\w.]*)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_the_index_lists_each_decision_once_with_its_title() -> None:
    listed = re.findall(r"^\| (\d+) \| \[(.*?)\]\((\S+?)\) \|", INDEX.read_text(), re.M)
    titles = {path.name: path.read_text().partition("\n")[0] for path in DECISIONS}
    assert len(DECISIONS) > 100
    assert sorted(file for _, _, file in listed) == sorted(titles)
    for number, title, file in listed:
        assert file.startswith(f"{int(number):04}-")
        assert titles[file] == f"# {int(number):04}: {title}"


@pytest.mark.parametrize("decision", DECISIONS, ids=name)
def test_a_status_is_known_and_a_change_is_named_by_both(decision: Path) -> None:
    status = decision.read_text().split("\n")[2]
    assert re.match(r"Status: (accepted|replaced), \d{4}-\d\d-\d\d\.", status)
    for other in re.findall(r"\((\d{4}-\S+?\.md)\)", status):
        assert decision.name in (decision.parent / other).read_text().split("\n")[2], other
