"""params.yaml: what it accepts, and what it says when it does not."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from llara_core.config import Params, load_params
from llara_core.config.loading import _explain
from llara_core.errors import ConfigError
from tests.helpers.datasets import dataset_config
from tests.helpers.params import copy_params, raw_params, write_params

REPOSITORY = Path(__file__).parents[2]
Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture
def params_with(tmp_path: Path) -> Callable[[Edit], Path]:
    """Write a copy of the repository's parameters with changes."""

    def write(edit: Edit) -> Path:
        raw = raw_params()
        edit(raw)
        return write_params(raw, tmp_path)

    return write


def replaced(path: Path, old: str, new: str) -> Path:
    """Change the text of a YAML file in place (to test how a number is spelt, which a YAML writer would decide itself)."""
    text = path.read_text()
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1))
    return path


def test_the_repository_s_own_file_is_valid() -> None:
    params = load_params(REPOSITORY / "params.yaml")
    assert set(params.run.systems) <= set(params.systems)
    assert set(params.run.datasets) <= set(params.datasets)


def test_all_problems_are_listed_at_once(params_with: Callable[[Edit], Path]) -> None:
    def edit(raw: dict[str, Any]) -> None:
        raw["candidates"]["n_candidates"] = 1
        raw["curriculum"]["schedule"] = "exponential"
        raw["recommenders"]["sasrec"]["dropout"] = 1.0
        del raw["lora"]["rank"]

    path = params_with(edit)
    with pytest.raises(ConfigError) as caught:
        load_params(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: 4 problem(s)\n")
    assert "  candidates.n_candidates: Input should be greater than or equal to 2, got 1" in message
    assert "  curriculum.schedule: Input should be 'linear', 'direct', 'two_stage'" in message
    assert "got 'exponential'" in message
    assert "  recommenders.sasrec.dropout: Input should be less than 1, got 1.0" in message
    assert "  lora.rank: missing" in message


@pytest.mark.parametrize(
    ("section", "misspelt", "meant"),
    [("recommenders", "learning_rat", "learning_rate"), ("tune", "max_exmples", "max_examples"), ("llm", "modle", "model")],
)
def test_a_misspelt_key_gets_a_suggestion(params_with: Callable[[Edit], Path], section: str, misspelt: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"{section}\.{misspelt}: unknown key; did you mean '{meant}'\?"):
        load_params(params_with(lambda raw: raw[section].update({misspelt: 1})))


def test_the_error_for_a_single_value_shows_how_to_write_a_list(params_with: Callable[[Edit], Path]) -> None:
    message = (
        r"  run\.datasets: is 'lastfm', which is not a list; write \[lastfm\], on the command line 'run\.datasets=\[lastfm\]'$"
    )
    with pytest.raises(ConfigError, match=message):
        load_params(params_with(lambda raw: raw["run"].update(datasets="lastfm")))


def test_only_systems_of_the_run_recommend(params_with: Callable[[Edit], Path]) -> None:
    with pytest.raises(ConfigError, match=r"run\.recommend names \['llara_cosine'\], but this run has only \['random', "):
        load_params(params_with(lambda raw: raw["run"].update(recommend=["sasrec", "llara_cosine"])))


def test_a_misspelt_key_of_a_dataset_and_of_a_system_gets_a_suggestion(params_with: Callable[[Edit], Path]) -> None:
    def edit(raw: dict[str, Any]) -> None:
        raw["datasets"]["movielens"]["min_ratting"] = 3.0
        raw["systems"]["llara"] = {"tune": {"epoch": 3}}

    with pytest.raises(ConfigError) as caught:
        load_params(params_with(edit))
    assert "datasets.movielens.min_ratting: unknown key; did you mean 'min_rating'?" in str(caught.value)
    assert "systems.llara.tune.epoch: unknown key; did you mean 'epochs'?" in str(caught.value)


def test_an_unknown_key_unlike_any_other_gets_the_known_ones(params_with: Callable[[Edit], Path]) -> None:
    with pytest.raises(ConfigError, match=r"lora\.zzz: unknown key; known keys: rank, alpha, dropout"):
        load_params(params_with(lambda raw: raw["lora"].update(zzz=1)))


def test_a_system_overlays_only_what_it_names(params_with: Callable[[Edit], Path]) -> None:
    def edit(raw: dict[str, Any]) -> None:
        raw["tune"]["epochs"] = 7
        raw["tune"]["learning_rate"] = 0.5
        own = {"tune": {"epochs": 2}, "prompt": {"representation": "text"}}
        raw["systems"] |= {"plain": {"recommender": "caser"}, "own": own}
        raw["run"].update(systems=["plain", "own"])

    params = load_params(params_with(edit))
    assert params.system("plain").tune == params.tune
    assert (params.system("plain").recommender, params.system("own").recommender) == ("caser", None)
    assert params.system("own").tuned
    assert params.system("own").tune.epochs == 2
    assert params.system("own").tune.learning_rate == 0.5
    assert params.system("own").prompt.representation == "text"
    assert params.system("own").lora == params.lora
    assert params.tune.epochs == 7


def test_a_system_extends_another(params_with: Callable[[Edit], Path]) -> None:
    def edit(raw: dict[str, Any]) -> None:
        raw["systems"] |= {
            "short": {"recommender": "sasrec", "tune": {"epochs": 2, "objective": "next_item"}},
            "shorter": {"extends": "short", "tune": {"epochs": 1}},
            "shortest": {"extends": "shorter", "lora": {"rank": 1}},
        }

    shortest = load_params(params_with(edit)).system("shortest")
    assert (shortest.tune.objective, shortest.tune.epochs, shortest.lora.rank) == ("next_item", 1, 1)


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("nobody", r"systems\.mine\.extends names 'nobody'"),
        ("mine", r"systems\.mine\.extends leads back to 'mine'"),
    ],
)
def test_a_system_extends_a_defined_one(params_with: Callable[[Edit], Path], extends: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_params(params_with(lambda raw: raw["systems"].update(mine={"extends": extends})))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw["systems"].update(mine={"extends": ["llara"]}), r"systems\.mine\.extends names \['llara'\]"),
        (  # others extend it
            lambda raw: raw["systems"].update(llara_guided=5),
            r"systems\.yaml: 1 problem\(s\)\n  systems\.llara_guided: Input should be a valid dictionary .*, got 5$",
        ),
        (lambda raw: raw["ablation"].update(llm_weights="random"), r"systems\.zero_shot: ablation\.llm_weights is random"),
        (
            lambda raw: raw["report"]["ablations"]["curriculum"].update(reference="lara"),
            r"report\.ablations\.curriculum names \['lara'\]",
        ),
        (
            lambda raw: raw["report"]["ablations"]["curriculum"].update(systems=["llara"]),
            r"report\.ablations\.curriculum names a system twice",
        ),
        (
            lambda raw: raw["report"]["case_studies"][0].update(text="llara_direct"),
            r"case_studies\.0\.text: llara_direct shows",
        ),
        (lambda raw: raw["chat_models"]["local"].update(base_url="https://me:secret@host/v1"), r"chat_models\.local\.base_url"),
        (
            lambda raw: (raw["recommenders"].update(loss="bce"), raw["recommenders"]["morec"].update(train_encoder=True)),
            r"recommenders: morec\.train_encoder needs loss: cross_entropy",
        ),
        (
            lambda raw: raw["recommenders"]["sasrec"].update(n_heads=3),
            r"recommenders: embedding_dim 64 is not a multiple of sasrec\.n",
        ),
        (
            lambda raw: raw["recommenders"]["morec"].update(n_heads=5),
            r"recommenders: embedding_dim 64 is not a multiple of morec\.n",
        ),
        (
            lambda raw: (raw["run"].update(systems=["next_item_random_llm"]), raw["llm"].update(quantization="4bit")),
            r"the random weights of \['next_item_random_llm'\] cannot be quantised",
        ),
    ],
)
def test_contradictions_are_named_before_anything_runs(params_with: Callable[[Edit], Path], change: Edit, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_params(params_with(change))


def test_another_default_objective_reaches_only_the_systems_that_can_have_it(params_with: Callable[[Edit], Path]) -> None:
    params = load_params(params_with(lambda raw: raw["tune"].update(objective="next_item")))
    objectives = {name: params.system(name).tune.objective for name in ("llara", "tallrec", "zero_shot")}
    assert objectives == {"llara": "next_item", "tallrec": "generative", "zero_shot": "generative"}


def test_no_system_may_be_called_like_a_recommender(params_with: Callable[[Edit], Path]) -> None:
    """Its training runs would be called like those of the recommender: sasrec-0."""

    def edit(raw: dict[str, Any]) -> None:
        raw["systems"]["sasrec"] = {"prompt": {"representation": "title"}}
        raw["run"]["systems"] = ["sasrec"]

    with pytest.raises(ConfigError, match=r"\['sasrec'\] would name two different systems"):
        load_params(params_with(edit))


def test_a_mistake_in_a_global_section_is_named_once(params_with: Callable[[Edit], Path]) -> None:
    with pytest.raises(ConfigError, match=r"1 problem\(s\)\n  lora\.rank: .* got 0$"):
        load_params(params_with(lambda raw: raw["lora"].update(rank=0)))


def test_a_mistake_in_a_system_is_named_once_and_not_in_those_that_extend_it(params_with: Callable[[Edit], Path]) -> None:
    with pytest.raises(ConfigError, match=r"1 problem\(s\)\n  systems\.llara_guided\.tune\.epochs: .* got 0$"):
        load_params(params_with(lambda raw: raw["systems"]["llara_guided"]["tune"].update(epochs=0)))


@pytest.mark.parametrize("spelling", ["1e-4", "5e-05", "1.0e-4", "0.0001", "1E-4"])
def test_every_spelling_of_a_small_number_is_a_number(params_with: Callable[[Edit], Path], spelling: str) -> None:
    path = params_with(lambda raw: raw["tune"].update(learning_rate="SPELLING"))
    params = load_params(replaced(path, "learning_rate: SPELLING", f"learning_rate: {spelling}"))
    assert params.tune.learning_rate == float(spelling)


def test_a_quoted_number_is_a_number_too(params_with: Callable[[Edit], Path]) -> None:
    """`dvc exp run -S` may write a number that YAML 1.1 takes for a string in quotes."""
    path = params_with(lambda raw: raw["recommenders"]["sasrec"].update(l2=["1e-4", "5e-05"]))
    assert load_params(path).recommenders.sasrec.l2 == [1e-4, 5e-5]


def test_lists_of_the_run_may_be_empty(params_with: Callable[[Edit], Path]) -> None:
    def edit(raw: dict[str, Any]) -> None:
        raw["run"].update(recommenders=[], systems=["tallrec", "zero_shot"])

    params = load_params(params_with(edit))
    assert params.run.recommenders == []


def test_without_any_system_there_is_nothing_to_compare(params_with: Callable[[Edit], Path]) -> None:
    def edit(raw: dict[str, Any]) -> None:
        raw["run"].update({axis: [] for axis in ("baselines", "recommenders", "systems")})

    with pytest.raises(ConfigError, match="the run has no system: name at least one"):
        load_params(params_with(edit))


def test_numbers_are_finite_and_metrics_folders_are_reserved(params_with: Callable[[Edit], Path]) -> None:
    with pytest.raises(ConfigError, match=r"tune\.learning_rate: .*finite"):
        load_params(params_with(lambda raw: raw["tune"].update(learning_rate=float("inf"))))
    with pytest.raises(ConfigError, match="`datasets` may not be called"):
        load_params(params_with(lambda raw: raw["datasets"].update(plots=raw["datasets"]["movielens"])))


@pytest.mark.parametrize("axis", ["datasets", "seeds"])
def test_datasets_and_seeds_may_not_be_empty(params_with: Callable[[Edit], Path], axis: str) -> None:
    with pytest.raises(ConfigError, match=rf"run\.{axis}: List should have at least 1 item"):
        load_params(params_with(lambda raw: raw["run"].update({axis: []})))


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"seeds": [0, 0]}, r"run\.seeds lists a value twice: \[0, 0\]"),
        ({"recommenders": ["caser"]}, r"systems\.llara\.recommender is sasrec: add it to run\.recommenders, which trains it"),
        (
            {"llm_recommenders": ["sasrec"]},
            r"run\.llm_recommenders: is no longer a key: .*`systems\.llara\.recommender: sasrec`",
        ),
        ({"text_systems": ["tallrec"]}, r"run\.text_systems: is no longer a key: list these systems in run\.systems"),
        ({"untuned_systems": ["zero_shot"]}, r"run\.untuned_systems: is no longer a key: .* `tuned: false`"),
        (
            {"recommenders": ["bert4rec"]},
            r"run\.recommenders\.0: unknown recommender 'bert4rec'; choose from \[.*'sasrec'",
        ),
        (
            {"baselines": ["user_knn"]},
            r"run\.baselines\.0: unknown baseline 'user_knn'; choose from \[.*'popularity'",
        ),
        (
            {"datasets": ["movielans"]},
            r"run\.datasets names \['movielans'\], which `datasets` does not define; did you mean movielens\?",
        ),
        ({"systems": ["nobody"]}, r"run\.systems names \['nobody'\], which `systems` does not define; choose from \[.*'llara'"),
        (
            {"chat_models": ["nobody"]},
            r"run\.chat_models names \['nobody'\], which `chat_models` does not define; choose from \[",
        ),
    ],
)
def test_contradictions_in_the_run(params_with: Callable[[Edit], Path], run: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_params(params_with(lambda raw: raw["run"].update(run)))


@pytest.mark.parametrize(
    ("system", "message"),
    [
        ({"prompt": {"representation": "hybrid"}}, "shows a recommender's item embeddings: name one as `recommender`"),
        ({"tuned": False, "recommender": "sasrec"}, "tuned is false, but a part of it must be trained"),
        ({"tuned": False, "prompt": {"representation": "text"}}, "tuned is false, but a part of it must be trained"),
        (
            {"tuned": False, "prompt": {"representation": "title"}, "tune": {"objective": "next_item"}},
            "tuned is false, but a part of it must be trained",
        ),
        (
            {"tuned": False, "prompt": {"representation": "title"}, "ablation": {"llm_weights": "random"}},
            r"ablation\.llm_weights is random, but an untuned system has nothing else",
        ),
    ],
)
def test_a_system_needs_what_its_prompts_show(
    params_with: Callable[[Edit], Path], system: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=rf"systems\.own: .*{message}"):
        load_params(params_with(lambda raw: raw["systems"].update(own=system)))


CONTINUING: dict[str, Any] = {"extends": "llara_guided", "start": "llara_guided", "tune": {"objective": "preference"}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"start": None},
            r"systems\.own: objective preference continues from the adapter of a tuned system: name that system as `start`",
        ),
        ({"tuned": False, "prompt": {"representation": "title"}}, r"systems\.own: start is llara_guided, but tuned is false"),
        (
            {"prompt": {"slot": "after"}, "tune": {"objective": "next_item"}},
            r"systems\.own: start is llara_guided, from whose adapter only objectives that write titles can continue: set "
            r"tune\.objective to generative or preference, and tune\.warm_start_rows, ",
        ),
        (
            {"prompt": {"slot": "after"}, "tune": {"objective": "generative", "mixture": 0.5}},
            r"systems\.own: start is llara_guided, from whose adapter only objectives that write titles can continue",
        ),
        (
            {"tune": {"objective": "generative", "ranking_weight": 1.0}},
            r"systems\.own: start is llara_guided, from whose adapter only objectives that write titles can continue",
        ),
        ({"start": "nobody"}, r"systems\.own\.start names 'nobody', but `systems` defines only \["),
        ({"start": "zero_shot"}, r"systems\.own\.start is zero_shot, which is not tuned"),
        ({"start": "llara_compact"}, r"systems\.own\.start is llara_compact, whose objective next_item writes no titles"),
        ({"start": "llara_guided_sdpo"}, r"systems\.own\.start is llara_guided_sdpo, which itself continues from llara_guided"),
        (
            {"prompt": {"slot": "after"}},
            r"systems\.own\.prompt\.slot is after, but before in llara_guided, from which it continues: .*; give both the same",
        ),
        ({"lora": {"rank": 64}}, r"systems\.own\.lora\.rank is 64, but 16 in llara_guided"),
        ({"recommender": "caser"}, r"systems\.own\.recommender is caser, but sasrec in llara_guided"),
        (
            {"ablation": {"item_vectors": "random"}},
            r"systems\.own\.ablation\.item_vectors is random, but recommender in llara_guided",
        ),
        (
            {"tune": {"objective": "preference", "mixture": 0.5}},
            r"systems\.own\.tune: warm_start_rows and mixture add rows .* objective preference has none: set both to 0",
        ),
        (
            {"tune": {"objective": "preference", "warm_start_rows": 8}},
            r"systems\.own\.tune: warm_start_rows and mixture add rows .* but objective preference has none",
        ),
        (
            {"tune": {"objective": "preference", "ranking_weight": 1.0}},
            r"systems\.own: start is llara_guided, from whose adapter only objectives that write titles can continue",
        ),
    ],
)
def test_a_system_continues_from_one_that_fits(
    params_with: Callable[[Edit], Path], changes: dict[str, Any], message: str
) -> None:
    for objective in ("preference", "generative"):
        file = params_with(lambda raw, own=objective: raw["systems"].update(own={**CONTINUING, "tune": {"objective": own}}))
        assert load_params(file).system("own").start == "llara_guided"
    with pytest.raises(ConfigError, match=message):
        load_params(params_with(lambda raw: raw["systems"].update(own={**CONTINUING, **changes})))


