import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from llara_core.report.tables import ablation_columns, points, resolution, signed, significance_level

from llara_core import columns as c
from llara_core import paths, predictions, tables
from llara_core.config import Params, load_params
from llara_core.errors import DataError
from llara_core.evaluation.metrics import METRICS
from llara_core.evaluation.paired import Difference
from llara_core.evaluation.systems import systems_of
from llara_core.report import curves, paper, plots, terminal
from llara_core.report import pages as report
from llara_core.report import tables as tables_of_report
from llara_core.report.protocol import budgets, protocol, tuned_on

SYSTEMS = ("popularity", "sasrec", "tallrec", "llara-sasrec", "fused-llara-sasrec")


def log(cell: str, name: str, values: list[float]) -> None:
    file = paths.curves("movielens", cell) / "plots" / "metrics" / f"{name}.tsv"
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"step": range(len(values)), Path(name).name: values}).to_csv(file, sep="\t", index=False)


@pytest.fixture
def params(world) -> Params:
    world.put("popularity", world.target_is(4))
    world.put("sasrec-0", world.target_is(1), hardware="A processor, 2 cores")
    world.put("sasrec-0", world.target_is(2), shuffled=True)
    for cell, system in (("tallrec-0", "tallrec"), ("llara-0", "llara-sasrec")):
        world.put(cell, system, world.target_is(2), mode="generate", draws=1, objective="generative")
        world.put(cell, system, world.target_is(3), draws=1, objective="generative")
        log(cell, "train/loss_generative", [4.0, 3.0])
        log(cell, "train/lr", [0.1, 0.05])
        log(cell, "curriculum/p_hybrid", [0.0, 1.0])
        log(cell, "curriculum/hybrid_share", [0.1, 0.9])
    world.put("fused-llara-0", world.target_is(1), mode="fused", draws=1, note="LLM weight 0.30")
    log("sasrec-0", "train/loss", [3.0, 2.0])
    log("sasrec-0", "validation/hit_ratio@1", [0.1, 0.2])
    return world.on_axes(text_systems=["tallrec"])


def written(params: Params) -> dict[str, bytes]:
    report.write(report.build(params), params)
    files = [*Path("metrics").glob("report.*"), *Path("metrics/plots").iterdir()]
    return {file.name: file.read_bytes() for file in files}


def rendered(params: Params, form: str, monkeypatch: pytest.MonkeyPatch | None = None) -> str:
    """One page; with ``monkeypatch`` without its figures, which take most of the time."""
    if monkeypatch is not None:
        monkeypatch.setattr(plots, "_png", lambda figure: b"")
    return report.render(report.build(params), params, f"report.{form}")


