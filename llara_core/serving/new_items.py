"""New items, read, cleaned, labelled and encoded as those of training were."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import pandas as pd
import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor

from llara_core import columns as c
from llara_core import paths
from llara_core.config import DatasetConfig, OwnLogConfig
from llara_core.config.datasets import TextLayout, TitlesConfig
from llara_core.config.sections import Section
from llara_core.errors import DataError, ModelError
from llara_core.fetching.llm import fetch_encoder
from llara_core.readers.item_texts import attribute, item_text
from llara_core.readers.item_titles import clean_titles
from llara_core.readers.log_columns import cell_texts, columns
from llara_core.readers.log_files import LogTable
from llara_core.readers.titles import as_seen, unique_labels
from llara_core.readers.values import listed, short
from llara_core.recommenders import checkpoints
from llara_core.serving.item_finder import ItemFinder

logger = logging.getLogger(__name__)

YEAR, ATTRIBUTES = "year", "attributes"
MAX_CHARS = 500  # maximum length of an id or a title before cleaning
_N_COMPARED = 4  # known items whose vectors verify the encoder
_TOLERANCE = 1e-2  # share of a vector's length: above rounding errors, below differences between encoders

AttributeValue = str | float | int | None


class TakenIdError(DataError):
    """The id of a new item is already in use."""


class NewItem(BaseModel):
    """An item that was not part of training."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [{"item_id": "9001", "title": "Heat 2", "year": 2027, "attributes": {"genres": ["Action", "Crime"]}}]
        },
    )

    item_id: Annotated[str, BeforeValidator(lambda raw: str(raw) if type(raw) is int else raw)] = Field(
        min_length=1, description="raw id, unique in the catalogue"
    )
    title: str = Field(min_length=1)
    year: int | None = Field(default=None, description="year of release; for films it may also be at the end of the title")
    attributes: list[AttributeValue] | dict[str, AttributeValue | list[AttributeValue]] = Field(
        default_factory=list, description="further properties such as genres or brand: values, or values by name"
    )

    def attribute_texts(self) -> list[str]:
        """Returns one text per attribute, in the form of :func:`llara_core.readers.item_texts.attribute`."""
        named = self.attributes if isinstance(self.attributes, dict) else {ATTRIBUTES: self.attributes}
        return [attribute(name, cell_texts(values, {""})) for name, values in named.items()]


_NEW_ITEMS = TypeAdapter(list[NewItem])


class ItemReading(Section):
    """Rules by which a data set's items are read, also applied to new ones."""

    # properties of the data set's section
    titles: TitlesConfig
    titles_are_movies: bool
    # columns of a file, from :func:`section_of_files`
    item_id: str
    title: str
    year: str | None
    attributes: list[str]
    # layout and missing values of a file, from the same section
    layout: TextLayout
    missing: list[str]

    @classmethod
    def of(cls, dataset: DatasetConfig) -> Self:
        files = section_of_files(dataset)
        return cls(
            titles=dataset.titles,
            titles_are_movies=dataset.titles_are_movies,
            item_id=files.columns.item_id,
            title=files.columns.title,
            year=None if files is dataset else YEAR,
            attributes=files.columns.attributes,
            layout=files.item_layout,
            missing=files.missing,
        )


def section_of_files(dataset: DatasetConfig) -> OwnLogConfig:
    """Returns the section by which a user's files for a data set are read.

    For an own log it is the log's section, otherwise one with the project's column names and the data set's rules for ratings
    and repeats.
    """
    if isinstance(dataset, OwnLogConfig):
        return dataset
    lowest, repeat = (None, None) if dataset.is_presplit else (dataset.lowest_rating, dataset.kept_repeat)
    rating = None if lowest is None else c.RATING
    of_log = {"user": c.USER, "item": c.ITEM, "time": c.TIMESTAMP, "rating": rating}
    of_items = {"item_id": c.ITEM, "title": c.TITLE, "attributes": [ATTRIBUTES]}
    return OwnLogConfig.plain(columns={**of_log, **of_items}, min_rating=lowest, repeats=repeat or "keep")


