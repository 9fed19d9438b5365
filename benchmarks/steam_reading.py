"""Measures time and memory of the Steam reader: ``python -m benchmarks.steam_reading --lines 1000000``.

Writes generated files in the layout of the originals into a temporary folder (1.4 GB for the full 7,793,069 lines), then
measures the reader in its own process and ``gunzip -c FILE | wc -l`` on the same file, alternately, and prints medians. Compare
only values of one run, since machines and their load differ.
"""

from __future__ import annotations

import gzip
import io
import multiprocessing
import random
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import typer

from llara_core.config import SteamConfig
from llara_core.readers import steam
from pipeline.stage import run

# Approximately as in the original.
USERS_PER_REVIEW = 0.4
N_GAMES = 32_135
N_PRODUCTS = 15_500
FIRST_DAY = date(2010, 10, 15)
N_DAYS = 2_640
N_WORDS = 1_500
N_TEXTS = 50_000
MEDIAN_WORDS_LOG = 3.15

ALPHABETS = (
    "abcdefghijklmnoprstuvwy",
    "абвгдежзиклмнопрстуя",
    "的一是不了在人有我他这个们中来上大为和国",
    "aäbcdeéfghioöstuüß",
)
ALPHABET_WEIGHTS = (86, 7, 3, 4)
SEPARATORS = (" ", ", ", ". ", "\n", "! ", " 'n' ", ' "', '" ', "'s ", " \\ ", " & ", "\t", " \u2665 ", " \U0001f600 ")
SEPARATOR_WEIGHTS = (850, 50, 50, 15, 5, 3, 3, 3, 10, 1, 4, 2, 2, 2)


