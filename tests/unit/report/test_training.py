import pytest

from llara_core import paths
from llara_core.config import Params
from llara_core.errors import DataError
from llara_core.report import training


def test_plot_tables_join_the_runs(params: Params, world) -> None:
    curves = training.read_curves(world.compared(params))
    tables = {name: frame.to_numpy().tolist() for name, frame in training.curve_plots([curves]).items()}
    assert tables["recommender_validation"] == [[0, "movielens sasrec-0", 0.1], [1, "movielens sasrec-0", 0.2]]
    assert [0, "movielens tallrec-0 generative", 4.0] in tables["llm_loss"]
    assert tables["llm_curriculum"] == [  # titles alone have no curriculum
        [0, "movielens llara-0 p(hybrid)", 0.0],
        [1, "movielens llara-0 p(hybrid)", 1.0],
        [0, "movielens llara-0 realised share", 0.1],
        [1, "movielens llara-0 realised share", 0.9],
    ]


def test_without_curves_the_tables_have_headers_and_there_is_no_section(params: Params, world) -> None:
    for file in paths.CURVES.rglob("*.tsv"):
        file.unlink()
    curves = training.read_curves(world.compared(params))
    assert training.section(curves) is None
    assert training.curve_plots([curves])["llm_loss"].to_csv(sep="\t", index=False) == "step\tcurve\tvalue\n"


def test_a_curve_that_is_no_table_is_an_error(params: Params, world) -> None:
    comparisons = world.compared(params)
    (paths.curves("movielens", "sasrec-0") / "plots/metrics/train/loss.tsv").write_text("step\tloss\n0\tmuch\n")
    with pytest.raises(DataError, match=r"sasrec-0/plots/metrics/train/loss\.tsv: expected a tab-separated table"):
        training.read_curves(comparisons)
