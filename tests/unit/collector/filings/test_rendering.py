"""Markdown and HTML say the same as the document, and no name can change their structure."""

from __future__ import annotations

import html.parser
from dataclasses import replace

from flopmeter_collector.filings import html as html_page
from flopmeter_collector.filings import markdown
from flopmeter_collector.filings.blocks import Heading, Table, blocks
from flopmeter_collector.filings.document import SignOff, build
from flopmeter_collector.filings.facts import ReviewFacts
from flopmeter_core.catalogue import stand
from flopmeter_core.data import builtin_thresholds
from flopmeter_core.filings import builtin_forms
from flopmeter_core.threshold_files import parse_threshold
from support.filings import model_facts, simulated
from support.totals import AS_OF_NS

EU = builtin_forms()["eu-ai-act"]
HOSTILE = '<script>alert(1)</script> | # x\n\n## [a](http://b) *c* "d"'


class Reader(html.parser.HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self, page: str) -> None:
        """Read it."""
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Note a tag."""
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


def document(name: str = "atlas", recipient: str = "internal") -> dict[str, object]:
    """A report of a model of this name."""
    return build(model_facts(name=name), EU, recipient=recipient, made_at_ns=AS_OF_NS)


def test_every_recipient_gets_every_heading() -> None:
    """What is withheld keeps its place, so that nobody wonders whether it was forgotten."""
    for recipient in EU.readers:
        told = blocks(document(recipient=recipient))
        assert sum(isinstance(block, Heading) for block in told) == 1 + len(EU.fields)


def test_tables_are_whole() -> None:
    """Each row has as many cells as the head."""
    for block in blocks(document()):
        if isinstance(block, Table):
            assert {len(row) for row in block.rows} <= {len(block.head)}


def test_same_words() -> None:
    """Every cell of the blocks is on the page and in the Markdown."""
    told = blocks(document())
    page = Reader(html_page.render(told, title="t", simulated=False))
    text = markdown.render(told).replace("\\", "")
    for block in told:
        if isinstance(block, Table):
            for cell in (cell for row in block.rows for cell in row):
                assert cell in page.text
                assert " ".join(cell.split()) in text


def test_hostile_name() -> None:
    """A model's name makes no tag, heading, link or cell."""
    clean, hostile = document(), document(HOSTILE)
    pages = [
        Reader(html_page.render(blocks(each), title=str(each["model"]), simulated=False))
        for each in (clean, hostile)
    ]
    assert pages[0].tags == pages[1].tags
    texts = [markdown.render(blocks(each)) for each in (clean, hostile)]
    shapes = [[line.count(" | ") for line in text.splitlines()] for text in texts]
    assert shapes[0] == shapes[1]
    assert "](" not in texts[1].replace("\\](", "")
    assert sum(line.startswith("#") for line in texts[1].splitlines()) == 1 + len(EU.fields)


def test_draft_and_simulated_stand_on_the_page() -> None:
    """Both words are seen before any figure."""
    facts = simulated(model_facts())
    told = blocks(build(facts, EU, recipient="internal", made_at_ns=AS_OF_NS))
    page = html_page.render(told, title="t", simulated=True)
    assert page.index("SIMULATED") < page.index("Draft for counsel") < page.index("7.1e24")


def test_conditions_unknown_are_never_above_alone() -> None:
    """A met number with other conditions open says so."""
    facts = model_facts(best=2 * 10**25)
    row = parse_threshold(builtin_thresholds()["eu-gpai-indicative.toml"], name="row")
    standing = replace(facts.standings[0], standing=stand(facts.standings[0].counted, row))
    facts = replace(facts, standings=(standing,))
    text = markdown.render(
        blocks(build(facts, EU, recipient="internal", made_at_ns=AS_OF_NS))
    ).replace("\\", "")
    assert "compute test met, other conditions unknown" in text
    assert "| above |" not in text