def check_items(items: Sequence[NewItem | Mapping[str, Any]]) -> list[NewItem]:
    """Validates items or the fields of items.

    Raises:
        DataError: an item is malformed; the message gives its number, from 0, and the field.
    """
    try:
        return _NEW_ITEMS.validate_python(list(items))
    except ValidationError as error:
        first = error.errors()[0]
        number, *field = first["loc"]
        raise DataError(f"items[{number}]: {'.'.join(map(str, field[:1]))}: {first['msg']}") from error


def read_new_items(path: Path, reading: ItemReading) -> tuple[list[NewItem], Callable[[int], str]]:
    """Reads the items of a CSV, JSON lines or Parquet file.

    Returns:
        The items, and a function that returns the place of an item, given by its number from 0, in the file.

    Raises:
        DataError: the file is missing or malformed, lacks the column of ids or titles, or a row lacks an id or title or has a
            year that is not of up to 4 digits; the message names the line.
    """
    if not path.exists():
        raise DataError(f"{path}: not found")
    table = LogTable(path.parent, path.name, reading.layout)
    found = table.names()
    wanted = [reading.item_id, reading.title, *filter(None, [reading.year]), *reading.attributes]
    if absent := [name for name in wanted[2:] if name not in found]:
        logger.warning("%s: has no column %s of texts or lists; the items are read without it", path, listed(absent))
    names = [name for name in dict.fromkeys(wanted) if name not in absent]
    items, rows = list[NewItem](), list[int]()
    for row, texts in _rows(table, names, reading):
        item_id, title, written_year = texts[reading.item_id], texts[reading.title], texts.get(reading.year or "", "")
        if not item_id or not title:
            missing = reading.title if item_id else reading.item_id
            raise DataError(f"{table.place(row)}: no value in column {missing!r}; a new item needs an id and a title")
        year = written_year.removesuffix(".0")
        if year and not re.fullmatch("[0-9]{1,4}", year):
            raise DataError(
                f"{table.place(row)}: column {reading.year!r}: {short(written_year)} is not a year; write up to 4 digits, or "
                "leave it empty"
            )
        attributes = {name: texts[f"{ATTRIBUTES}:{name}"] for name in reading.attributes if name not in absent}
        items.append(NewItem(item_id=item_id, title=title, year=int(year) if year else None, attributes=attributes))
        rows.append(row)
    return items, lambda number: table.place(rows[number])


