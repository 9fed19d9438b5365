"""Presets: they change the parameter files; ``paper`` trains on the rows of the released loader."""

from __future__ import annotations

import re
import shutil
from difflib import ndiff
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest
import yaml
from dvc.utils.cli_parse import to_path_overrides
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import modify_yaml
from ruamel.yaml import YAML

from llara_core import columns as c
from llara_core.config import load_params
from llara_core.data.splitting import SPLIT_DTYPE, make_examples
from llara_core.errors import ConfigError
from llara_core.tuning.plan import DataSizes, make_plan
from pipeline import preset as script
from pipeline.preset import apply_preset
from tests.helpers.params import copy_params

REPOSITORY = Path(__file__).parents[2]
PRESETS = REPOSITORY / "presets"
LEARNING_RATES = {"movielens": 8e-4, "lastfm": 7e-4, "steam": 5e-4}


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(PRESETS, tmp_path / "presets")
    monkeypatch.chdir(tmp_path)
    return copy_params(tmp_path)


@pytest.mark.parametrize("dataset", sorted(LEARNING_RATES))
def test_the_paper_s_settings_reach_its_systems(params: Path, dataset: str) -> None:
    changes = apply_preset("paper", dataset)
    after = load_params(params)
    assert after.run.datasets == [dataset]
    assert after.run.seeds == [0, 1, 2, 3, 4]
    for name in ("llara", "tallrec", "llara_direct", "llara_two_stage", "llara_index", "llara_behavior"):
        system = after.systems[name]
        assert (system.lora.rank, system.lora.alpha, system.lora.dropout) == (8, 32, 0.1)
        tune = system.tune
        assert (tune.objective, tune.epochs, tune.max_examples, tune.batch_size) == ("generative", 5, None, 128)
        assert (tune.learning_rate, tune.final_lr_share, tune.min_history_len) == (LEARNING_RATES[dataset], 0.01, 3)
        assert tune.weight_decay == 0  # makes AdamW equal to Adam
        assert (tune.projector_l2, tune.projector_init, tune.max_grad_norm, tune.warmup_share) == (1e-5, "plain", None, 0.05)
    for section in (after.recommenders.gru4rec, after.recommenders.caser, after.recommenders.sasrec, after.recommenders.morec):
        assert section.l2 == [1e-3, 1e-4, 1e-5, 1e-6, 1e-7]
    assert changes["lora.rank"] == (16, 8)
    assert changes["run.seeds"][0] == [0]
    assert "tune.epochs" not in changes  # 5 already


def test_only_named_keys_change_and_the_file_keeps_its_form(params: Path) -> None:
    before = params.read_text()
    keys = [key.rpartition(".")[2] for key in apply_preset("paper", "movielens")]
    after = params.read_text()
    changed = [line for line in ndiff(before.splitlines(), after.splitlines()) if line[0] in "+-"]
    assert changed
    assert all(re.fullmatch(rf"[+-] +(- [\d.e-]+|({'|'.join(keys)}):( \S+)?)", line) for line in changed), changed
    assert yaml.safe_load(after) == YAML(typ="safe", pure=True).load(after)  # DVC and the code read the same
    with modify_yaml(params):
        pass
    assert params.read_text() == after
    assert apply_preset("paper", "movielens") == {}
    assert params.read_text() == after


@pytest.mark.parametrize(
    "setting",
    [
        "curriculum.schedule=direct",
        "tune.learning_rate=5e-5",
        "run.seeds=[7]",
        "systems.yaml:systems.llara_compact.tune.epochs=2",
        "systems.yaml:report.n_cases=5",
    ],
)
def test_parameters_are_in_the_form_in_which_dvc_writes_them(params: Path, setting: str) -> None:
    """DVC drops comments and blank lines after a list, and indents and wraps in its own way."""
    ((name, overrides),) = to_path_overrides([setting]).items()
    file = params.with_name(name)
    before = file.read_text()
    with modify_yaml(file):
        pass
    assert file.read_text() == before
    apply_overrides(file, overrides)
    assert [line[0] for line in ndiff(before.splitlines(), file.read_text().splitlines()) if line[0] in "+-"] == ["-", "+"]