def as_text(html: str) -> str:
    """What a reader of the HTML page sees."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def section(page: str, heading: str) -> str:
    """Of the Markdown page, without emphasis."""
    return page.partition(f"### {heading}\n")[2].partition("\n### ")[0].replace("*", "")


def table(text: str) -> list[dict[str, str]]:
    """The first Markdown table of a text, a row each, without the rows that name a group."""
    lines = text[text.index("| ") :].split("\n\n")[0].splitlines()
    heading, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return [dict(zip(heading, row, strict=True)) for row in rows if any(row[1:])]


def test_same_inputs_same_bytes(params: Params) -> None:
    assert written(params) == written(params)


def test_pages_name_every_system_the_protocol_and_where_the_numbers_come_from(params: Params, world, monkeypatch) -> None:
    for page in (rendered(params, "md"), rendered(params, "html", monkeypatch)):
        for text in (*SYSTEMS, "LLM weight 0.30", world.candidates_hash, paper.SOURCE, "A processor, 2 cores"):
            assert text in page
        assert all(
            word in page
            for word in ("other candidate sets", "has no kept interaction", "80% / 10% / 10%", "best on validation")
        )


def test_the_table_of_systems_has_one_row_each_in_the_mode_that_it_is_judged_by(params: Params) -> None:
    page = rendered(params, "md")
    rows = table(section(page, "Systems"))
    # The world has no training examples.
    assert [(row["System"], row["Answers by"], row["Tuned on"], row["vs sasrec"], row["p"]) for row in rows] == [
        ("popularity", "score", "-", "-1.000 [-1.000, -1.000]", "one run"),
        ("sasrec", "score", "-", "reference", "-"),
        ("tallrec", "generate", "0 prompts", "-1.000 [-1.000, -1.000]", "one run"),
        ("llara-sasrec", "generate", "0 prompts", "-1.000 [-1.000, -1.000]", "one run"),
        (
            "fused-llara-sasrec (LLM weight 0.30)",
            "fused",
            "0 prompts",
            "vs sasrec: +0.000 [+0.000, +0.000], 1.000 against 1.000",
            "one run",
        ),
    ]
    assert [(row["Validation HR@1"], row["Users x sets"]) for row in rows[1:3]] == [("1.000", "7 x 3"), ("0.000", "7 x 1")]
    details = table(section(page, "All ways of answering"))
    of_texts = {"Valid, contained", "HR@1, contained"}  # which nothing here wrote
    assert {metric.heading for metric in METRICS.values() if metric.heading} - of_texts <= set(details[0])
    assert [row["HR@3"] for row in details if row["Answers by"] == "score"] == ["0.000", "1.000", "1.000", "1.000"]


def test_table_2_stands_beside_ours_row_by_row(params: Params) -> None:
    rows = table(section(rendered(params, "md"), "Table 2, the paper's and ours"))
    assert {row["System (paper)"]: (row["HR@1 (paper)"], row["Ours"]) for row in rows} == {
        "GRU4Rec": ("0.3750", "not run"),
        "Caser": ("0.3861", "not run"),
        "SASRec": ("0.3444", "sasrec"),
        "MoRec": ("0.2822", "not run"),
        "Llama2, zero-shot": ("0.0421", "not run"),
        "GPT-4, zero-shot": ("0.2000", "not run"),
        "TALLRec": ("0.3895", "tallrec"),
        "LLaRA (GRU4Rec)": ("0.4421", "not run"),
        "LLaRA (Caser)": ("0.4737", "not run"),
        "LLaRA (SASRec)": ("0.4421", "llara-sasrec"),
    }


def test_a_dataset_that_the_paper_does_not_have_has_no_table_2(params: Params, monkeypatch) -> None:
    monkeypatch.setattr(paper, "table_2", lambda params, dataset: [])
    for form in ("md", "html"):
        page = rendered(params, form, monkeypatch)
        assert "Table 2, the paper" not in page
        assert paper.SOURCE not in page


def test_captions_speak_only_of_what_the_run_has(params: Params, world, monkeypatch) -> None:
    untitled = world.params.report.model_copy(update={"ablations": {}})  # their titles are the user's
    world = replace(world, params=world.params.model_copy(update={"report": untitled}))
    none = {"systems": [], "llm_recommenders": [], "text_systems": []}
    for form in ("md", "html"):
        conventional = rendered(world.on_axes(**none, recommenders=[]), form, monkeypatch)
        assert "language model" not in conventional.lower()
        assert "Table 2, the paper" not in conventional  # popularity has no counterpart there
        texts = rendered(
            world.on_axes(**{**none, "text_systems": ["tallrec"]}, baselines=[], recommenders=[]), form, monkeypatch
        )
        assert "The language model is" in texts
        assert " vs " not in as_text(texts)
        assert "MoRec encodes" not in texts


def test_with_one_run_no_page_speaks_of_significance(params: Params, monkeypatch) -> None:
    (built,) = report.build(params)
    assert [found.p_value for found in built.pairs.values()] == [None] * 10
    html = as_text(rendered(params, "html", monkeypatch))
    pages = [rendered(params, "md"), html, report.render([built], params, "summary.md"), report.screens([built], params)]
    pages.append(written(params)["pairs.tsv"].decode())
    for page in pages:
        assert "one run" in page
        assert "significant" not in page
        assert "< 0.001" not in page
    assert "- sasrec is better than" not in pages[0]
    claim = "No claim that any two systems differ: one run of training, and a test takes 3."
    assert claim in section(pages[0], "Any two systems")
    assert claim in html


def test_two_runs_are_two_runs(params: Params, world) -> None:
    none = {"systems": [], "llm_recommenders": [], "text_systems": []}
    world.put("sasrec-1", world.target_is(1))
    world.put("sasrec-1", world.target_is(1), seed=1, shuffled=True)
    page = rendered(world.on_axes(**none, seeds=[0, 1]), "md")
    assert [row["p"] for row in table(section(page, "Systems"))] == ["two runs", "-"]


@pytest.fixture
def untrained(params: Params, world) -> Params:
    """Three baselines, one of them better than the others, beside systems with one run."""
    for name, place in (("random", 2), ("item_knn", 1)):
        world.put(name, world.target_is(place))
    return world.on_axes(baselines=["random", "popularity", "item_knn"], text_systems=["tallrec"])


def test_pairs_of_untrained_systems_are_tested(untrained: Params, monkeypatch) -> None:
    # Of 21 pairs, 3 are of baselines; item_knn differs from the others for all 7 users: p = 2/2**7, times 3.
    text = section(rendered(untrained, "md"), "Any two systems")
    assert "21 pairs. 3 are tested, and 2 of these differ significantly (p < 0.05 after Holm's correction" in text
    assert "No claim that the others differ: one run of training, and a test takes 3." in text
    assert [line for line in text.splitlines() if line.startswith("- ")] == ["- item_knn is better than random, popularity"]
    assert "3 are tested, and 2 of these differ significantly" in as_text(rendered(untrained, "html", monkeypatch))


def test_all_pairs_are_written_with_six_decimals(untrained: Params, world) -> None:
    lines = written(untrained)["pairs.tsv"].decode().splitlines()
    assert lines[0] == "dataset\tfirst\tsecond\tdifference\tlow\thigh\tadjusted p"
    assert lines[1:5] == [
        "movielens\trandom\tpopularity\t0.0\t0.0\t0.0\t1.0",
        "movielens\trandom\titem_knn\t-1.0\t-1.0\t-1.0\t0.046875",  # 3 * 2 / 2**7
        "movielens\trandom\tsasrec\t-1.0\t-1.0\t-1.0\tone run",
        "movielens\trandom\ttallrec\t0.0\t0.0\t0.0\tone run",
    ]
    assert len(lines) == 1 + 21
    one = world.on_axes(systems=[], llm_recommenders=[], recommenders=[])
    assert report.pairs_table(report.build(one)).to_csv(sep="\t", index=False).splitlines() == lines[:1]


def test_the_level_is_the_share_that_the_intervals_leave_out(params: Params) -> None:
    assert significance_level(params.evaluation) == 0.05  # 1 - 0.95 is more, and a p-value of 0.05 would be below it


def test_too_few_sign_patterns_for_the_number_of_tests_are_said(params: Params) -> None:
    config = params.evaluation.model_copy(update={"permutation_samples": 199})

    def pairs(n_tested: int) -> dict[tuple[str, str], Difference]:
        untested = {("a", "b"): Difference(0.5, 0.5, 0.0, 0.0, 1, None)}
        return untested | {("a", str(n)): Difference(0.5, 0.5, 0.0, 0.0, None, 1.0) for n in range(n_tested)}

    assert resolution(pairs(9), config) == ""  # the smallest is 9 / 200
    assert "raise evaluation.permutation_samples to 200 or more" in resolution(pairs(10), config)  # 10 / 200 = 0.05


def test_order_ablations_and_cases_are_on_the_page(params: Params) -> None:
    page = rendered(params, "md")
    (row,) = table(section(page, "Order of the history"))
    assert (row["System"], row["HR@1"], row["HR@1, shuffled"], row["Change"]) == (
        "sasrec",
        "1.000",
        "0.000",
        "-1.000 [-1.000, -1.000]",
    )
    shown = section(page, "Ablations")
    assert "# Representation of an item (the paper's Figure 4), on sasrec" in shown
    assert "Ablations whose systems are not part of this run: Curriculum (the paper's Table 3);" in page
    cases = section(page, "Cases: sasrec (score), tallrec (generate), llara-sasrec (generate)")
    only = next(row for row in table(cases) if row["Kind"] == "only the recommender is right")
    assert (only["Sets"], only["Expected"], only["Users"]) == ("7", "7.0", "7")
    assert "Behaviour decides: no such set." in cases


def test_markdown_shows_titles_as_they_are(params: Params, world) -> None:
    world.put("llara-0", world.target_is(1), mode="generate", draws=1, objective="generative")
    page = rendered(params, "md")
    assert r"History, oldest first: Film \*1\*; Film \*2\*. Target: **Film \*" in page


def test_text_of_others_stays_text(params: Params, world, monkeypatch) -> None:
    evil, shown = "evil|<script>\n&~`", r"evil\|\<script\> \&\~\`"
    facts = {"objective": "generative", "mode": "generate", "draws": 1}
    world.put("popularity", world.target_is(4), note=evil)
    world.put("llara-0", world.target_is(1), **facts)
    items = paths.prepared("movielens") / "items.parquet"
    tables.write_table(items, tables.read_table(items, tables.ITEMS).assign(**{c.LABEL: evil}), tables.ITEMS)
    folder = paths.predictions("movielens", "tallrec-0")
    frame, of_file = predictions.read_predictions(folder / "generate.parquet")
    frame[c.VALID], frame[c.PREDICTED], frame[c.SCORES], frame[c.TEXT] = False, None, None, evil
    frame[c.PREDICTED] = frame[c.PREDICTED].astype("Int32")
    predictions.write_predictions(folder, frame, of_file)
    markdown = rendered(params, "md")
    for text in (f"popularity ({shown})", f"Target: **{shown}**", f"no valid answer: “{shown}”"):
        assert text in markdown
    assert re.search(r"(?<!\\)<script", markdown) is None
    html = rendered(params, "html", monkeypatch)
    assert "popularity (evil|&lt;script&gt;" in html
    assert "no valid answer: “evil|&lt;script&gt;" in html
    assert "<script" not in html


class Page(HTMLParser):
    """Counts what a reader with a screen reader needs, and checks that every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: dict[str, int] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag == "img":
            assert dict(attrs)["alt"]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_page_is_well_formed_and_self_contained(params: Params) -> None:
    text = written(params)["report.html"].decode()
    page = Page(text)
    assert page.open == []
    assert page.count["table"] == page.count["caption"]
    # Systems, the ablation of the representation, training of the recommenders, tuning, curriculum.
    assert page.count["img"] == 5 == text.count('src="data:image/png;base64,')
    assert "http" not in text
    assert "<script" not in text