def _rows(table: LogTable, names: list[str], reading: ItemReading) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the number of each row and its texts by column, with attributes as ``attributes:<column>``."""
    for batch in columns(table, names, reading.missing):
        texts = {column.name: column.titles().to_pylist() for column in batch if column.name not in reading.attributes}
        texts |= {f"{ATTRIBUTES}:{column.name}": column.attributes() for column in batch if column.name in reading.attributes}
        for row, values in zip(batch[0].rows.tolist(), zip(*texts.values(), strict=True), strict=True):
            yield row, dict(zip(texts, values, strict=True))


def with_new_items(
    items: pd.DataFrame,
    finder: ItemFinder,
    new: Sequence[NewItem],
    reading: ItemReading,
    place: Callable[[int], str],
) -> pd.DataFrame:
    """Appends new items, prepared as :func:`llara_core.data.preparation.prepare` does, without changing the others.

    Args:
        items: rows of :data:`tables.ITEMS`.
        reading: rules by which the others were read.
        place: function that returns the place of a new item, given by its number, for messages.

    Raises:
        TakenIdError: an id is already in use.
        DataError: an id occurs twice, a title is empty after cleaning, or one of them is too long.
    """
    for number, item in enumerate(new):
        for what, text in (("id", item.item_id), ("title", item.title)):
            if len(text) > MAX_CHARS:
                raise DataError(f"{place(number)}: the {what} has {len(text):,} characters; at most {MAX_CHARS} are allowed")
    raw_ids = [unicodedata.normalize("NFC", item.item_id.strip()) for item in new]
    first_with: dict[str, int] = {}
    for number, raw_id in enumerate(raw_ids):
        if (known := finder.with_raw_id(raw_id)) is not None:
            raise TakenIdError(
                f"{place(number)}: an item with the id {raw_id!r} exists already, {items[c.LABEL].iloc[known]!r}; give the new "
                "one another id, or leave it out"
            )
        if (first := first_with.setdefault(as_seen(raw_id), number)) != number:
            raise DataError(
                f"{place(number)}: the id {raw_id!r} is already used by {place(first)}; give every item an id of its own"
            )
    cleaned = clean_titles([item.title for item in new], reading.titles, reading.titles_are_movies)
    for number, (title, raw_id) in enumerate(zip(cleaned.titles, raw_ids, strict=True)):
        if not title or not as_seen(raw_id):
            empty = "the id" if title else "the title"
            raise DataError(f"{place(number)}: {empty} is empty; a new item needs an id and a title")
    years = [year if item.year is None else item.year for item, year in zip(new, cleaned.years, strict=True)]
    described = zip(cleaned.titles, years, new, strict=True)
    taken = [*items[c.LABEL], *items[c.TITLE]]
    rows = {
        c.ITEM: range(len(items), len(items) + len(new)),
        c.RAW_ITEM: raw_ids,
        c.TITLE: cleaned.titles,
        c.LABEL: unique_labels(cleaned.titles, years, raw_ids, taken),
        c.TEXT: [item_text(title, year, item.attribute_texts()) for title, year, item in described],
        c.N_INTERACTIONS: 0,
    }
    return pd.concat([items, pd.DataFrame(rows).astype(items.dtypes)], ignore_index=True)


def encode_new(items: pd.DataFrame, n_new: int, known: Tensor, source: checkpoints.TextSource, encoder: Path | None) -> Tensor:
    """Encodes the texts of the last items into vectors ``(n_new, text_dim)``.

    Args:
        items: rows of :data:`tables.ITEMS`.
        n_new: number of new items, which come last.
        known: text vectors of the model, ``(n, text_dim)``, of the first items.
        source: source of these vectors.
        encoder: folder of the encoder; None: it is found or fetched as for training.

    Raises:
        ModelError: the encoder is not available, or is not the one that encoded the known items.
    """
    from llara_core.recommenders.text_encoder import TextEncoder

    if encoder is None:
        try:
            encoder = fetch_encoder(source.encoder, source.revision, paths.scratch() / "encoders")
        except ModelError as error:
            raise ModelError(f"{error}; or name the encoder's folder (--encoder, or encoder=)") from error
    elif not encoder.is_dir():
        raise ModelError(f"{encoder}: no such folder; name the folder of the encoder {source.encoder}")
    texts = items[c.TEXT if source.item_text == "full" else c.LABEL].to_list()
    compared = min(_N_COMPARED, len(texts) - n_new)
    vectors = TextEncoder(encoder, texts[:compared] + texts[-n_new:]).encode_all()
    expected = known[:compared].cpu()
    is_other = vectors.shape[1] != expected.shape[1]
    if is_other or ((vectors[:compared] - expected).norm(dim=1) > _TOLERANCE * expected.norm(dim=1)).any():
        raise ModelError(
            f"{encoder}: not the text encoder of the known items, since it gives other vectors for them; name the folder of "
            f"{source.encoder}{'' if source.revision is None else f', revision {source.revision}'}"
        )
    if not torch.isfinite(vectors).all():
        raise ModelError(f"{encoder}: returns vectors that are not finite; fetch the encoder again")
    return vectors[compared:]
