import pytest

from llara_core.config import Params
from llara_core.evaluation.paired import Difference, level
from llara_core.report import pairs, wording
from llara_core.report.comparisons import Comparisons


@pytest.fixture
def comparisons(params: Params, world) -> Comparisons:
    """Three baselines, one of them better than the others, and systems with one run."""
    for name, place in (("random", 2), ("item_knn", 1)):
        world.put(name, world.target_is(place))
    return world.compared(world.on_axes(baselines=["random", "popularity", "item_knn"], systems=["tallrec", "llara"]))


def test_pairs_of_untrained_systems_are_tested(comparisons: Comparisons) -> None:
    # Of 21 pairs, 3 are of baselines; item_knn differs from the others for all 7 users: p = 2/2**7, times 3.
    section = pairs.section(comparisons)
    assert section.verdict == (
        "21 pairs. 3 are tested, and 2 of these differ significantly (p < 0.05 after Holm's correction for the pairs tested). "
        "No claim is made that the others differ: there is one run, and a test needs 3."
    )
    assert section.points == ["item_knn is better than random, popularity"]


def test_the_matrix_has_whole_points_and_marks_what_is_significant(comparisons: Comparisons) -> None:
    (matrix,) = pairs.section(comparisons).tables
    random = matrix.lines[0]
    assert (random["System"], random["1"], random["2"], random["3"]) == ("1\u00a0 random", "", "+0", "-100")
    marks = [[column.mark(row) for column in matrix.columns[1:4]] for row in matrix.groups[0][1][:3]]
    assert marks == [["", "", "worse"], ["", "", "worse"], ["better", "better", ""]]
    title = "random 0.000, item_knn 1.000: -1.000 [-1.000, -1.000], p 0.047 (detectable: 0.000)"
    assert matrix.columns[3].title("random") == title


def test_with_one_run_nothing_is_called_significant(params: Params, world) -> None:
    one = world.compared(params)
    assert [each.p_value for each in one.pairs.values()] == [None] * 10
    section = pairs.section(one)
    assert section.verdict == ("10 pairs. No claim is made that any two systems differ: there is one run, and a test needs 3.")
    assert section.points == []
    assert "significant" not in section.tables[0].caption


def test_all_pairs_are_written_with_six_decimals(comparisons: Comparisons, world) -> None:
    lines = pairs.pairs_table([comparisons]).to_csv(sep="\t", index=False).splitlines()
    assert lines[0] == "dataset\tfirst\tsecond\tdifference\tlow\thigh\tadjusted p"
    assert lines[1:5] == [
        "movielens\trandom\tpopularity\t0.0\t0.0\t0.0\t1.0",
        "movielens\trandom\titem_knn\t-1.0\t-1.0\t-1.0\t0.046875",  # 3 * 2 / 2**7
        "movielens\trandom\tsasrec\t-1.0\t-1.0\t-1.0\tone run",
        "movielens\trandom\ttallrec\t0.0\t0.0\t0.0\tone run",
    ]
    assert len(lines) == 1 + 21
    one = world.compared(world.on_axes(systems=[], recommenders=[]))
    assert pairs.pairs_table([one]).to_csv(sep="\t", index=False).splitlines() == lines[:1]
    assert pairs.section(one) is None


def test_too_few_sign_patterns_for_the_number_of_tests_cause_a_warning(params: Params) -> None:
    config = params.evaluation.model_copy(update={"permutation_samples": 199})

    def of(n_tested: int) -> dict[tuple[str, str], Difference]:
        untested = {("a", "b"): Difference(0.5, 0.5, 0.0, 0.0, 1, None)}
        return untested | {("a", str(n)): Difference(0.5, 0.5, 0.0, 0.0, None, 1.0) for n in range(n_tested)}

    assert pairs.resolution(of(9), config) == ""  # the smallest is 9 / 200
    assert "raise evaluation.permutation_samples to 200 or more" in pairs.resolution(of(10), config)  # 10 / 200 = 0.05


def test_the_level_is_the_share_that_the_intervals_leave_out(params: Params) -> None:
    assert level(params.evaluation) == 0.05  # 1 - 0.95 is more, and a p-value of 0.05 would be below it


def test_zero_has_one_sign() -> None:
    assert [wording.signed(value) for value in (-0.0, -0.0001, 0.0001, -0.05)] == ["+0.000", "+0.000", "+0.000", "-0.050"]
    assert [wording.points(value) for value in (-0.001, 0.001, -0.05)] == ["+0", "+0", "-5"]
