from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llara_core import paths
from llara_core.config import load_params
from llara_core.errors import DataError
from llara_core.evaluation import curves, paper, report
from llara_core.evaluation.tables import TERMINAL_WIDTH

SYSTEMS = ("popularity", "sasrec", "llara-sasrec", "fused-llara-sasrec")


def log(cell: str, name: str, values: list[float]) -> None:
    file = paths.curves("movielens", cell) / "plots" / "metrics" / f"{name}.tsv"
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"step": range(len(values)), Path(name).name: values}).to_csv(file, sep="\t", index=False)


@pytest.fixture
def filled(world):
    world.put("popularity", "popularity", world.target_is(4))
    world.put("sasrec-0", "sasrec", world.target_is(1))
    world.put("llara-sasrec-0", "llara-sasrec", world.target_is(2), draws=1, objective="generative")
    world.put("fused-llara-sasrec-0", "fused-llara-sasrec", world.target_is(1), mode="fused", draws=1, note="LLM weight 0.30")
    log("sasrec-0", "train/loss", [3.0, 2.0])
    log("sasrec-0", "validation/hit_ratio@1", [0.1, 0.2])
    log("llara-sasrec-0", "train/loss_generative", [4.0, 3.0])
    log("llara-sasrec-0", "train/lr", [0.1, 0.05])
    log("llara-sasrec-0", "curriculum/p_hybrid", [0.0, 1.0])
    log("llara-sasrec-0", "curriculum/hybrid_share", [0.1, 0.9])
    return world


def written(world) -> dict[str, bytes]:
    report.write(report.build(world.params), world.params)
    files = [*Path("metrics").glob("report.*"), *Path("metrics/plots").iterdir()]
    return {file.name: file.read_bytes() for file in files}


def test_same_inputs_same_bytes(filled) -> None:
    assert written(filled) == written(filled)


def test_pages_name_every_system_the_protocol_and_the_papers_figures(filled) -> None:
    pages = written(filled)
    for page in (pages["report.md"].decode(), pages["report.html"].decode()):
        for text in (*SYSTEMS, "LLM weight 0.30", "generative (paper)", filled.candidates_hash, paper.SOURCE, "0.4737"):
            assert text in page
        assert all(word in page for word in ("other candidate sets", "never interacted with", "80% / 10% / 10%", "reference"))


def rows_of(page: str) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of a Markdown page's table of systems by system and mode; heading to text without emphasis."""
    lines = page.replace("*", "").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| System | Answers by"))
    heading, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[start : lines.index("", start)]]
    return {(row[0], row[1]): dict(zip(heading, row, strict=True)) for row in rows}


def test_the_papers_figures_stand_beside_their_counterparts_and_the_others_below(filled) -> None:
    filled.put("llara-sasrec-0", "llara-sasrec", filled.target_is(2), mode="generate", draws=1, objective="generative")
    pages = written(filled)
    page = pages["report.md"].decode()
    assert {key: row["HR@1 in the paper"] for key, row in rows_of(page).items()} == {
        ("popularity", "score"): "",
        ("sasrec", "score"): "0.3444",
        ("llara-sasrec", "generate"): "0.4421 (valid 0.9684)",
        ("llara-sasrec", "score"): "",
        ("fused-llara-sasrec (LLM weight 0.30)", "fused"): "",
    }
    below = page[page.index("### Further systems of the paper") :]
    assert "| LLaRA (SASRec) |" not in below
    assert "| SASRec |" not in below
    # What was not run here is no counterpart: the list is complete.
    for row in ("| TALLRec | 0.3895 | 0.9263 |", "| MoRec | 0.2822 | 1.0000 |", "| LLaRA (Caser) | 0.4737 | 0.9684 |"):
        assert row in below
    html = pages["report.html"].decode()
    assert html.count("0.4421 (valid 0.9684)") == 1
    assert html.count("0.3444") == 1
    assert '<th scope="row">TALLRec</th><td>0.3895</td>' in html