def test_what_is_signed_is_no_warning() -> None:
    """A draft stands in the colour of a warning, a person's word in its own."""
    pages = [
        html_page.render(
            blocks(
                build(
                    model_facts(),
                    EU,
                    recipient="internal",
                    made_at_ns=AS_OF_NS,
                    sign_off=sign_off,
                )
            ),
            title="t",
            simulated=False,
        )
        for sign_off in (None, SignOff("Ada Example", AS_OF_NS))
    ]
    assert '<p class="notice">Draft for counsel' in pages[0] and 'class="signed"' not in pages[0]
    assert '<p class="signed">Signed off by Ada Example' in pages[1]
    assert 'class="notice"' not in pages[1]


def test_a_narrow_page_has_the_head_beside_each_cell() -> None:
    """Where rows are stacked each cell says which column it is of, and nothing scrolls sideways."""
    page = html_page.render(blocks(document()), title="t", simulated=False)
    assert '<meta name="viewport" content="width=device-width,initial-scale=1">' in page
    assert page.count("<td data-head=") == page.count("<td")
    assert "@media screen and (max-width:820px)" in page


def test_an_open_review_shows_both_dates() -> None:
    """From when and by when stand under the lines, and that nobody has determined anything."""
    review = ReviewFacts(12, "2026-12-01T10:00:00Z", "2026-12-15 (Europe/Brussels)", "")
    facts = model_facts(best=2 * 10**25)
    standing = replace(facts.standings[0], review=review)
    text = markdown.render(
        blocks(
            build(
                replace(facts, standings=(standing,)),
                EU,
                recipient="ai-office",
                made_at_ns=AS_OF_NS,
            )
        )
    )
    assert "Review 12 of eu-ai-act-51-2" in text
    assert "arguably from 2026-12-01T10:00:00Z; nobody has determined anything yet" in text
    assert "| 2026-12-15 (Europe/Brussels) |" in text


def test_a_determined_review_names_the_person() -> None:
    """What a person determined stands with the name."""
    review = ReviewFacts(12, "2026-12-01T10:00:00Z", "", "ada determined: met from 2026-12-01")
    facts = model_facts()
    standing = replace(facts.standings[0], review=review)
    document_ = build(
        replace(facts, standings=(standing,)), EU, recipient="internal", made_at_ns=AS_OF_NS
    )
    assert "ada determined: met" in markdown.render(blocks(document_))


def told_of(**known: object) -> str:
    """The Markdown for everybody inside, of a model of which this is known."""
    facts = replace(model_facts(), **known)  # type: ignore[arg-type]
    told = blocks(build(facts, EU, recipient="internal", made_at_ns=AS_OF_NS))
    return markdown.render(told).replace("\\", "")


def test_what_is_not_known_is_said() -> None:
    """No hour, no joule and nothing unattributed are sentences, and no table is empty."""
    runs = tuple(replace(run, first_ns=None, last_ns=None) for run in model_facts().runs)
    text = told_of(runs=runs, energy_mj={}, externals=(), unattributed_upper_flop=0)
    assert "No whole hour is recorded yet." in text
    assert "No energy was measured." in text
    assert "Entered by hand" not in text
    assert "Work that no run is known to have done" not in text
    assert "Work that no run is known to have done" in told_of()


def test_what_lowers_a_total_is_listed() -> None:
    """Declarations that make a legal total smaller stand in every report that has them."""
    assert "make a legal total smaller" not in told_of()
    text = told_of(lowering=("run atlas-eval was labelled evaluation by ada and grace",))
    assert "Declarations that make a legal total smaller:" in text and "ada and grace" in text


def test_what_the_model_came_from_and_what_was_assumed() -> None:
    """Base models and assumptions are listed where there are any; else that is said."""
    text = told_of()
    assert "No base model is declared." in text
    text = told_of(dependencies=(("titan", "weights"),), assumptions=("no padding was counted",))
    assert "| titan | weights |" in text
    assert "Taken for granted:" in text and "No padding was counted." in text
