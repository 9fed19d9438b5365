"""Reach of global values; no other system is tuned again."""

from __future__ import annotations

from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from llara_core.config import Params, load_params
from llara_core.config.params import flat
from llara_core.config.reach import _USED_IF, SHARED
from llara_core.config.resolution import resolved
from tests.helpers.params import copy_params

REPOSITORY = Path(__file__).parents[2]
PAGE, BEGIN, END = REPOSITORY / "docs" / "systems.md", "<!-- reach:begin -->\n", "<!-- reach:end -->"


@pytest.fixture
def params_file(tmp_path: Path) -> Path:
    return copy_params(tmp_path)


def with_setting(file: Path, *settings: str) -> Params:
    apply_overrides(file, list(settings))
    return load_params(file)


def keys(params: Params) -> list[str]:
    return list(flat({section: getattr(params, section).model_dump() for section in SHARED}))


def test_a_value_reaches_systems_that_neither_override_nor_ignore_it(params_file: Path) -> None:
    params = with_setting(params_file, "run.systems=[zero_shot,tallrec,llara,llara_guided,llara_compact]")
    assert str(params.reach("curriculum.schedule")) == (
        "reaches llara; llara_guided sets its own; zero_shot, tallrec and llara_compact make no use of it"
    )
    # llara_compact overrides it, tallrec does not, and an untuned system ignores it.
    assert str(params.reach("tune.max_examples")) == (
        "reaches tallrec, llara; llara_guided and llara_compact set their own; zero_shot makes no use of it"
    )
    assert str(params.reach("tune.preference_beta")).startswith("reaches no LLM system of the run; ")
    assert params.reach("curriculum.two_stage_text_share").reached == ()
    two_stage = with_setting(params_file, "curriculum.schedule=two_stage")
    assert two_stage.reach("curriculum.two_stage_text_share").reached == ("llara",)


def test_a_value_that_a_parent_sets_is_its_own(params_file: Path) -> None:
    params = with_setting(params_file, "run.systems=[llara_guided,guided_after,guided_linear]")
    assert params.reach("curriculum.schedule").own == ("llara_guided", "guided_after", "guided_linear")
    assert params.reach("lora.rank").reached == ("llara_guided", "guided_after", "guided_linear")


def test_another_schedule_changes_only_the_systems_that_it_reaches(params_file: Path) -> None:
    before = load_params(params_file)
    after = with_setting(params_file, "curriculum.schedule=direct")
    changed = tuple(name for name in before.run.systems if resolved(before.system(name)) != resolved(after.system(name)))
    assert changed == before.reach("curriculum.schedule").reached == ("llara",)


def test_the_conditions_name_keys_that_exist(params_file: Path) -> None:
    assert set(_USED_IF) <= set(keys(load_params(params_file)))


def test_the_page_has_the_table_of_the_default_run(params_file: Path) -> None:
    """On failure, the message has the expected table, to be pasted between the marks."""
    params = load_params(params_file)
    rows: dict[tuple[str, ...], list[str]] = {}
    for key in keys(params):
        found = params.reach(key)
        said = tuple("own" if name in found.own else "" if name in found.unused else "yes" for name in params.run.systems)
        rows.setdefault(said, []).append(f"`{key}`")
    table = [
        f"| Global value | {' | '.join(f'`{name}`' for name in params.run.systems)} |",
        f"| --- |{' --- |' * len(params.run.systems)}",
        *(f"| {', '.join(named)} |{''.join(f' {word} |' for word in said)}" for said, named in rows.items()),
    ]
    expected = "\n".join(table) + "\n"
    assert PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0] == expected, f"\n{expected}"
