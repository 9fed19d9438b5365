"""The sections that list all systems, and the paper's Table 2."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from llara_core import columns as c
from llara_core import paths
from llara_core.answers import predictions
from llara_core.config import Params
from llara_core.report import main_table, pages, plots, system_columns, table_2
from llara_core.report.comparisons import Comparisons


def summary(comparisons: Comparisons) -> str:
    return main_table.summary(comparisons.primary_rows, comparisons.zero_weight_fusions, comparisons.level)


def test_systems_have_one_row_each_in_their_primary_mode(params: Params, world) -> None:
    section = main_table.systems(world.compared(params))
    rows = section.tables[0].lines
    columns = ("System", "Answers by", "Tuned on", "Compared with", "Difference", "p")
    worse, equal = "-1.000 [-1.000, -1.000]", "+0.000 [+0.000, +0.000]"
    # The world has no training examples.
    assert [tuple(row[column] for column in columns) for row in rows] == [
        ("popularity", "score", "-", "sasrec", worse, "one run"),
        ("sasrec", "score", "-", "reference", "-", "-"),
        ("tallrec", "generate", "0 prompts", "sasrec", worse, "one run"),
        ("llara (on sasrec)", "generate", "0 prompts", "sasrec", worse, "one run"),
        ("llara + sasrec (LLM weight 0.30)", "fused", "0 prompts", "sasrec", equal, "one run"),
    ]
    assert [(row["Validation HR@1"], row["Users x sets"]) for row in rows[1:3]] == [("1.000", "7 x 3"), ("0.000 †", "7 x 1")]


def test_figures_on_fewer_sets_are_marked_in_every_table_of_systems(params: Params, world) -> None:
    comparisons = world.compared(params)
    for table in (main_table.systems(comparisons).tables[0], main_table.modes(comparisons).tables[0]):
        measured = [column for column in table.columns if column.heading in ("Validation HR@1", "HR@1", "Valid", "NDCG@10")]
        assert len(measured) > 2
        assert any("†" in text for text in (table.caption, *(column.meaning for column in table.columns)))
        for row in [row for _, rows in table.groups for row in rows]:
            for column in measured:
                text = column.text(row)
                assert text == "-" or text.endswith("†") == (row.name not in ("popularity", "sasrec")), (row.name, column)
    alone = world.compared(world.on_axes(systems=[]))
    assert "†" not in "".join(map(str, main_table.systems(alone).tables[0].lines))


def test_systems_that_write_text_also_show_expected_paper_hit_ratio_by_score(params: Params, world) -> None:
    world.put("llara-0", world.target_is(1), draws=1, objective="generative")
    comparisons = world.compared(params)
    for table in main_table.systems(comparisons).tables:
        assert [row["HR@1 by score"] for row in table.lines] == ["-", "-", "0.000 †", "1.000 †", "-"]
    lines = pages.terminal_text([pages.dataset_report(comparisons)]).splitlines()
    assert any(re.match(r"  llara +t +\.000† +\.000† \[\.000, \.000\] +1\.000 † ", line) for line in lines), lines


def test_the_verdict_names_the_leader_and_that_one_run_is_no_test(params: Params, world) -> None:
    assert summary(world.compared(params)) == (
        "sasrec is best on validation (HR@1 1.000) and reaches 1.000 [1.000, 1.000] on test (7 users x 3 sets, one run). No "
        "claim is made that any LLM system differs from its recommender (sasrec where it has none): there is one run, and a "
        "test needs 3. The test difference of tallrec, the best of these 2 LLM systems by validation difference to the "
        "reference, to sasrec is -1.000 [-1.000, -1.000], 0.000 against 1.000 on the same sets. LLM weights of the fusions: "
        "llara + sasrec 0.30 (1.000 against 1.000 on the same test sets, one run)."
    )


def test_a_difference_on_fewer_sets_than_shown_has_both_hit_ratios_in_its_footnote(params: Params, world) -> None:
    scores = world.target_is(1)
    first_draws = (world.candidates[c.DRAW] == 0).to_numpy()
    scores[first_draws] = world.target_is(2)[first_draws]
    world.put("sasrec-0", scores)
    table = main_table.systems(world.compared(params)).tables[0]
    columns = {column.heading: column for column in table.columns}
    assert table.lines[1]["HR@1"].startswith("0.667")
    # Popularity answers all sets, so the table shows both of its hit ratios.
    assert columns["Difference"].meaning.endswith(
        "(HR@1 on these sets where the table shows another: tallrec 0.000 against 0.000; llara 0.000 against 0.000; "
        "llara + sasrec 1.000 against 0.000)"
    )


def test_hits_among_all_items_are_in_the_table_and_in_a_sentence(params: Params, world) -> None:
    assert not any("Among all items" in note for note in main_table.systems(world.compared(params)).notes)
    for run_name, folder, ranks, place, facts in (
        ("popularity", paths.baseline_predictions, [11], 4, {}),
        ("sasrec-0", paths.recommender_predictions, [10, 11], 1, {}),
        ("llara-0", paths.system_predictions, [11, 12, 13, 10], 2, {"objective": "generative"}),
    ):
        frame = world.put(run_name, world.target_is(place), **facts)
        frame[c.CATALOGUE_RANK] = pd.array(np.resize(ranks, len(frame)), dtype="Int32")
        _, metadata = predictions.read_predictions(folder("movielens", run_name) / "score.parquet")
        predictions.write_predictions(folder("movielens", run_name), frame, metadata)
    (paths.system_predictions("movielens", "llara-0") / "generate.parquet").unlink()
    section = main_table.systems(world.compared(params))
    # 7 test users with 3 draws, after 15 sets of validation: ranks 11 and 10 alternate and begin with 11 there.
    hit_ratios = [line["Catalogue HR@10"] for line in section.tables[0].lines]
    assert hit_ratios == ["0.000", f"{10 / 21:.3f}", "-", f"{6 / 21:.3f}", "-"]
    assert section.notes[-1] == (
        "Among all items, as in production, HR@10 on test is 0.476 for sasrec and 0.286 for llara, the best on validation "
        "without and with a language model."
    )


def test_two_runs_are_two_runs(params: Params, world) -> None:
    world.put("sasrec-1", world.target_is(1))
    world.put("sasrec-1", world.target_is(1), shuffled=True)
    section = main_table.systems(world.compared(world.on_axes(systems=[], seeds=[0, 1])))
    assert [row["p"] for row in section.tables[0].lines] == ["two runs", "-"]


def test_with_three_runs_every_comparison_is_tested(three_runs: Params, world) -> None:
    comparisons = world.compared(three_runs)
    # Four rows are tested; three of them differ for all 7 users: p = 2 / 2**7 times 4 hypotheses, Holm.
    assert {row["System"]: row["p"] for row in main_table.systems(comparisons).tables[0].lines} == {
        "popularity": "0.062",
        "sasrec": "-",
        "tallrec": "0.062",
        "llara (on sasrec)": "0.062",
        "llara + sasrec (LLM weight 0.30, 0.20)": "1.000",
    }
    tested = "2 LLM systems tested, each against its recommender (sasrec where it has none) (p < {} after Holm's correction). "
    tested += "Significantly better: none; "
    same = "significantly worse: none; no significant difference (in parentheses, the smallest detectable difference): "
    same += "tallrec (0.000) and llara (0.000)."
    assert tested.format(0.05) + same in summary(comparisons)
    evaluation = three_runs.evaluation.model_copy(update={"confidence": 0.8})
    worse = "significantly worse: tallrec and llara; no significant difference: none."
    verdict = summary(world.compared(three_runs.model_copy(update={"evaluation": evaluation})))
    assert tested.format(0.2) + worse in verdict


def test_a_fusion_with_llm_weight_0_is_named_and_has_no_row(params: Params, world) -> None:
    world.put("fused-llara-0", world.target_is(1), mode="fused", draws=1, llm_weight=0.0)
    comparisons = world.compared(params)
    sentence = "llara + sasrec gave the LLM weight 0, so it equals the recommender and is not shown."
    assert summary(comparisons).endswith(sentence)
    assert sentence in " ".join(pages.terminal_text([pages.dataset_report(comparisons)]).split())
    assert "llara + sasrec" not in [row.name for row in comparisons.primary_rows]
    assert "llara + sasrec" not in {name for names in comparisons.pairs for name in names}


def test_all_modes_of_a_system_have_a_row(params: Params, world) -> None:
    section = main_table.modes(world.compared(params))
    assert section.verdict.startswith("5 systems in 7 rows: the first row of a system is the mode in which it is compared")
    lines = section.tables[0].lines
    assert [row["HR@3"] for row in lines if row["Answers by"] == "score"] == ["0.000", "1.000", "1.000 †", "1.000 †"]
    assert [row["Objective"] for row in lines[2:4]] == ["generative", "generative"]


def test_captions_cover_only_systems_of_the_run(params: Params, world) -> None:
    conventional = world.compared(world.on_axes(systems=[], recommenders=[]))
    assert "language model" not in main_table.systems(conventional).tables[0].caption
    assert table_2.section(conventional) is None  # popularity has no counterpart there
    texts = world.compared(world.on_axes(systems=["tallrec"], baselines=[], recommenders=[]))
    assert "The language model is" in main_table.systems(texts).tables[0].caption
    headings = {column.heading for column in main_table.systems(texts).tables[0].columns}
    assert not {"Compared with", "Difference", "p"} & headings
    assert "MoRec" not in table_2.section(texts).tables[0].caption


def test_the_leading_rows_keep_their_order_and_the_reference(params: Params, world) -> None:
    rows = world.compared(params).primary_rows
    assert [row.name for row in system_columns.leading(rows, 1)] == ["sasrec"]
    assert [row.name for row in system_columns.leading(rows, 2)] == ["sasrec", "llara + sasrec"]


def test_bars_on_fewer_candidate_sets_are_labelled(params: Params, world) -> None:
    labels = plots.bar_labels(world.compared(params).primary_rows)
    assert labels[1:3] == ["sasrec · score", "tallrec · generate · 1 of 3 sets"]


def test_table_2_pairs_the_papers_rows_with_ours(params: Params, world) -> None:
    section = table_2.section(world.compared(params))
    assert section.verdict.startswith("3 of the paper's 10 rows have a counterpart on a similar budget in this run.")
    assert {row["System (paper)"]: (row["HR@1 (paper)"], row["Ours"]) for row in section.tables[0].lines} == {
        "GRU4Rec": ("0.3750", "not run"),
        "Caser": ("0.3861", "not run"),
        "SASRec": ("0.3444", "sasrec"),
        "MoRec": ("0.2822", "not run"),
        "Llama2, zero-shot": ("0.0421", "not run"),
        "GPT-4, zero-shot": ("0.2000", "not run"),
        "TALLRec": ("0.3895", "tallrec"),
        "LLaRA (GRU4Rec)": ("0.4421", "not run"),
        "LLaRA (Caser)": ("0.4737", "not run"),
        "LLaRA (SASRec)": ("0.4421", "llara (on sasrec)"),
    }


def test_table_2_leaves_out_systems_of_a_much_smaller_budget(params: Params, world, monkeypatch) -> None:
    monkeypatch.setattr(Comparisons, "budget_shares", {"tallrec": 0.0008, "llara": 0.5})
    rows = {row["System (paper)"]: row for row in table_2.section(world.compared(params)).tables[0].lines}
    assert rows["TALLRec"]["Ours"] == "tallrec: not shown, tuned on 0.1% of the paper's prompts"
    assert rows["TALLRec"]["HR@1 (ours, exact title)"] == ""
    assert rows["LLaRA (SASRec)"]["HR@1 (ours, exact title)"] == "0.000 [0.000, 0.000] †"


def test_table_2_has_the_hit_ratio_expected_with_the_papers_negatives(params: Params, world) -> None:
    comparisons = world.compared(params)
    sasrec = next(row for row in comparisons.primary_rows if row.name == "sasrec")
    (run,) = sasrec.results.runs
    ranks = (run.sets[c.EXAMPLE] % 2 + 1).astype(float)
    ranked = replace(sasrec.results, runs=(replace(run, sets=run.sets.assign(**{c.CATALOGUE_RANK: ranks})),))
    chances = []
    for example, history, target in world.examples[[c.EXAMPLE, c.HISTORY, c.TARGET]].itertuples(index=False):
        n_eligible = 30 - len({*history, target})  # of 30 items; 19 are drawn
        # First of all, or first unless the one that is ahead is drawn.
        chances.append(1.0 if example % 2 == 0 else 1 - 19 / n_eligible)
    assert table_2.expected_paper_hit_ratio(replace(sasrec, results=ranked), comparisons) == pytest.approx(np.mean(chances[5:]))
    assert table_2.expected_paper_hit_ratio(sasrec, comparisons) is None


def test_table_2_counts_answers_as_the_paper_does(params: Params, world) -> None:
    target = world.candidates[[c.EXAMPLE]].merge(world.examples, on=c.EXAMPLE)[c.TARGET]
    texts = [f"Certainly: film *{item}*!" for item in target[world.candidates[c.DRAW] == 0]]
    frame = world.put("tallrec-0", world.target_is(1), mode="generate", draws=1, texts=texts, objective="generative")
    folder = paths.system_predictions("movielens", "tallrec-0")
    _, facts = predictions.read_predictions(folder / "generate.parquet")
    frame[c.VALID], frame[c.PREDICTED] = False, None
    frame[c.PREDICTED] = frame[c.PREDICTED].astype("Int32")
    predictions.write_predictions(folder, frame, facts)
    rows = {row["Ours"]: row for row in table_2.section(world.compared(params)).tables[0].lines}
    hits, valid = "HR@1 (ours, {})", "Valid (ours, {})"
    assert rows["tallrec"][hits.format("paper's rule")] == "1.000 [1.000, 1.000] †"
    assert rows["tallrec"][valid.format("paper's rule")] == "1.000 †"
    assert rows["tallrec"][hits.format("exact title")] == "0.000 [0.000, 0.000] †"
    assert rows["tallrec"][valid.format("exact title")] == "0.000 †"
    assert rows["sasrec"][valid.format("paper's rule")] == rows["sasrec"][valid.format("exact title")] == "1.000"
