"""``python -m pipeline.recommend`` on a finished run, for every kind of system, and its error messages."""

from __future__ import annotations

import io
import os
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from llara_core import paths, tables
from llara_core.errors import ConfigError, DataError, ModelError
from pipeline.recommend import main, warn_of_formulas
from tests.helpers.llm import LABELS
from tests.pipeline.warm_python import warm_python
from tests.unit.serving.conftest import DATASET, HISTORIES, REPOSITORY, SEED, TUNED, write_params

SYSTEMS = ("sasrec", "popularity", "item_knn", "zero_shot", *TUNED)
pytestmark = pytest.mark.usefixtures("run")


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """Labels and scores as they were printed, in order."""
    rows = [re.fullmatch(r" *(\d+) +(-?[\d.]+)  (.+)", line) for line in capsys.readouterr().out.splitlines()]
    assert [int(row[1]) for row in rows if row] == list(range(1, len(rows) + 1))
    return {row[3]: float(row[2]) for row in rows if row}


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_of_a_run_recommends(system: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(DATASET, system, SEED, item=["Heat", "110"], top=4)
    answer = printed(capsys)
    assert len(answer) == 4
    assert set(answer) <= set(LABELS) - {"Heat", "Casino"}
    assert list(answer.values()) == sorted(answer.values(), reverse=True)


@pytest.mark.parametrize("system", SYSTEMS)
def test_many_users_get_what_each_would_get_alone_at_any_batch_size(
    system: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(DATASET, system, SEED, all_users=True, top=3, out=tmp_path / "one.csv", batch_size=1)
    main(DATASET, system, SEED, all_users=True, top=3, out=tmp_path / "five.parquet", batch_size=5)
    one, five = pd.read_csv(tmp_path / "one.csv"), pd.read_parquet(tmp_path / "five.parquet")
    assert list(one.columns) == list(five.columns) == ["user", "rank", "item", "label", "score"]
    assert one["rank"].to_list() == [1, 2, 3] * len(HISTORIES)
    assert one["label"].to_list() == five["label"].to_list()
    assert (one["score"] - five["score"]).abs().max() < 1e-4
    capsys.readouterr()
    main(DATASET, system, SEED, item=[LABELS[item] for item in HISTORIES[4]], top=3)
    alone = printed(capsys)
    assert list(alone) == one.loc[one["user"] == "u4", "label"].to_list()
    assert one.loc[one["user"] == "u4", "score"].to_list() == pytest.approx(list(alone.values()), abs=6e-4)


def test_users_of_the_data_are_named_by_their_raw_ids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(DATASET, "sasrec", SEED, all_users=True, top=2, out=tmp_path / "all.csv")
    everybody = pd.read_csv(tmp_path / "all.csv")
    assert list(dict.fromkeys(everybody["user"])) == [f"u{user}" for user in HISTORIES]
    capsys.readouterr()
    main(DATASET, "sasrec", SEED, user=["u4", "u1", "u4"], top=2)
    shown = capsys.readouterr().out.splitlines()
    expected = []
    for user in ("u4", "u1"):
        expected += [f"{user}:", *everybody.loc[everybody["user"] == user, "label"]]
    assert [line.split("  ")[-1] for line in shown] == expected
    with pytest.raises(DataError, match=r"users.parquet: has no user '4'; raw ids look like 'u0'"):
        main(DATASET, "sasrec", SEED, user=["u1", "4"])


def test_the_retriever_and_the_candidates_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    main(DATASET, "popularity", SEED, item=["Heat"], top=2)
    popular = set(printed(capsys))
    main(DATASET, "llara", SEED, item=["Heat"], retriever="popularity", candidates=2)
    assert set(printed(capsys)) == popular
    main(DATASET, "llara_compact", SEED, item=["Heat"], top=50)
    assert len(printed(capsys)) == len(LABELS) - 1
    main(DATASET, "llara_compact", SEED, item=["Heat"], top=50, candidates=7)
    assert len(printed(capsys)) == 7
    main(DATASET, "llara_compact", SEED, item=["Heat"], top=50, retriever="item_knn")
    assert len(printed(capsys)) == 5
    main(DATASET, "llara", SEED, item=["Heat"], retrieve_only=True)
    only = printed(capsys)
    main(DATASET, "llara", SEED, item=["Heat"], top=8, retriever="popularity", retrieve_only=True)
    assert len(printed(capsys)) == 8  # more than the five that would be candidates
    main(DATASET, "sasrec", SEED, item=["Heat"])
    assert only == printed(capsys)


def test_the_retriever_of_a_system_without_a_recommender_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    main(DATASET, "zero_shot", SEED, item=["Heat"])
    assert "zero_shot reads no recommender: sasrec, the first of run.recommenders, retrieves for it" in caplog.messages


def test_histories_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "histories.csv"
    file.write_text("user_id,item_id\nann,103\nbob,110\nann,110\n")
    main(DATASET, "sasrec", SEED, histories=file, top=2, out=tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv")
    assert table["user"].to_list() == ["ann", "ann", "bob", "bob"]
    assert set(table["item"]) <= {101 + item for item in range(len(LABELS))} - {110}


def test_texts_that_a_spreadsheet_evaluates_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    table = pd.DataFrame({"user": ["-5", "@ann"], "item": ["+1.5", "=A1"], "label": ["=1+1", "Heat - Part = 2"]})
    warn_of_formulas(Path("out.csv"), table.iloc[:0])
    assert caplog.messages == []
    warn_of_formulas(Path("out.csv"), table)
    (message,) = caplog.messages
    assert message.startswith("out.csv: 3 texts begin with =, +, - or @")


def test_a_title_with_a_semicolon_is_typed_at_the_prompt(
    changed_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = paths.prepared(DATASET) / "items.parquet"
    items = tables.read_table(path, tables.ITEMS)
    items["title"] = items["label"] = items["label"].replace("Casino", "Goodbye; Lenin")
    tables.write_table(path, items, tables.ITEMS)
    monkeypatch.setattr("sys.stdin", Terminal("Heat; goodbye; lenin\n\n"))
    main(DATASET, "popularity", SEED, top=12)
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "Big" in shown.out
    assert "Heat" not in shown.out
    assert "Goodbye" not in shown.out


@pytest.mark.parametrize(
    ("system", "message"),
    [
        ("fused-llara", r"is a fusion, .* recommend with one of its parts: llara and sasrec"),
        ("llara_direct", r"llara_direct is not in run.systems .*: add it and run `dvc repro`"),
        ("caser", r"unknown system 'caser'; the run has .* the recommenders \['sasrec'\]"),
    ],
)
def test_an_unknown_system_is_an_error_with_a_remedy(system: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        main(DATASET, system, SEED, item=["Heat"])


def test_a_retriever_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="show the scores of sasrec, so only sasrec can retrieve; leave popularity out"):
        main(DATASET, "llara_guided", SEED, item=["Heat"], retriever="popularity")
    with pytest.raises(ConfigError, match=r"caser is neither in run\.recommenders"):
        main(DATASET, "llara", SEED, item=["Heat"], retriever="caser")
    with pytest.raises(ConfigError, match="sasrec ranks all items itself"):
        main(DATASET, "sasrec", SEED, item=["Heat"], retriever="popularity")


def test_an_unknown_seed_or_data_set_is_an_error_with_a_remedy() -> None:
    with pytest.raises(ConfigError, match=r"seed 1 is not in run.seeds \[0\]"):
        main(DATASET, "llara", 1, item=["Heat"])
    with pytest.raises(ConfigError, match=r"lastfm is not in run.datasets \['movielens'\]"):
        main("lastfm", "llara", SEED, item=["Heat"])


def test_a_listed_system_that_has_not_run_is_an_error(changed_run: Path) -> None:
    write_params(changed_run, {"run": {"seeds": [0, 1]}})
    with pytest.raises(DataError, match=r"llara-1: holds no tuning/system.json; .* run `dvc repro`"):
        main(DATASET, "llara", 1, item=["Heat"])
    with pytest.raises(ModelError, match="sasrec is not trained yet on movielens with seed 1; run `dvc repro`"):
        main(DATASET, "sasrec", 1, item=["Heat"])
    (paths.adapter(DATASET, "llara-0") / "adapter.json").unlink()
    with pytest.raises(ModelError, match="llara is not tuned yet on movielens with seed 0; run `dvc repro`"):
        main(DATASET, "llara", 0, item=["Heat"])


def test_the_command_line_passes_the_options_on_and_ends_errors_in_one_message(finished_run: Path, tmp_path: Path) -> None:
    def command(*options: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"}
        return subprocess.run(
            [str(warm_python().path / "python"), "-m", "pipeline.recommend", DATASET, "llara", "0", *options],
            cwd=finished_run,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    out = tmp_path / "out.csv"
    answer = command(
        "--item", "Heat", "--item", "id:101", "--candidates", "3", "--top", "2", "--retrieve-only", "--out", str(out)
    )
    assert answer.returncode == 0, answer.stderr
    assert pd.read_csv(out)["rank"].to_list() == [1, 2]
    assert answer.stdout == ""
    answer = command("--item", "Heat", "--top", "2")
    assert re.fullmatch(r" +1 .*\n +2 .*\n", answer.stdout)
    messages = answer.stderr.splitlines()
    assert messages[0] == "recommend: start movielens llara 0 --item Heat --top 2"
    assert messages[-1].startswith("recommend: done in")
    assert all(line.startswith("recommend: ") for line in messages)  # no progress bar for a single history
    answer = command("--item", "Heatt")
    assert answer.returncode == 1
    assert answer.stderr.splitlines()[-1] == "recommend: error: no single item is called 'Heatt'; did you mean 'Heat'?"
    assert "Traceback" not in answer.stderr


class Terminal(io.StringIO):
    """A terminal on which this is typed."""

    def isatty(self) -> bool:
        return True


def test_titles_are_asked_for_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("Heat; 110\nHeatt\n; \nid:101\n\n"))
    main(DATASET, "sasrec", SEED, top=2)
    shown = capsys.readouterr()
    ranks = re.findall(r"^ *(?:history: *)*(\d+) +-?[\d.]+  .+$", shown.out, flags=re.MULTILINE)
    assert ranks == ["1", "2", "1", "2"]
    assert shown.err.splitlines()[0] == "no single item is called 'Heatt'; did you mean 'Heat'?"
    assert len(shown.err.splitlines()) == 2  # and a history without a title

    main(DATASET, "sasrec", SEED, item=["Heat", "110"], top=2)
    assert capsys.readouterr().out.splitlines()[0] in shown.out


def test_the_options_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give one of --item, --user, --histories and --all-users"):
        main(DATASET, "sasrec", SEED)
    with pytest.raises(ConfigError, match="give one of --item"):
        main(DATASET, "sasrec", SEED, item=["Heat"], all_users=True)
    with pytest.raises(ConfigError, match="an output file: name it with --out"):
        main(DATASET, "sasrec", SEED, all_users=True)
    with pytest.raises(DataError, match=r"ends in .csv or .parquet"):
        main(DATASET, "sasrec", SEED, all_users=True, out=tmp_path / "out.json")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file is not a folder that can be written to"):
        main(DATASET, "sasrec", SEED, all_users=True, out=tmp_path / "file" / "new" / "out.csv")