def test_bars_on_fewer_candidate_sets_say_so(params: Params) -> None:
    labels = plots.bar_labels(report.build(params)[0].headlines)
    assert labels[1:3] == ["sasrec · score", "tallrec · generate · 1 of 3 sets"]


def test_plot_tables_join_the_cells(params: Params) -> None:
    found = {name: frame.to_numpy().tolist() for name, frame in report.plot_tables(report.build(params)).items()}
    assert found["recommender_validation"] == [[0, "movielens sasrec-0", 0.1], [1, "movielens sasrec-0", 0.2]]
    assert [0, "movielens tallrec-0 generative", 4.0] in found["llm_loss"]
    assert found["llm_curriculum"] == [  # titles alone have no curriculum
        [0, "movielens llara-sasrec-0 p(hybrid)", 0.0],
        [1, "movielens llara-sasrec-0 p(hybrid)", 1.0],
        [0, "movielens llara-sasrec-0 realised share", 0.1],
        [1, "movielens llara-sasrec-0 realised share", 0.9],
    ]
    assert ["movielens llara-sasrec (generate)", 0.0] in found["hit_ratio"]


def test_without_curves_the_tables_have_headers_and_the_page_has_the_bars(params: Params) -> None:
    for file in paths.CURVES.rglob("*.tsv"):
        file.unlink()
    pages = written(params)
    assert pages["llm_loss.tsv"] == b"step\tcurve\tvalue\n"
    assert Page(pages["report.html"].decode()).count["img"] == 2