def test_a_system_and_the_one_it_continues_from_are_in_the_run(params_with: Callable[[Edit], Path]) -> None:
    """Otherwise no stage would tune it."""
    run = {"systems": ["llara_guided_sdpo"]}
    with pytest.raises(ConfigError, match=r"systems\.llara_guided_sdpo\.start is llara_guided: add it to run\.systems, which"):
        load_params(params_with(lambda raw: raw["run"].update(run)))
    run["systems"].append("llara_guided")  # in any order
    assert load_params(params_with(lambda raw: raw["run"].update(run))).run.systems == run["systems"]


def test_the_split_leaves_a_test_set(params_with: Callable[[Edit], Path]) -> None:
    with pytest.raises(ConfigError, match=r"train \+ validation = 1 leaves nothing to test on"):
        load_params(params_with(lambda raw: raw["datasets"]["movielens"]["split"].update(train=0.9, validation=0.1)))


def test_the_micro_batch_divides_the_batch(params_with: Callable[[Edit], Path]) -> None:
    with pytest.raises(ConfigError, match="batch_size 16 is not a multiple of micro_batch_size 5"):
        load_params(params_with(lambda raw: raw["tune"].update(batch_size=16, micro_batch_size=5)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run: [1", r"params\.yaml: not valid YAML"),
        ("", r"params\.yaml: expected sections such as `run:` at the top level, found NoneType"),
        ("- run", r"params\.yaml: expected sections such as `run:` at the top level, found .*[Ss]eq|list"),
    ],
)
def test_an_invalid_params_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_params(path)


def test_a_missing_file(tmp_path: Path) -> None:
    copy_params(tmp_path)
    for name in ("systems.yaml", "params.yaml"):
        (tmp_path / name).unlink()
        with pytest.raises(ConfigError, match=rf"{name}: not found; run from the repository root"):
            load_params(tmp_path / "params.yaml")


def test_problems_are_listed_below_their_file(params_with: Callable[[Edit], Path]) -> None:
    def edit(raw: dict[str, Any]) -> None:
        raw["tune"]["epochs"] = 0
        raw["systems"]["llara"]["tuned"] = "perhaps"
        raw["chat_models"]["local"]["retries"] = -1

    path = params_with(edit)
    file = path.with_name("systems.yaml")
    file.write_text(file.read_text() + "sytems: {}\n")
    with pytest.raises(ConfigError) as caught:
        load_params(path)
    lines = str(caught.value).splitlines()
    assert [line.partition(": ")[0].strip() for line in lines] == [
        *(str(path), "tune.epochs"),
        *(str(file), "systems.llara.tuned", "chat_models.local.retries", "sytems"),
    ]
    assert [line.partition(": ")[2] for line in lines if line[0] != " "] == ["1 problem(s)", "3 problem(s)"]


def test_problems_between_sections_name_the_file_too(params_with: Callable[[Edit], Path]) -> None:
    path = params_with(lambda raw: raw["run"].update(recommenders=["caser"]))
    with pytest.raises(
        ConfigError, match=rf"^{path.with_name('systems.yaml')}: 1 .*\n.*systems\.llara\.recommender is sasrec: add"
    ):
        load_params(path)


def test_a_section_in_the_wrong_file(tmp_path: Path) -> None:
    """`-S +systems.llara.tune.epochs=1` creates a section of the other file."""
    path = copy_params(tmp_path)
    path.write_text(path.read_text() + "systems:\n  llara:\n    tune:\n      epochs: 1\n")
    with pytest.raises(
        ConfigError, match=r"params\.yaml: the section `systems` belongs in systems\.yaml; move it there, or write"
    ):
        load_params(path)


def test_errors_for_unknown_names_list_the_known_ones() -> None:
    params = load_params(REPOSITORY / "params.yaml")
    with pytest.raises(
        ConfigError, match=r"unknown dataset 'imdb'; params\.yaml defines \['amazon_games', 'lastfm', 'movielens'"
    ):
        params.dataset("imdb")
    with pytest.raises(ConfigError, match=r"unknown system 'gpt'; systems\.yaml defines \[.*'llara'"):
        params.system("gpt")


def test_params_cannot_be_changed() -> None:
    params = load_params(REPOSITORY / "params.yaml")
    assert isinstance(params, Params)
    with pytest.raises(ValueError, match="frozen"):
        params.tune.epochs = 1  # type: ignore[misc]


def test_a_rating_filter_needs_ratings(params_with: Callable[[Edit], Path]) -> None:
    section = dataset_config("log").model_dump() | {"min_rating": 3.0}
    with pytest.raises(ConfigError, match=r"datasets\.shop: min_rating needs a rating: name its column in columns\.rating"):
        load_params(params_with(lambda raw: raw["datasets"].update(shop=section)))


def test_one_column_or_file_serves_one_purpose(params_with: Callable[[Edit], Path]) -> None:
    shop = dataset_config("log").model_dump()
    shop["columns"] |= {"user": "item"}
    frames = {"format": "released_frames", "train": "a.df", "validation": "b.df", "test": "a.df", "names": "u.item"}
    frames |= {"max_history_len": 10, "noun": "movie", "verb": "watched"}
    with pytest.raises(ConfigError) as caught:
        load_params(params_with(lambda raw: raw["datasets"].update(shop=shop, frames=frames)))
    assert "datasets.shop: columns: one column cannot serve two purposes" in str(caught.value)
    assert "datasets.frames: train, validation and test name the same file twice" in str(caught.value)


def test_systems_that_read_titles_need_titles(params_with: Callable[[Edit], Path]) -> None:
    def untitled(raw: dict[str, Any], systems: list[str], recommenders: list[str]) -> None:
        shop = dataset_config("log").model_dump()
        shop["columns"]["title"] = shop["columns"]["item_id"]
        raw["datasets"]["shop"] = shop
        raw["run"] |= {"datasets": ["shop"], "systems": systems, "recommenders": recommenders, "chat_models": []}

    load_params(params_with(lambda raw: untitled(raw, ["llara_index"], ["sasrec"])))
    with pytest.raises(ConfigError) as caught:
        load_params(params_with(lambda raw: untitled(raw, ["llara", "llara_index", "llara_compact"], ["sasrec", "morec"])))
    assert (
        "the items of shop have no titles (columns.title is columns.item_id), which llara, llara_compact, morec read: "
        in str(caught.value)
    )


def leaves(section: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if not isinstance(section, dict):
        return [place]
    return [leaf for key, value in section.items() for leaf in leaves(value, (*place, key))]


def with_own_data(raw: dict[str, Any]) -> None:
    frames = {"format": "released_frames", "train": "a", "validation": "b", "test": "c", "names": "u.item"}
    frames |= {"max_history_len": 10, "noun": "movie", "verb": "watched"}
    raw["datasets"] |= {"shop": dataset_config("log").model_dump(), "frames": frames}


def test_an_empty_text_is_an_error_for_every_key(params_with: Callable[[Edit], Path]) -> None:
    """`dvc exp run -S key=` writes an empty text."""
    raw = raw_params()
    with_own_data(raw)
    places = leaves(raw)
    assert {("download", "mirror"), ("datasets", "shop", "columns", "rating"), ("run", "seeds")} <= set(places)
    for place in places:
        broken = copy.deepcopy(raw)
        *sections, key = place
        functools.reduce(dict.__getitem__, sections, broken)[key] = ""
        with pytest.raises(ValidationError) as caught:
            Params.model_validate(broken)
        message = _explain({Path("params.yaml"): raw}, caught.value, {})
        assert f"  {'.'.join(map(str, place))}: is empty; " in message or key in {"format", "extends"}, message


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("download.mirror", "write null for none"),
        ("llm.revision", "write null for none"),
        ("recommenders.morec.revision", "write null for none"),
        ("tune.max_examples", "write null for none"),
        ("datasets.movielens.min_rating", "write null for none"),
        ("datasets.shop.columns.rating", "write null for none"),
        ("datasets.shop.escape", "write null for none"),
        ("datasets.shop.missing", r"write \[\] for none"),
        ("run.systems", r"write \[\] for none"),
        ("datasets.movielens.noun", "give it a value"),
        ("datasets.shop.columns", "give it a value"),
    ],
)
def test_the_error_for_an_empty_value_has_a_remedy(params_with: Callable[[Edit], Path], key: str, remedy: str) -> None:
    def edit(raw: dict[str, Any]) -> None:
        with_own_data(raw)
        *sections, last = key.split(".")
        functools.reduce(dict.__getitem__, sections, raw)[last] = ""

    with pytest.raises(ConfigError, match=rf"1 problem\(s\)\n  {key}: is empty; {remedy}$"):
        load_params(params_with(edit))


