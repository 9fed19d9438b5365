import numpy as np
import pytest

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.answers.predictions import PredictionMetadata, write_predictions
from llara_core.config import CaseStudyConfig
from llara_core.report import cases
from llara_core.report.cases import BEHAVIOR_DECIDES, KINDS, WORLD_KNOWLEDGE_DECIDES, CaseStudy
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import ReportSection


def compared(world, n_cases: int = 1, **axes: object) -> Comparisons:
    params = world.on_axes(**{"baselines": [], "systems": ["tallrec", "llara"], **axes})
    update = {"case_studies": [CaseStudyConfig(hybrid="llara", text="tallrec")], "n_cases": n_cases}
    params = params.model_copy(update={"report": params.report.model_copy(update=update)})
    return world.compared(params)


def studies_of(world, n_cases: int = 1, **axes: object) -> list[CaseStudy]:
    return cases.case_studies(compared(world, n_cases, **axes))


def put_all(world) -> None:
    """Test examples are 5 to 11. The recommender is right up to 8, the text from 8 on, the hybrid always; draw 2 is missed."""
    example = world.candidates[c.EXAMPLE].to_numpy()[:, None]
    right, wrong = world.target_is(1), world.target_is(2)
    draw_2 = world.candidates[c.DRAW].to_numpy()[:, None] == 2
    world.put("sasrec-0", np.where((example <= 8) & ~draw_2, right, wrong))
    world.put("tallrec-0", np.where(example >= 8, right, wrong), draws=2, objective="generative")
    world.put("llara-0", right, draws=2, objective="generative")
    world.put("fused-llara-0", right, mode="fused", llm_weight=0.3)


def test_all_combinations_are_counted_over_sets_and_users(world) -> None:
    put_all(world)
    (study,) = studies_of(world)
    assert study.names == ["sasrec (score)", "tallrec (score)", "llara (score)"]
    assert study.n_sets == 7 * 2
    counts = {KINDS[count.right]: (count.n_sets, count.n_users) for count in study.counts if count.n_sets}
    assert counts == {
        "behaviour decides": (3 * 2, 3),  # examples 5, 6, 7
        "all are right": (1 * 2, 1),  # example 8
        "world knowledge decides": (3 * 2, 3),  # examples 9, 10, 11
    }
    # The recommender and the text are right on 4 of 7, the hybrid on all: independent, behaviour would decide 4/7 * 3/7 of all.
    assert study.counts[0].expected_sets == pytest.approx(14 * 4 / 7 * 3 / 7)
    assert sum(count.expected_sets for count in study.counts) == pytest.approx(14)


def test_the_first_examples_are_shown_with_their_answers(world) -> None:
    put_all(world)
    (study,) = studies_of(world, n_cases=2)
    assert [(case.user, case.example, case.draw) for case in study.cases[BEHAVIOR_DECIDES]] == [(105, 5, 0), (106, 6, 0)]
    assert [(case.user, case.draw) for case in study.cases[WORLD_KNOWLEDGE_DECIDES]] == [(109, 0), (110, 0)]
    case = study.cases[BEHAVIOR_DECIDES][0]
    assert case.history == ["Film *1*", "Film *2*"]
    assert case.answers[0] == case.answers[2] == case.target
    assert case.answers[1] != case.target


def test_an_answer_that_names_no_candidate_is_shown_as_it_was_written(world) -> None:
    put_all(world)
    folder = paths.system_predictions("movielens", "tallrec-0")
    frame = tables.read_table(folder / "score.parquet", tables.PREDICTIONS)
    frame[c.VALID], frame[c.PREDICTED], frame[c.SCORES] = False, None, None
    frame[c.PREDICTED] = frame[c.PREDICTED].astype("Int32")
    frame[c.TEXT] = "I would\nsay " + 80 * "x"
    facts = PredictionMetadata(
        dataset="movielens",
        system="tallrec",
        mode="generate",
        objective="generative",
        seed=0,
        candidates_hash=world.candidates_hash,
    )
    write_predictions(folder, frame, facts)
    (study,) = studies_of(world)
    assert study.names[1] == "tallrec (generate)"
    assert study.cases[BEHAVIOR_DECIDES][0].answers[1] == f"no valid answer: “I would say {(80 - 12) * 'x'}…”"


def test_a_study_with_a_system_off_the_axes_is_left_out(world) -> None:
    put_all(world)
    assert studies_of(world, systems=["llara"]) == []


def test_the_section_has_the_counts_the_first_cases_and_what_there_is_none_of(world) -> None:
    put_all(world)
    (part,) = cases.section(compared(world)).parts
    counts, behavior, knowledge = part.tables
    assert part.heading == "sasrec (score), tallrec (score), llara (score)"
    assert part.verdict.startswith(
        "On the 14 candidate sets that all three answer (first seed), behaviour decides on 6 (3.4 if"
    )
    assert counts.lines[0]["Sets"] == "6"
    assert [(line["User (example), set"], line["History, oldest first"]) for line in behavior.lines] == [
        ("105 (5), 0", "Film *1*; Film *2*")
    ]
    assert knowledge.lines[0]["llara (score)"].startswith("✓ Film")
    world.put("sasrec-0", world.target_is(2))
    assert shown(cases.section(compared(world)).parts[0]) == ["Behaviour decides: no such set."]
    assert shown(cases.section(compared(world, n_cases=0)).parts[0])[1].startswith("World knowledge decides: none is shown")


def shown(part: ReportSection) -> list[str]:
    return list(part.points)