def test_a_preset_reaches_both_files(params: Path) -> None:
    changes = apply_preset("demo", "movielens")
    assert {"run.systems", "recommenders.max_epochs", "systems.llara_compact.tune.max_examples"} <= changes.keys()
    assert load_params(params).systems["llara_compact"].tune.max_examples == 192
    assert "max_examples: 192\n" in params.with_name("systems.yaml").read_text()


def test_the_script_prints_what_it_changed(params: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script.main("paper", "steam")
    printed = capsys.readouterr().out.splitlines()
    assert "tune.learning_rate: 0.001 -> 0.0005" in printed
    assert "run.datasets: ['movielens'] -> ['steam']" in printed
    assert printed[-1] == f"{len(printed) - 1} keys of params.yaml changed"


@pytest.mark.parametrize(
    ("name", "dataset", "message"),
    [
        ("papper", "movielens", r"no preset 'papper', only \['broken', 'demo', 'listed', 'mine', 'paper', 'worded'\]"),
        ("paper", "netflix", r"unknown dataset 'netflix'"),
        ("mine", "steam", r"mine\.yaml has no values for 'steam', only for \['movielens'\]"),
        ("mine", "movielens", r"tune\.epoch: unknown key; did you mean 'epochs'"),
        ("broken", "movielens", r"broken\.yaml: not valid YAML"),
        ("listed", "movielens", r"listed\.yaml: expected `all_datasets:` and data sets at the top level"),
        ("worded", "movielens", r"worded\.yaml: expected .* each with values by key"),
    ],
)
def test_an_invalid_preset_changes_nothing(params: Path, tmp_path: Path, name: str, dataset: str, message: str) -> None:
    folder = tmp_path / "presets"
    (folder / "mine.yaml").write_text("movielens:\n  tune:\n    epoch: 3\n")
    (folder / "broken.yaml").write_text("a: [\n")
    (folder / "listed.yaml").write_text("- movielens\n")
    (folder / "worded.yaml").write_text("movielens: paper\n")
    before = params.read_bytes()
    with pytest.raises(ConfigError, match=message):
        apply_preset(name, dataset)
    assert params.read_bytes() == before


@pytest.mark.parametrize(
    ("n_users", "n_positions", "n_rows"),
    [(754, 68_389, 66_127), (976, 50_800, 47_872)],  # MovieLens and LastFM: all except the first three positions of a user
)
def test_an_epoch_has_the_rows_of_the_released_loader(params: Path, n_users: int, n_positions: int, n_rows: int) -> None:
    apply_preset("paper", "movielens")
    config = load_params(params).systems["llara"]
    lengths = np.full(n_users, n_positions // n_users)
    lengths[: n_positions % n_users] += 1
    lengths = np.append(lengths, [2, 2])  # a validation and a test user
    users = np.repeat(np.arange(n_users + 2), lengths)
    log = pd.DataFrame({c.USER: users, c.ITEM: 0, c.POSITION: np.concatenate([np.arange(length) for length in lengths])})
    log[c.SPLIT] = pd.Categorical(np.select([users < n_users, users == n_users], c.SPLITS[:2], c.TEST), dtype=SPLIT_DTYPE)
    examples = make_examples(log, 10)
    history_lens = pc.list_value_length(examples.filter(pc.field(c.SPLIT) == c.TRAIN)[c.HISTORY]).to_numpy()
    assert len(history_lens) == n_positions - n_users  # the first position has no history
    plan = make_plan(DataSizes(history_lens, 5, [2]), config.tune, config.curriculum, sample_templates=False, seed=0)
    assert len(plan) == 5 * n_rows // 128 * 128
    for epoch in range(4):
        rows = plan["source"][epoch * n_rows : (epoch + 1) * n_rows]
        assert rows.is_unique
        assert history_lens[rows].min() == 3