def test_a_curve_that_is_no_table_is_an_error(params: Params) -> None:
    (paths.curves("movielens", "sasrec-0") / "plots/metrics/train/loss.tsv").write_text("step\tloss\n0\tmuch\n")
    with pytest.raises(DataError, match=r"sasrec-0/plots/metrics/train/loss\.tsv: expected a tab-separated table"):
        curves.read_curves("movielens", ["sasrec-0"])


def test_the_terminal_has_the_verdict_a_line_per_system_and_the_weights_on_one_screen(params: Params) -> None:
    lines = report.screens(report.build(params), params).splitlines()
    assert lines[2].startswith("sasrec is best on validation (HR@1 1.000) and has 1.000 [1.000, 1.000] on test")
    start = lines.index(next(line for line in lines if line.startswith("  system")))
    named = [line[2:].split("  ")[0] for line in lines[start + 2 : start + 7]]
    assert named == [*SYSTEMS[:-1], "fused-llara-sasrec (0.30)"]
    assert [line[0] for line in lines[start + 2 : start + 7]] == [" ", "*", " ", " ", " "]
    assert max(map(len, lines)) <= 100


def test_many_systems_with_long_names_fit_the_screen(params: Params) -> None:
    (built,) = report.build(params)
    popularity, best, *_, fused = built.headlines
    system = replace(fused.answers.system, name=f"fused-{60 * 'x'}")
    long = replace(fused, answers=replace(fused.answers, system=system))
    lines = terminal.screen("title", 20 * "verdict ", [best, long]).splitlines()
    assert max(map(len, lines)) <= 100
    assert f"  {system.name} (0.30)" in lines
    lines = terminal.screen("title", 80 * "verdict ", [*(replace(popularity) for _ in range(40)), best]).splitlines()
    assert len(lines) <= 40
    assert any(line.startswith("* sasrec") for line in lines)
    n_shown = sum(line.startswith("  popularity") for line in lines)
    assert f"{40 - n_shown} systems lower on validation are in metrics/report.md." in lines


