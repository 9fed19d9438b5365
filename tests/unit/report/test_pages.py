"""The rendered pages; their sections have tests of their own."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.answers import predictions
from llara_core.config import Params
from llara_core.report import pages, plots

SYSTEMS = ("popularity", "sasrec", "tallrec", "llara", "llara + sasrec")


class Page(HTMLParser):
    """Checks that every element is closed and every picture described; collects the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.n_pictures = 0
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            assert dict(attrs)["alt"]
            self.n_pictures += 1
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def reports(params: Params, world) -> list[pages.DatasetReport]:
    return [pages.dataset_report(world.compared(params))]


def test_the_html_page_is_self_contained_names_every_system_and_is_always_the_same(reports, params: Params) -> None:
    pages.write(reports, params)
    written = {file: file.read_bytes() for file in paths.REPORT.rglob("*.*") if not file.is_relative_to(paths.CURVES)}
    assert {file.name for file in written} > {"report.md", "report.html", "pairs.tsv", "llm_loss.tsv"}
    assert written[paths.REPORT / "summary.txt"].decode() == f"{pages.terminal_text(reports)}\n"
    html = written[paths.REPORT / "report.html"].decode()
    page = Page(html)
    assert page.open == []
    # Systems, the ablation of the representation, training of the recommenders, tuning, curriculum.
    assert page.n_pictures == 6 == html.count('src="data:image/png;base64,')
    assert "http" not in html
    assert "<script" not in html
    for text in (*SYSTEMS, *(section.heading for section in reports[0].sections), *pages.provenance(reports, params)):
        assert text in page.text
    for section in reports[0].sections:
        assert section.verdict in page.text
    pages.write(reports, params)
    assert {file: file.read_bytes() for file in written} == written


def test_the_html_page_links_every_section_and_folds_what_few_read(reports, params: Params) -> None:
    html = pages.render(reports, params, "report.html")
    links = dict(re.findall(r'<a href="#([^"]+)">(?:<strong>)?([^<]+)', html))
    assert {id for id in links if f'id="{id}"' in html} == set(links)
    headings = dict(re.findall(r'<h3 id="([^"]+)">([^<]+)</h3>', html))
    assert [unescape(heading) for heading in headings.values()] == [section.heading for section in reports[0].sections]
    assert headings.items() <= links.items()
    folded = re.findall(r"<summary><h\d[^>]*>([^<]+)</h\d>\s*</summary>", html)
    assert folded == ["The other systems", "Calibration", "All modes"]
    scrolled = "".join(re.findall(r'<div class="scroll".*?</div>', html, flags=re.DOTALL))
    assert "caption" not in scrolled
    assert html.count('<p class="caption">') > 5


def test_the_markdown_page_names_every_system(reports, params: Params) -> None:
    page = pages.render(reports, params, "report.md")
    for name in SYSTEMS:
        assert f"{name} " in page
    headings = [section.heading for section in reports[0].sections]
    assert re.findall("^### (.*)$", page, re.MULTILINE) == [heading for heading in headings if heading != "Training"]  # figures
    assert "\n\n\n" not in page


def test_the_head_names_the_systems_that_the_global_schedule_reaches(reports, params: Params) -> None:
    for page in ("report.md", "report.html"):
        head = pages.render(reports, params, page).partition("Systems</h3>" if page.endswith("html") else "### Systems")[0]
        assert "curriculum.schedule: linear; reaches llara; tallrec makes no use of it." in head


def test_foreign_text_is_escaped(params: Params, world, monkeypatch) -> None:
    evil, shown = "evil|<script>\n&~`*x*[a](b)", r"evil\|\<script\> \&\~\`\*x\*[a\](b)"
    world.put("popularity", world.target_is(4), note=evil)
    world.put("llara-0", world.target_is(1), objective="generative", mode="generate", draws=1)
    items = paths.prepared("movielens") / "items.parquet"
    tables.write_table(items, tables.read_table(items, tables.ITEMS).assign(**{c.LABEL: evil}), tables.ITEMS)
    folder = paths.system_predictions("movielens", "tallrec-0")
    frame, of_file = predictions.read_predictions(folder / "generate.parquet")
    frame[c.VALID], frame[c.PREDICTED], frame[c.SCORES], frame[c.TEXT] = False, None, None, evil
    frame[c.PREDICTED] = frame[c.PREDICTED].astype("Int32")
    predictions.write_predictions(folder, frame, of_file)
    reports = [pages.dataset_report(world.compared(params))]
    markdown = pages.render(reports, params, "report.md")
    for text in (f"popularity ({shown})", f"| {shown} |", f"no valid answer: “{shown}”"):
        assert text in markdown
    assert re.search(r"(?<!\\)<script", markdown) is None
    monkeypatch.setattr(plots, "png", lambda figure: b"")
    html = pages.render(reports, params, "report.html")
    assert "popularity (evil|&lt;script&gt;" in html
    assert "no valid answer: “evil|&lt;script&gt;" in html
    assert "<script" not in html


def test_provenance_and_plot_tables(reports, params: Params, world) -> None:
    _, *lines = pages.provenance(reports, params)
    assert lines == [
        f"movielens: held-out candidate sets sha256 {world.candidates_hash}",
        "movielens, predictions computed on: A processor, 2 cores",
        "Seeds: 0 (training), 0 (candidate sets), 0 (intervals and tests)",
    ]
    bars = pages.plot_tables(reports)["hit_ratio"].to_numpy().tolist()
    assert bars == [
        ["movielens popularity (score)", 0.0],
        ["movielens sasrec (score)", 1.0],
        ["movielens tallrec (generate)", 0.0],
        ["movielens llara (generate)", 0.0],
        ["movielens llara + sasrec (fused)", 1.0],
    ]
