"""What documents point to is there, and every word of the glossary has its source and place."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from support.documents import DOCS, document, sections
from support.requirements import ROOT
from support.tree import tracked_files

# A path of the tree, as a document spells it.
_TREE_PATH = re.compile(
    r"`((?:agent|collector|core|docs|flopmeter|proto|requirements|tests)/[\w./-]+)`"
)
_DOC_PATH = re.compile(r"\bdocs/[\w/-]+\.md\b")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def link_findings(root: Path) -> list[str]:
    """Name links, paths and documents that are spoken of and do not exist."""
    found = []
    for path in tracked_files(root):
        if path.suffix not in (".md", ".py", ".proto", ".toml", ".sql"):
            continue
        text = path.read_text("utf-8")
        spoken = {root / name for name in _DOC_PATH.findall(text)}
        if path.suffix == ".md":
            spoken |= {root / name for name in _TREE_PATH.findall(text)}
            spoken |= {
                path.parent / link.partition("#")[0]
                for link in _LINK.findall(text)
                if "://" not in link and not link.startswith("#")
            }
        found += [
            f"{path.relative_to(root)} speaks of {target.relative_to(root)}, which does not exist"
            for target in sorted(target.resolve() for target in spoken)
            if not target.exists()
        ]
    return found


def test_links() -> None:
    """Whatever a document or a module points to in this tree is there."""
    assert link_findings(ROOT) == []


def index_findings(text: str) -> list[str]:
    """Name pages that docs/README.md lacks or has twice, and sections out of alphabetical order."""
    linked = [link for link in _LINK.findall(text) if "/" not in link]
    pages = sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md")
    found = [f"docs/README.md does not list {page}" for page in pages if page not in linked]
    found += [f"docs/README.md lists {page} twice" for page in pages if linked.count(page) > 1]
    for title, section in sections(text).items():
        names = re.findall(r"(?m)^- \[([^\]]+)\]", "\n".join(section.lines))
        if names != sorted(names, key=str.casefold):
            found.append(f"docs/README.md is out of order in {title}")
    return found


def test_every_page_is_listed() -> None:
    """Who looks for a page finds it in one place, one line each, so that two hands rarely meet."""
    assert index_findings((ROOT / "docs/README.md").read_text("utf-8")) == []


def decision_findings(titles: dict[str, str]) -> list[str]:
    """Name decisions whose number is not their own, or not that of their title.

    Args:
        titles: of each page in docs/adr, by its file's name.
    """
    numbers = [int(name[:4]) for name in sorted(titles)]
    found = [f"{n} is no decision's number, or two's" for n in _not_once(numbers)]
    for name, title in sorted(titles.items()):
        if not title.startswith(f"# {int(name[:4])}. "):
            found.append(f"docs/adr/{name} has another number in its title")
    return found


def _not_once(numbers: list[int]) -> list[int]:
    return [number for number in range(1, max(numbers) + 1) if numbers.count(number) != 1]


def decisions() -> dict[str, str]:
    """The title of each decision."""
    pages = (ROOT / "docs/adr").glob("[0-9]*.md")
    return {page.name: page.read_text("utf-8").splitlines()[0] for page in pages}


def test_decisions_are_numbered() -> None:
    """A number is one decision's, so that "ADR 12" means one page."""
    assert decision_findings(decisions()) == []


def test_planted_decision() -> None:
    """A number given twice, one left out and a wrong title are noticed."""
    titles = decisions()
    assert decision_findings({**titles, "0012-again.md": "# 12. Again"}) == [
        "12 is no decision's number, or two's"
    ]
    assert decision_findings({**titles, "0099-far.md": "# 99. Far"})
    first = min(titles)
    assert decision_findings({**titles, first: "# 7. Other"}) == [
        f"docs/adr/{first} has another number in its title"
    ]


def test_planted_index() -> None:
    """A page that is missing, one that is there twice and a wrong order are noticed."""
    text = (ROOT / "docs/README.md").read_text("utf-8")
    line = next(line for line in text.splitlines() if line.startswith("- [Wire]"))
    assert index_findings(text.replace(line, "")) == ["docs/README.md does not list wire.md"]
    again = index_findings(text.replace(line, f"{line}\n- [About the wire](wire.md)"))
    assert again == [
        "docs/README.md lists wire.md twice",
        "docs/README.md is out of order in Change it",
    ]


WORDS = """
run job model allocation activity unattributed unassigned unlabelled unobserved coverage lower best
upper floor ceiling incarnation standing as-of key register vector carry reading increment boundary
fork gap baseline threshold line state transition part suspect quarantine enrolled relay simulated
node device
"""
"""Words that code and documents use in a sense of their own."""


def glossary_findings(text: str) -> list[str]:
    """Name entries without source or place, places that are none, and words without entry."""
    entries = {
        name: "\n".join(entry.lines)
        for name, entry in sections(text).items()
        if "- In code:" in "\n".join(entry.lines) or "- Source:" in "\n".join(entry.lines)
    }
    words = {word for heading in entries for word in heading.split(", ")}
    found = [f"docs/glossary.md lacks {word}" for word in WORDS.split() if word not in words]
    for heading, entry in entries.items():
        for wanted in ("- Source: ", "- In code: "):
            if wanted not in entry:
                found.append(f"docs/glossary.md: {heading} has no line {wanted.strip()!r}")
        for file, name in re.findall(r"`([\w/]+\.py)` \(`([\w.]+)`\)", entry):
            code = ROOT / file
            if code.exists() and name.rpartition(".")[2] not in code.read_text("utf-8"):
                found.append(f"docs/glossary.md: {heading} names {name}, which {file} lacks")
    return found


def test_glossary() -> None:
    """Each word has a definition, a source and a place in the code that has it."""
    assert glossary_findings(document("glossary.md")) == []


def anchor_findings(text: str, name: str) -> list[str]:
    """Name links to headings of a document that it does not have."""
    found = []
    for target, anchor in re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", text):
        file = (DOCS / name).parent / target if target else DOCS / name
        headings = sections(file.read_text("utf-8"))
        slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        if anchor not in slugs:
            found.append(
                f"docs/{name} links to #{anchor} of {file.name}, which has no such heading"
            )
    return found


def test_anchors() -> None:
    """A link into a document names one of its headings."""
    names = [str(path.relative_to(DOCS)) for path in sorted(DOCS.rglob("*.md"))]
    assert [found for name in names for found in anchor_findings(document(name), name)] == []


def test_planted_link(tmp_path: Path) -> None:
    """A link, a path and a document that do not exist are named; one that exists is not."""
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("[b](b.md), [itself](a.md#top), `core/none.py`\n")
    (tmp_path / "code.py").write_text('"""docs/' + 'gone.md explains."""\n')
    assert len(link_findings(tmp_path)) == 3


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("### carry", "### remainder"),
        ("- Source: arithmetic.", ""),
        ("`Register.carry`", "`Register.remainder`"),
    ],
)
def test_planted_glossary(before: str, after: str) -> None:
    """A word without entry, an entry without source, and a name the code lacks are found."""
    text = document("glossary.md")
    assert before in text
    assert len(glossary_findings(text.replace(before, after))) == 1


def test_planted_anchor() -> None:
    """A link to a heading that does not exist is named."""
    assert anchor_findings("[a](glossary.md#activity)", "cli.md") == []
    assert len(anchor_findings("[a](glossary.md#activities)", "cli.md")) == 1