def test_the_summary_is_the_verdict_and_a_table_of_some_twenty_lines(params: Params) -> None:
    page = report.render(report.build(params), params, "summary.md")
    assert page.startswith("**movielens.** sasrec is best on validation")
    rows = {row["System"].strip("*"): row for row in table(page)}
    assert list(rows) == [*SYSTEMS[:-1], "fused-llara-sasrec (LLM weight 0.30)"]
    assert rows["sasrec"]["Paper / counted alike"] == "0.3444 / 1.000"
    assert len(page.splitlines()) == 2 + 2 + 5 + 1 + 2  # verdict, heading, rows, notes
    assert [row.name for row in tables_of_report.shown(report.build(params)[0].headlines, 1)] == ["sasrec"]


def test_a_fusion_that_is_its_recommender_is_no_row_and_is_said(params: Params, world, monkeypatch) -> None:
    world.put("fused-llara-0", world.target_is(1), mode="fused", draws=1, note="LLM weight 0.00")
    reports = report.build(params)
    said = "The fusion of llara with sasrec chose weight 0 for the LLM: it is the recommender, and not shown."
    html = as_text(rendered(params, "html", monkeypatch))
    pages = [rendered(params, "md"), html, report.render(reports, params, "summary.md")]
    pages.append(" ".join(report.screens(reports, params).split()))
    for page in pages:
        assert said in page
        assert "fused-llara-sasrec" not in page
    assert "fused-llara-sasrec" not in {name for names in reports[0].pairs for name in names}
    assert not report.plot_tables(reports)["hit_ratio"]["system"].str.contains("fused").any()


def test_what_the_llm_changes_is_a_table(params: Params) -> None:
    text = section(rendered(params, "md"), "What the LLM changes")
    assert (
        "fused-llara-sasrec, the best of these on validation, departs from the first choice of sasrec on 0% of the sets" in text
    )
    rows = table(text[text.index("\n| System") :])
    keys = ("System", "Its HR@1", "HR@1", "Departs", "Right", "Wrong")
    assert [tuple(row[key] for key in keys) for row in rows] == [
        ("llara-sasrec", "1.000", "0.000", "1.000", "0.000", "1.000"),
        ("fused-llara-sasrec (LLM weight 0.30)", "1.000", "1.000", "0.000", "0.000", "0.000"),
    ]


def test_every_table_opens_with_what_it_shows(params: Params) -> None:
    page = rendered(params, "md")
    opening = {
        "Systems": "sasrec is best on validation",
        "Table 2, the paper's and ours": "3 of the paper's 10 rows have a counterpart in this run.",
        "Any two systems": "10 pairs.",
        "What the LLM changes": "fused-llara-sasrec, the best of these on validation,",
        "Order of the history": "Shuffling the histories changes HR@1 by -1.000 (sasrec).",
        "Cases: sasrec (score), tallrec (generate), llara-sasrec (generate)": "On the 7 candidate sets that all three answer",
        "All ways of answering": "5 systems in 7 rows: the first row of a system is the way of answering",
    }
    for heading, text in opening.items():
        assert section(page, heading).strip().startswith(text), heading
    ablation = section(page, "Ablations")
    assert "llara-sasrec is best on validation" in ablation
    assert "No claim that any system differs from llara-sasrec" in ablation