def test_another_objective_has_no_counterpart(filled) -> None:
    filled.put("llara-sasrec-0", "llara-sasrec", filled.target_is(2), mode="generate", draws=1, objective="next_item")
    assert rows_of(written(filled)["report.md"].decode())["llara-sasrec", "generate"]["HR@1 in the paper"] == ""


def test_a_dataset_that_the_paper_does_not_have_has_no_column_for_it(filled) -> None:
    (built,) = report.build(filled.params)
    other = [replace(built, published=paper.TABLE_2.get("synthetic", ()))]
    for form in ("md", "html"):
        page = report.render(other, filled.params, form)
        assert "HR@1 in the paper" not in page
        assert paper.SOURCE not in page
    assert "paper" not in report.terminal(other)


def test_html_page_is_self_contained_and_describes_its_figures(filled) -> None:
    page = written(filled)["report.html"].decode()
    assert page.count('<img src="data:image/png;base64,') == 3 == page.count(' alt="')
    assert "http" not in page


def test_plot_tables_join_the_cells(filled) -> None:
    pages = written(filled)
    assert (
        pages["recommender_validation.tsv"].decode()
        == "step\tcurve\tvalue\n0\tmovielens sasrec-0\t0.1\n1\tmovielens sasrec-0\t0.2\n"
    )
    curriculum = pages["llm_curriculum.tsv"].decode().splitlines()
    assert curriculum[1] == "0\tmovielens llara-sasrec-0 p(hybrid)\t0.0"
    assert curriculum[-1] == "1\tmovielens llara-sasrec-0 realised share\t0.9"
    assert "movielens llara-sasrec (score)\t0.0" in pages["hit_ratio.tsv"].decode()


def test_without_curves_the_tables_have_headers_and_the_page_has_the_bars(filled) -> None:
    for cell in ("sasrec-0", "llara-sasrec-0"):
        for file in paths.curves("movielens", cell).rglob("*.tsv"):
            file.unlink()
    pages = written(filled)
    assert pages["llm_loss.tsv"] == b"step\tcurve\tvalue\n"
    assert pages["report.html"].decode().count("<img ") == 1


def test_a_curve_that_is_no_table_is_an_error(filled) -> None:
    (paths.curves("movielens", "sasrec-0") / "plots/metrics/train/loss.tsv").write_text("step\tloss\n0\tmuch\n")
    with pytest.raises(DataError, match=r"sasrec-0/plots/metrics/train/loss\.tsv: expected a tab-separated table"):
        curves.read_curves("movielens", ["sasrec-0"])


def test_terminal_table_fits_and_has_a_line_per_system(filled) -> None:
    long = "llara_next_item-sasrec"
    filled.put("llara-sasrec-0", long, filled.target_is(2) + np.zeros((36, 5)), mode="constrained", objective="next_item")
    filled.put("fused-llara-sasrec-0", f"fused-{long}", filled.target_is(1), mode="fused")
    lines = report.terminal(report.build(filled.params)).splitlines()
    assert max(map(len, lines)) <= TERMINAL_WIDTH
    start = lines.index(next(line for line in lines if line.startswith("system")))
    table = lines[start + 2 : lines.index("", start)]
    assert [line.split()[0] for line in table] == ["popularity", "sasrec", long, "llara-sasrec", f"fused-{long}"]
    place = lines[start].index("paper*")
    assert [line[place : place + 6].strip() for line in table] == ["", "0.3444", "", "", ""]
    assert "other candidate sets" in lines[-1]


def test_terminal_table_leaves_the_papers_figures_out_where_they_do_not_fit(filled) -> None:
    filled.put("sasrec-0", "sasrec", filled.target_is(1))
    long = "fused-" + 22 * "x" + "-sasrec"
    filled.put("fused-llara-sasrec-0", long, filled.target_is(1), mode="constrained")
    text = report.terminal(report.build(filled.params))
    assert max(map(len, text.splitlines())) <= TERMINAL_WIDTH
    assert long in text
    assert "paper" not in text


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
def test_the_protocol_says_which_rows_count(dataset: str, selection: str) -> None:
    params = load_params(Path(__file__).parents[3] / "params.yaml")
    assert selection in report.protocol(params, dataset)[0]
