from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llara_core import paths
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
    table = lines[lines.index(next(line for line in lines if line.startswith("system"))) + 2 :]
    assert [line.split()[0] for line in table if line] == ["popularity", "sasrec", long, "llara-sasrec", f"fused-{long}"]