def test_a_misspelt_key_of_an_optional_section(params_with: Callable[[Edit], Path]) -> None:
    def edit(raw: dict[str, Any]) -> None:
        with_own_data(raw)
        raw["datasets"]["shop"]["items_layout"] = {"seperator": ";"}

    message = r"datasets\.shop\.items_layout\.seperator: unknown key; did you mean 'separator'\?"
    with pytest.raises(ConfigError, match=message):
        load_params(params_with(edit))


def test_the_word_null_in_a_list_is_named(params_with: Callable[[Edit], Path]) -> None:
    def edit(raw: dict[str, Any]) -> None:
        with_own_data(raw)
        raw["datasets"]["shop"]["missing"] = ["nan", None]

    with pytest.raises(ConfigError, match=r"datasets\.shop\.missing\.1: is null, as YAML also reads the words null and"):
        load_params(params_with(edit))


def test_sections_from_before_the_optional_keys_are_valid(params_with: Callable[[Edit], Path]) -> None:
    section = dataset_config("log").model_dump()
    keys = ("quoting", "escape", "missing", "header", "items_layout", "sequences", "keep", "time_of_day_format")
    later = {key: section.pop(key) for key in keys}
    assert section["columns"].pop("time_of_day") is None
    shop = load_params(params_with(lambda raw: raw["datasets"].update(shop=section))).dataset("shop")
    assert later == {key: getattr(shop, key) for key in later}
    assert (later["quoting"], later["escape"], later["missing"][:3]) == ("checked", None, ["nan", "NaN", "NULL"])
    assert [later[key] for key in keys[3:]] == [True, None, None, {}, None]


