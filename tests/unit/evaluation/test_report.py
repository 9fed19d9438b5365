import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llara_core import columns as c
from llara_core import paths, predictions, tables
from llara_core.config import Params, load_params
from llara_core.errors import DataError
from llara_core.evaluation import curves, paper, plots, report
from llara_core.evaluation.protocol import budgets, protocol, tuned_on
from llara_core.evaluation.systems import systems_of
from llara_core.evaluation.tables import ablation_columns, points, resolution, signed, significance_level

SYSTEMS = ("popularity", "sasrec", "tallrec", "llara-sasrec", "fused-llara-sasrec")


def log(cell: str, name: str, values: list[float]) -> None:
    file = paths.curves("movielens", cell) / "plots" / "metrics" / f"{name}.tsv"
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"step": range(len(values)), Path(name).name: values}).to_csv(file, sep="\t", index=False)


@pytest.fixture
def params(world) -> Params:
    world.put("popularity", "popularity", world.target_is(4))
    world.put("sasrec-0", "sasrec", world.target_is(1), hardware="A processor, 2 cores")
    world.put("sasrec-0", "sasrec", world.target_is(2), shuffled=True)
    for cell, system in (("tallrec-0", "tallrec"), ("llara-sasrec-0", "llara-sasrec")):
        world.put(cell, system, world.target_is(2), mode="generate", draws=1, objective="generative")
        world.put(cell, system, world.target_is(3), draws=1, objective="generative")
        log(cell, "train/loss_generative", [4.0, 3.0])
        log(cell, "train/lr", [0.1, 0.05])
        log(cell, "curriculum/p_hybrid", [0.0, 1.0])
        log(cell, "curriculum/hybrid_share", [0.1, 0.9])
    world.put("fused-llara-sasrec-0", "fused-llara-sasrec", world.target_is(1), mode="fused", draws=1, note="LLM weight 0.30")
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
    return report.render(report.build(params), params, form)


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
        for text in (*SYSTEMS, "LLM weight 0.30", world.candidates_hash, paper.SOURCE, "A processor, 2 cores", "commit"):
            assert text in page
        assert all(word in page for word in ("other candidate sets", "has no kept interaction", "80% / 10% / 10%", "reference"))


def test_the_table_of_systems_has_one_row_each_in_the_mode_that_it_is_judged_by(params: Params) -> None:
    page = rendered(params, "md")
    rows = table(section(page, "Systems"))
    # The world has no training examples.
    assert [(row["System"], row["Answers by"], row["Tuned on"], row["Difference"]) for row in rows] == [
        ("popularity", "score", "-", "-1.000 [-1.000, -1.000]"),
        ("sasrec", "score", "-", "reference"),
        ("tallrec", "generate", "0 prompts", "-1.000 [-1.000, -1.000]"),
        ("llara-sasrec", "generate", "0 prompts", "-1.000 [-1.000, -1.000]"),
        ("fused-llara-sasrec (LLM weight 0.30)", "fused", "0 prompts", "+0.000 [+0.000, +0.000]"),
    ]
    details = table(section(page, "All ways of answering"))
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
        assert "the reference" not in texts.lower()
        assert "MoRec encodes" not in texts


def test_any_two_systems_are_in_the_matrix_and_the_significant_ones_in_the_list(params: Params, monkeypatch) -> None:
    # Of 10 pairs, sasrec and the fused differ from the other three for all 7 users: p = 2/2**7, times 10.
    text = section(rendered(params, "md"), "Any two systems")
    assert "10 pairs, of which 0 differ significantly (p < 0.05" in text
    wide = params.model_copy(update={"evaluation": params.evaluation.model_copy(update={"confidence": 0.8})})
    listed = section(rendered(wide, "md"), "Any two systems")
    assert "10 pairs, of which 6 differ significantly (p < 0.2" in listed
    assert "- sasrec is better than popularity, tallrec, llara-sasrec\n" in listed
    html = rendered(wide, "html", monkeypatch)
    assert 'class="better" title="sasrec 1.000, popularity 0.000: +1.000 [+1.000, +1.000], p 0.156">+100</td>' in html
    assert (
        'class="worse" title="popularity 0.000, sasrec 1.000: \u22121.000 [\u22121.000, \u22121.000], p 0.156">\u2212100</td>'
        in html
    )


def test_all_pairs_are_written_with_six_decimals(params: Params, world) -> None:
    lines = written(params)["pairs.tsv"].decode().splitlines()
    assert lines[0] == "dataset\tfirst\tsecond\tdifference\tlow\thigh\tadjusted p"
    assert lines[1] == "movielens\tpopularity\tsasrec\t-1.0\t-1.0\t-1.0\t0.15625"  # 10 * 2 / 2**7
    assert len(lines) == 1 + 10
    one = world.on_axes(systems=[], llm_recommenders=[], recommenders=[])
    assert report.pairs_table(report.build(one)).to_csv(sep="\t", index=False).splitlines() == lines[:1]


def test_the_level_is_the_share_that_the_intervals_leave_out(params: Params) -> None:
    assert significance_level(params.evaluation) == 0.05  # 1 - 0.95 is more, and a p-value of 0.05 would be below it


def test_too_few_sign_patterns_for_the_number_of_pairs_are_said(params: Params) -> None:
    config = params.evaluation.model_copy(update={"permutation_samples": 199})
    assert resolution(9, config) == ""  # the smallest is 9 / 200
    assert "raise evaluation.permutation_samples to 200 or more" in resolution(10, config)  # 10 / 200 = 0.05


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
    assert "Ablations that this run does not have the systems for: Curriculum (the paper's Table 3);" in page
    cases = section(page, "Cases: sasrec (score), tallrec (generate), llara-sasrec (generate)")
    only = next(row for row in table(cases) if row["Kind"] == "only the recommender is right")
    assert (only["Sets"], only["Expected"], only["Users"]) == ("7", "7.0", "7")
    assert "Behaviour decides: no such set." in cases


def test_markdown_shows_titles_as_they_are(params: Params, world) -> None:
    world.put("llara-sasrec-0", "llara-sasrec", world.target_is(1), mode="generate", draws=1, objective="generative")
    page = rendered(params, "md")
    assert r"History, oldest first: Film \*1\*; Film \*2\*. Target: **Film \*" in page


def test_text_of_others_stays_text(params: Params, world, monkeypatch) -> None:
    evil, shown = "evil|<script>\n&~`", r"evil\|\<script\> \&\~\`"
    facts = {"objective": "generative", "mode": "generate", "draws": 1}
    world.put("popularity", "popularity", world.target_is(4), note=evil)
    world.put("llara-sasrec-0", "llara-sasrec", world.target_is(1), **facts)
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


def test_terminal_table_has_a_line_per_system(params: Params) -> None:
    lines = report.terminal(report.build(params)).splitlines()
    start = lines.index(next(line for line in lines if line.startswith("system")))
    assert [line.split()[0] for line in lines[start + 2 :]] == list(SYSTEMS)


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

    assert headings(llara="256 prompts", tallrec="256 prompts")[:3] == ["System", "Answers by", "HR@1"]
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
def test_the_protocol_says_which_rows_count_in_five_sentences(dataset: str, selection: str) -> None:
    sentences = protocol(load_params(Path(__file__).parents[3] / "params.yaml"), dataset)
    assert selection in sentences[0]
    assert len(sentences) == 5