def main(
    lines: Annotated[int, typer.Option(min=1, help="Reviews to generate.")] = 1_000_000,
    repeats: Annotated[int, typer.Option(min=1, help="Measurements of each kind.")] = 3,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Measures time and peak memory of the reader on generated files."""
    with tempfile.TemporaryDirectory(prefix="llara-") as scratch:
        folder = Path(scratch)
        reviews = folder / steam.REVIEWS
        write(reviews, review_lines(lines, seed))
        write(folder / steam.GAMES, game_lines(seed))
        n_bytes, n_fast = _describe(reviews)
        packed = reviews.stat().st_size
        typer.echo(f"{lines} lines, {packed / 1e6:.0f} MB packed, {n_bytes / 1e6:.0f} MB unpacked")
        typer.echo(f"bytes per line: {packed / lines:.0f} packed, {n_bytes / lines:.0f} unpacked")
        typer.echo(f"lines on the fast path: {n_fast / lines:.4f}")
        unpacking, reading, peaks = [], [], []
        for _ in range(repeats):
            unpacking.append(_unpack(reviews))
            seconds, peak = _read_apart(folder)
            reading.append(seconds)
            peaks.append(peak)
    typer.echo(f"gunzip -c | wc -l: {_spread(unpacking)} s")
    typer.echo(f"read (games included): {_spread(reading)} s, peak memory {max(peaks) / 1e9:.2f} GB")
    typer.echo(f"ratio of the medians: {statistics.median(reading) / statistics.median(unpacking):.2f}")


def review_lines(n_lines: int, seed: int) -> Iterator[bytes]:
    """Yields reviews like the original: one per line, in all languages, 1 in 1,000 of them malformed."""
    rng = random.Random(seed)
    words = [_words(rng, alphabet) for alphabet in ALPHABETS]
    # Texts repeat, which saves time, but not within the 32 KiB in which gzip finds repetitions.
    texts = [_python_2(_text(rng, words)) for _ in range(min(N_TEXTS, n_lines))]
    days = [(FIRST_DAY + timedelta(days=day)).isoformat() for day in range(N_DAYS)]
    n_users = max(1, int(n_lines * USERS_PER_REVIEW))
    for _ in range(n_lines):
        user = int(n_users * rng.random() ** 1.5)
        known = rng.random() >= 0.02
        game = int(N_PRODUCTS * rng.random() ** 3) if known else N_GAMES + rng.randrange(500)
        pairs = [f"u'username': {_python_2(_user_name(user, words))}"]
        if rng.random() < 0.4:
            pairs.append(f"u'user_id': u'7656119{user:010d}'")
        if rng.random() < 0.15:
            pairs.append(f"u'found_funny': {rng.randrange(1, 200)}")
        if rng.random() < 0.02:
            pairs.append("u'compensation': u'Product received for free'")
        pairs += [
            f"u'hours': {rng.randrange(20_000) / 10}",
            f"u'products': {rng.randrange(2_000)}",
            f"u'product_id': u'{10 * game}'",
            f"u'page_order': {rng.randrange(10)}",
            f"u'date': u'{rng.choice(days)}'",
            f"u'text': {rng.choice(texts)}",
            f"u'early_access': {rng.random() < 0.1}",
            f"u'page': {rng.randrange(1, 3_000)}",
        ]
        line = _line(pairs)
        yield line if rng.random() >= 0.001 else _broken(rng, pairs, line)


def game_lines(seed: int) -> Iterator[bytes]:
    """Yields games like the original: some without a title or an id, entities in titles but not in ``app_name``."""
    rng = random.Random(seed)
    words = [_words(rng, alphabet) for alphabet in ALPHABETS]
    for game in range(N_GAMES):
        name = " & ".join(_text(rng, words)[:20].strip() or "Untitled" for _ in range(rng.choice((1, 1, 1, 2))))
        tags = ", ".join(f"u'{tag.capitalize()}'" for tag in rng.choices(words[0], k=10))
        pairs = [f"u'publisher': {_python_2(name[:8])}", f"u'genres': [{tags}]", f"u'app_name': {_python_2(name)}"]
        if rng.random() < 0.94:
            pairs.append(f"u'title': {_python_2(name.replace('&', '&amp;'))}")
        pairs += [f"u'url': u'http://store.steampowered.com/app/{10 * game}/'", f"u'tags': [{tags}]", "u'price': 4.99"]
        if rng.random() < 0.9999:
            pairs.append(f"u'id': u'{10 * game}'")
        yield _line(pairs)


def write(path: Path, lines: Iterable[bytes]) -> None:
    """Writes the lines into a gzip file, with the compression level of the command ``gzip``."""
    with gzip.open(path, "wb", compresslevel=6) as packed, io.BufferedWriter(packed, 1 << 20) as file:
        file.writelines(line + b"\n" for line in lines)


def _describe(path: Path) -> tuple[int, int]:
    """Returns the number of bytes, and of lines that need no ``literal_eval``."""
    n_bytes = n_fast = 0
    with gzip.open(path) as file:
        for line in file:
            n_bytes += len(line)
            found = steam.REVIEW_LINE.match(line.decode("latin-1"))
            n_fast += found is not None and found[2] is not None
    return n_bytes, n_fast


def _unpack(path: Path) -> float:
    start = time.perf_counter()
    subprocess.run(["sh", "-c", 'gunzip -c "$1" | wc -l', "sh", path], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _read_apart(folder: Path) -> tuple[float, int]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_read, folder).result()


def _read(folder: Path) -> tuple[float, int]:
    """Returns the seconds of reading and the peak memory of this process in bytes."""
    start = time.perf_counter()
    steam.read(folder, SteamConfig.model_construct())  # type: ignore[call-arg]  # the reader uses no option
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _words(rng: random.Random, alphabet: str) -> list[str]:
    return ["".join(rng.choices(alphabet, k=rng.randint(2, 9))) for _ in range(N_WORDS)]


def _text(rng: random.Random, words: Sequence[Sequence[str]]) -> str:
    """Returns words of one language, with frequencies by Zipf's law, and separators."""
    (vocabulary,) = rng.choices(words, ALPHABET_WEIGHTS)
    n_words = min(int(rng.lognormvariate(MEDIAN_WORDS_LOG, 1.2)), 1_500)
    drawn = [vocabulary[int(N_WORDS ** rng.random()) - 1] for _ in range(n_words)]
    between = rng.choices(SEPARATORS, SEPARATOR_WEIGHTS, k=n_words)
    return "".join(part for pair in zip(drawn, between, strict=True) for part in pair)


def _user_name(user: int, words: Sequence[Sequence[str]]) -> str:
    """Returns a user name: mostly letters and digits, sometimes other scripts, quotes or backslashes."""
    vocabulary = words[1 + user % 3] if user % 7 == 0 else words[0]
    name = f"{vocabulary[user % N_WORDS]}{user}"
    return {1: f"{name}'s", 2: f'"{name}"', 3: f"\\{name}/", 4: f"\u2665 {name} \u2665"}.get(user % 100, name)


def _python_2(text: str) -> str:
    """Returns the text as printed by Python 2, with the quotes and escapes of Python 3's ``ascii``."""
    return "u" + ascii(text)


def _line(pairs: Sequence[str]) -> bytes:
    return ("{" + ", ".join(pairs) + "}").encode()


def _broken(rng: random.Random, pairs: Sequence[str], line: bytes) -> bytes:
    """Returns a line with one of several anomalies, not all of which are errors."""
    cut = rng.randrange(len(line))
    return rng.choice(
        (
            line[:cut],
            line[:cut] + b"\xff" + line[cut:],
            line[:cut] + b"\\" + line[cut:],
            line + b"\r",
            line + b" # comment",
            b"",
            _line(rng.sample(pairs, len(pairs) - 1)),
            _line([*pairs, rng.choice(pairs)]),
            _line([*pairs, "u'date': u'2017-02-29'"]),
            _line([*pairs, "u'username': 7"]),
            "".join(pairs).encode("utf-16"),
        )
    )


if __name__ == "__main__":
    run(main)