def test_table_2_counts_answers_as_the_paper_does(params: Params, world) -> None:
    target = world.candidates[[c.EXAMPLE]].merge(world.examples, on=c.EXAMPLE)[c.TARGET]
    texts = [f"Certainly: film *{item}*!" for item in target[world.candidates[c.DRAW] == 0]]
    scores = world.target_is(1)
    frame = world.put("tallrec-0", scores, mode="generate", draws=1, texts=texts, objective="generative")
    folder = paths.predictions("movielens", "tallrec-0")
    _, facts = predictions.read_predictions(folder / "generate.parquet")
    unnamed = pd.array([None] * len(frame), dtype="Int32")
    predictions.write_predictions(folder, frame.assign(**{c.VALID: False, c.PREDICTED: unnamed}), facts)
    rows = table(section(rendered(params, "md"), "Table 2, the paper's and ours"))
    tallrec = next(row for row in rows if row["Ours"] == "tallrec")
    assert (tallrec["HR@1 (ours, counted as theirs)"], tallrec["Valid (ours, counted as theirs)"]) == (
        "1.000 [1.000, 1.000]",
        "1.000",
    )
    assert (tallrec["HR@1 (ours, exact title)"], tallrec["Valid (ours, exact title)"]) == ("0.000 [0.000, 0.000]", "0.000")
    sasrec = next(row for row in rows if row["Ours"] == "sasrec")
    assert sasrec["Valid (ours, counted as theirs)"] == sasrec["Valid (ours, exact title)"] == "1.000"


def test_a_recommender_that_the_paper_does_not_have_is_reported(params: Params, world, monkeypatch) -> None:
    for cell in ("bert4rec", "llara-bert4rec"):
        world.put(f"{cell}-0", world.target_is(2))
    world.put("llara-bert4rec-0", world.target_is(2), mode="generate", draws=1, objective="generative")
    world.put("fused-llara-bert4rec-0", world.target_is(2), mode="fused", note="LLM weight 0.50")
    axes = {"recommenders": ["sasrec", "bert4rec"], "llm_recommenders": ["sasrec", "bert4rec"], "text_systems": ["tallrec"]}
    for form in ("md", "html"):
        page = rendered(world.on_axes(**axes), form, monkeypatch)
        assert "fused-llara-bert4rec" in page
    rows = table(section(rendered(world.on_axes(**axes), "md"), "Table 2, the paper's and ours"))
    assert not any("bert4rec" in row["Ours"] for row in rows)


def test_with_three_runs_every_comparison_is_tested(params: Params, world, monkeypatch) -> None:
    for seed in (1, 2):
        world.put(f"sasrec-{seed}", world.target_is(1))
        world.put(f"sasrec-{seed}", world.target_is(2), shuffled=True)
        for system in ("tallrec", "llara-sasrec"):
            world.put(f"{system}-{seed}", world.target_is(2), mode="generate", draws=1)
            world.put(f"{system}-{seed}", world.target_is(3), draws=1)
        cell = f"fused-llara-{seed}"
        world.put(cell, "fused-llara-sasrec", world.target_is(1), mode="fused", draws=1, note="LLM weight 0.20")
    three = world.on_axes(text_systems=["tallrec"], seeds=[0, 1, 2])
    page = rendered(three, "md")
    # Four rows are tested; three of them differ for all 7 users: p = 2 / 2**7 times 4 hypotheses, Holm.
    p_values = {row["System"]: row["p"] for row in table(section(page, "Systems"))}
    assert p_values == {
        "popularity": "0.062",
        "sasrec": "-",
        "tallrec": "0.062",
        "llara-sasrec": "0.062",
        "fused-llara-sasrec (LLM weight 0.30, 0.20)": "1.000",
    }
    assert "one run" not in page
    assert "2 LLM systems tested against sasrec (p < 0.05" in page
    assert "not distinguishable tallrec and llara-sasrec." in page
    wide = three.model_copy(update={"evaluation": three.evaluation.model_copy(update={"confidence": 0.8})})
    assert "significantly above it none; below it tallrec and llara-sasrec; not distinguishable none." in rendered(wide, "md")