@pytest.mark.parametrize(
    ("dataset", "split", "message"),
    [
        ("movielens", {"strategy": "global_time", "train": 0.8}, "split: strategy global_time needs validation"),
        ("movielens", {"strategy": "user_chronological"}, "split: strategy user_chronological needs train and validation"),
        ("movielens", {"strategy": "date", "train_until": "1998-01-01"}, "split: strategy date needs validation_until"),
        (
            "movielens",
            {"strategy": "date", "train_until": "1998-01-01", "validation_until": "1997-01-01"},
            "train_until 1998-01-01 is not earlier than validation_until 1997-01-01",
        ),
        (
            "movielens",
            {"strategy": "date", "train_until": "1998-01-01T01:00:00+02:00", "validation_until": "1997-12-31T23:00:00"},
            "is not earlier than validation_until",
        ),
        (
            "movielens",
            {"strategy": "date", "train_until": "soon", "validation_until": "1998-01-01"},
            "split.train_until: 'soon' is not a date such as 1998-03-01",
        ),
        (
            "movielens",
            {"strategy": "date", "train_until": date(1997, 1, 1), "validation_until": "1998-01-01"},
            "split.train_until: write 1997-01-01 in quotes",
        ),
        ("movielens", {"strategy": "files", "column": "part"}, "split.strategy files is for own logs"),
        (
            "lastfm",
            {"strategy": "date", "train_until": "2010-01-01", "validation_until": "2011-01-01"},
            "needs order: timestamp",
        ),
        ("lastfm", {"strategy": "global_time", "train": 0.8, "validation": 0.1}, "needs order: timestamp"),
    ],
)
def test_an_impossible_split_is_refused(
    params_with: Callable[[Edit], Path], dataset: str, split: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_params(params_with(lambda raw: raw["datasets"][dataset].update(split=split)))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("files", "is_enough"),
    [
        ({}, False),
        ({"column": "part"}, True),
        ({"validation_file": "v.csv"}, False),
        ({"validation_file": "v.csv", "test_file": "t.csv"}, True),
        ({"validation_file": "v.csv", "test_file": "t.csv", "column": "part"}, False),
    ],
)
def test_a_given_split_is_a_column_or_two_more_files(files: dict[str, str], is_enough: bool) -> None:
    if is_enough:
        assert dataset_config("log", split={"strategy": "files", **files}).split.strategy == "files"
    else:
        with pytest.raises(ValueError, match="needs either column, or validation_file and test_file"):
            dataset_config("log", split={"strategy": "files", **files})


def test_an_experiment_may_change_the_strategy_alone(params_with: Callable[[Edit], Path]) -> None:
    params = load_params(params_with(lambda raw: raw["datasets"]["movielens"]["split"].update(strategy="leave_one_out")))
    assert params.dataset("movielens").split.strategy == "leave_one_out"


def test_titles_take_any_of_their_keys(params_with: Callable[[Edit], Path]) -> None:
    params = load_params(params_with(lambda raw: raw["datasets"]["movielens"].update(titles={"max_chars": 60})))
    assert params.dataset("movielens").titles.model_dump() == {"strip_html": False, "max_chars": 60, "several": "error"}
    with pytest.raises(ConfigError, match=r"datasets\.movielens\.titles\.max_char: unknown key; did you mean 'max_chars'"):
        load_params(params_with(lambda raw: raw["datasets"]["movielens"].update(titles={"max_char": 60})))