def test_budgets_say_what_each_system_and_the_paper_tuned_on(params: Params) -> None:
    systems = systems_of(params.run.model_copy(update={"systems": ["llara", "llara_next_item"]}))
    lens = np.repeat([1, 2, 3, 10], [50, 50, 50, 850])
    found = tuned_on(params, systems, lens)
    ours, papers = budgets(found, lens)
    assert found == {"tallrec": "256 prompts", "llara": "256 prompts", "llara_next_item": "up to 512 chunks"}
    assert ours.endswith("chunks of training sequences: tallrec, llara: 256 prompts; llara_next_item: up to 512 chunks.")
    assert "for 5 epochs" in papers
    assert f"so on {5 * (50 + 850):,} prompts" in papers
    assert budgets({}, lens) == []


@pytest.mark.parametrize(
    ("key", "values", "n_examples", "text"),
    [
        ("llara", {}, 10, "50 prompts"),  # 5 epochs of 10 are less than 256
        ("llara", {"max_examples": None}, 1000, "5,000 prompts"),
        ("llara", {"max_examples": None, "min_history_len": 3}, 1000, f"{5 * 800:,} prompts"),  # a fifth has two items
        ("llara_next_item", {"max_examples": 4096}, 10, "up to 4,096 chunks"),
        ("llara_next_item", {"max_examples": None}, 10, "all chunks of 5 epochs"),
        ("llara_next_item", {"warm_start_rows": 2000}, 10, "up to 512 chunks after 2,000 rows of the other objective"),
        ("llara", {"mixture": 0.25}, 1000, "256 prompts mixed with 25% of the other objective"),
        (
            "llara",
            {"warm_start_rows": 64, "mixture": 0.25},
            1000,
            "256 prompts after 64 rows of, and mixed with 25% of, the other objective",
        ),
    ],
)
def test_a_budget_is_what_there_is_and_what_else_was_trained(
    params: Params, key: str, values: dict[str, object], n_examples: int, text: str
) -> None:
    system = params.system(key)
    changed = system.model_copy(update={"tune": system.tune.model_copy(update=values)})
    params = params.model_copy(update={"systems": {**params.systems, key: changed}})
    run = params.run.model_copy(update={"systems": [key], "text_systems": []})
    assert tuned_on(params, systems_of(run), np.repeat([2, 3], [n_examples // 5, n_examples - n_examples // 5])) == {key: text}


def test_an_ablation_shows_the_budgets_where_they_differ(params: Params) -> None:
    ((ablation,),) = [each.ablations for each in report.build(params)]

    def headings(**budgets: str) -> list[str]:
        return [column.heading for column in ablation_columns(ablation.rows, params, "movielens", budgets)]

    assert headings(llara="256 prompts", tallrec="256 prompts")[:3] == ["System", "Answers by", "Validation HR@1"]
    assert headings(llara="256 prompts", tallrec="64 prompts")[:3] == ["System", "Answers by", "Tuned on"]


def test_zero_has_one_sign() -> None:
    assert [signed(value) for value in (-0.0, -0.0001, 0.0001, -0.05)] == ["+0.000", "+0.000", "+0.000", "-0.050"]
    assert [points(value) for value in (-0.001, 0.001, -0.05)] == ["+0", "+0", "-5"]


@pytest.mark.parametrize(
    ("dataset", "selection"),
    [
        ("movielens", "On movielens, interactions rated 3 or higher are kept; users"),
        (
            "lastfm",
            "On lastfm, interactions of items with at least 4, of users with at least 4 are kept, in the order of the file",
        ),
        ("steam", "interactions of users with at least 20, of a random 33% of the users and 33% of the items are kept; users"),
    ],
)
def test_the_protocol_says_which_rows_count_in_five_points(dataset: str, selection: str) -> None:
    sentences = protocol(load_params(Path(__file__).parents[3] / "params.yaml"), dataset)
    assert selection in sentences[0]
    assert len(sentences) == 5
