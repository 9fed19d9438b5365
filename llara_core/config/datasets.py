"""Data sets: where they come from, what is kept of them, how they are split."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from llara_core.config.sections import PositiveFloat, Section, Seed

MOVIELENS_ITEMS = "u.item"  # a file of names with this name is in the layout of MovieLens


class DownloadConfig(Section):
    mirror: str | None = Field(
        min_length=1, description="folder or URL prefix tried first; the variable LLARA_MIRROR overrides it"
    )
    timeout_s: PositiveFloat = Field(description="seconds without data until a connection counts as failed")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(
        description="further attempts per address: at once, then after doubling pauses, or as the server asks"
    )


def _moment(text: Any) -> Any:
    if isinstance(text, date):
        raise ValueError(f"write {text} in quotes, since DVC takes no dates")
    if isinstance(text, str) and text:
        try:
            datetime.fromisoformat(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is no date such as 1998-03-01 or 1998-03-01T12:00:00+02:00") from error
    return text


def _column(name: Any) -> Any:
    return str(name) if isinstance(name, int) and not isinstance(name, bool) else name


Moment = Annotated[str, Field(min_length=1), BeforeValidator(_moment)]
ColumnName = Annotated[str, BeforeValidator(_column), Field(min_length=1)]
"""A column by its name or, where a file has no header, by its number from 1."""
OptionalShare = Annotated[float | None, Field(gt=0, lt=1)]
_SPLIT_KEYS = {
    "user_chronological": ("train", "validation"),
    "global_time": ("train", "validation"),
    "date": ("train_until", "validation_until"),
}
"""What a strategy cannot do without."""
TIME_STRATEGIES = ("global_time", "date")
"""They cut sequences by time, which must therefore be in its order."""


class ColdItemsConfig(Section):
    """Items that are made new: nothing is trained on them, and they are asked for."""

    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="of the items, drawn at random, whose training interactions are left out"
    )
    seed: Seed


class SplitConfig(Section):
    """How interactions are divided; a strategy reads its own keys and no others, so that an experiment may change it alone."""

    strategy: Literal["user_chronological", "global_time", "leave_one_out", "date", "files"] = Field(
        description="user_chronological: users, sorted by their first interaction, are divided (the released protocol); "
        "global_time: all interactions are cut at two points in time, found by shares; date: at two given points in time; "
        "leave_one_out: a user's last interaction is for test, the one before for validation; files: as own files say"
    )
    train: OptionalShare = Field(default=None, description="share of users or of interactions for training")
    validation: OptionalShare = Field(default=None, description="share for validation; the rest is the test split")
    train_until: Moment | None = Field(
        default=None, description="date: training interactions are earlier; ISO 8601 in quotes, UTC without a zone"
    )
    validation_until: Moment | None = Field(
        default=None, description="date: validation interactions are earlier, and test ones are not"
    )
    column: ColumnName | None = Field(
        default=None, description="files: the column of the interactions that says train, validation or test"
    )
    validation_file: str | None = Field(
        default=None, min_length=1, description="files: the validation interactions, where `interactions` are those of training"
    )
    test_file: str | None = Field(default=None, min_length=1, description="files: the test interactions, likewise")
    cold_items: ColdItemsConfig | None = Field(
        default=None,
        description="with any strategy: items that nothing is trained on, for questions about new ones; null for none",
    )
    train_users: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0,
        description="user_chronological: share of the training users, drawn at random, that is kept; held-out users stay",
    )

    @model_validator(mode="after")
    def _strategy_has_its_keys(self) -> Self:
        if missing := self.lacks(self.strategy):
            raise ValueError(f"strategy {self.strategy} needs {' and '.join(missing)}")
        if self.train is not None and self.validation is not None and self.train + self.validation >= 1:
            raise ValueError(
                f"train + validation = {self.train + self.validation:g} leaves nothing to test on; keep it below 1"
            )
        if self.train_users < 1 and self.strategy != "user_chronological":
            raise ValueError(
                f"train_users {self.train_users:g} needs strategy user_chronological, where no training user is asked; with "
                f"{self.strategy} leave it at 1"
            )
        if self.strategy == "date" and self.dates[0] >= self.dates[1]:
            raise ValueError(f"train_until {self.train_until} is not earlier than validation_until {self.validation_until}")
        files = (self.validation_file, self.test_file)
        if self.strategy == "files" and not (
            (self.column is not None and files == (None, None)) or (self.column is None and None not in files)
        ):
            raise ValueError("strategy files needs either column, or validation_file and test_file")
        return self

    def lacks(self, strategy: str) -> list[str]:
        """The keys that ``strategy`` needs and that are not given."""
        return [key for key in _SPLIT_KEYS.get(strategy, ()) if getattr(self, key) is None]

    @property
    def shares(self) -> tuple[float, float]:
        """Of training and validation."""
        return self.train or 0.0, self.validation or 0.0

    @property
    def dates(self) -> tuple[datetime, datetime]:
        """The ends of training and validation, with a time zone."""
        ends = [datetime.fromisoformat(str(end)) for end in (self.train_until, self.validation_until)]
        first, second = (end if end.tzinfo else end.replace(tzinfo=UTC) for end in ends)
        return first, second


class TitlesConfig(Section):
    """What is done to titles beyond decoding entities and collapsing white space."""

    strip_html: bool = Field(default=False, description="whether HTML tags are taken out")
    max_chars: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="longer titles are cut, at the end of a word where there is one; null keeps them whole"
    )
    several: Literal["error", "first"] = Field(
        default="error", description="one item with different titles. error: it is refused; first: the first title counts"
    )


class DatasetSection(Section):
    """What every data set has, whatever its format; code asks these properties and not what format it is."""

    max_history_len: Annotated[int, Field(ge=1, le=100_000)] = Field(description="previous items per example")
    noun: str = Field(min_length=1, description="what an item is called in prompts, e.g. movie")
    verb: str = Field(min_length=1, description="what a user has done with an item, e.g. watched")
    titles: TitlesConfig = Field(default=TitlesConfig(), description="what is done to titles")

    @property
    def own_files(self) -> Mapping[str, str]:
        """The user's own files or folders in ``data/own/<data set>/`` by the keys that name them."""
        return {}

    @property
    def titles_are_movies(self) -> bool:
        """Whether titles have MovieLens' articles and years at their ends; elsewhere these belong to the title."""
        return False

    @property
    def has_titles(self) -> bool:
        """Whether items have titles, or else their ids stand in for them."""
        return True


class LogSection(DatasetSection):
    """Data sets that come as interactions, to be filtered and split here."""

    is_presplit: ClassVar[Literal[False]] = False
    may_name_its_split: ClassVar[bool] = False  # split.strategy: files

    min_user_interactions: Annotated[int, Field(ge=0)] = Field(description="users with fewer are dropped")
    min_item_interactions: Annotated[int, Field(ge=0)] = Field(description="items with fewer are dropped")
    catalogue: Literal["interacted", "full"] = Field(
        description="interacted: items with at least one kept interaction; full: every item of the raw item file"
    )
    split: SplitConfig

    @model_validator(mode="after")
    def _files_are_own(self) -> Self:
        if self.split.strategy == "files" and not self.may_name_its_split:
            raise ValueError("split.strategy files is for own logs (format: log), whose files say what is held out")
        return self

    @property
    def lowest_rating(self) -> float | None:
        """Interactions rated lower are dropped; None keeps all, also where nothing is rated."""
        return None

    @property
    def kept_values(self) -> Mapping[str, list[str]]:
        """Columns of the raw interactions, and the values that count."""
        return {}

    @property
    def kept_repeat(self) -> Literal["first", "last"] | None:
        """Which of several interactions of a user with one item counts; None: all do."""
        return None

    @property
    def is_k_core(self) -> bool:
        """Whether the minimum counts are repeated until both hold; else items, then users, once."""
        return False

    @property
    def sample(self) -> SubsampleConfig | None:
        """The random part of users and items that is kept after the minimum counts; None keeps all."""
        return None

    @property
    def has_times(self) -> bool:
        """Whether timestamps are times, or else places in the file."""
        return True

    @property
    def is_ordered_by_time(self) -> bool:
        """Whether a user's sequence follows time, or else the file."""
        return True


class RatedSection(LogSection):
    min_rating: float | None = Field(description="interactions rated lower are dropped; null keeps all")

    @property
    def lowest_rating(self) -> float | None:
        return self.min_rating


class RepeatingSection(RatedSection):
    """Logs in which a user may come back to an item, and small counts are common."""

    min_counts: Literal["once", "k_core"] = Field(
        description="how the minimum counts are met. once: items, then users, one pass; k_core: repeated until both hold"
    )
    repeats: Literal["keep", "first", "last"] = Field(
        description="several interactions of a user with one item. keep: all (but for exact duplicates); first: the earliest; "
        "last: the latest"
    )

    @property
    def kept_repeat(self) -> Literal["first", "last"] | None:
        return None if self.repeats == "keep" else self.repeats

    @property
    def is_k_core(self) -> bool:
        return self.min_counts == "k_core"


class MovieLensLayout(RatedSection):
    """Data sets in the layout of MovieLens 100K."""

    @property
    def titles_are_movies(self) -> bool:
        return True


class MovieLensConfig(MovieLensLayout):
    """The GroupLens archive of 100,000 ratings."""

    format: Literal["movielens_100k"]


class SyntheticConfig(MovieLensLayout):
    """A small planted world, made on the spot, for trials and tests."""

    format: Literal["synthetic"]


class LargerMovieLensConfig(RatedSection):
    """The GroupLens archives of 1 to 32 million ratings."""

    format: Literal["movielens_1m", "movielens_10m", "movielens_20m", "movielens_25m", "movielens_32m"]

    @property
    def titles_are_movies(self) -> bool:
        return True

    @property
    def files(self) -> tuple[str, str]:
        """The names of the ratings and of the movies."""
        ending = "dat" if self.format in {"movielens_1m", "movielens_10m"} else "csv"
        return f"ratings.{ending}", f"movies.{ending}"

    @property
    def encoding(self) -> str:
        """Of the movies."""
        return "latin-1" if self.format == "movielens_1m" else "utf-8"


class LastFmConfig(LogSection):
    """The GroupLens archive HetRec 2011 Last.fm 2K; tagging an artist is the interaction."""

    format: Literal["lastfm_2k"]
    order: Literal["file", "timestamp"] = Field(
        description="of a user's sequence. file: by artist id, as the released data have it; timestamp: by the date of the tag"
    )

    @model_validator(mode="after")
    def _periods_need_time(self) -> Self:
        if self.order == "file" and self.split.strategy in TIME_STRATEGIES:
            raise ValueError(f"split.strategy {self.split.strategy} cuts sequences by time and needs order: timestamp")
        return self

    @property
    def is_ordered_by_time(self) -> bool:
        return self.order == "timestamp"


class SubsampleConfig(Section):
    users: Annotated[float, Field(gt=0, le=1)] = Field(description="share of the users that is kept; 1 keeps all")
    items: Annotated[float, Field(gt=0, le=1)] = Field(description="share of the items that is kept; 1 keeps all")
    seed: Seed


class SteamConfig(LogSection):
    """The review and game files of the McAuley lab, UCSD; a review is the interaction."""

    format: Literal["steam"]
    subsample: SubsampleConfig = Field(description="random part of users and items, drawn after the minimum counts")

    @property
    def sample(self) -> SubsampleConfig | None:
        return self.subsample


class AmazonSection(RepeatingSection):
    """The Amazon reviews of the McAuley lab, UCSD, one product category; a rating with a review is the interaction."""

    user_field: ClassVar[str]
    item_field: ClassVar[str]
    time_field: ClassVar[str]
    rating_field: ClassVar[str]
    ticks_per_second: ClassVar[int]
    ending: ClassVar[str]
    attribute_fields: ClassVar[Mapping[str, Literal["text", "list", "number"]]]  # of the metadata, and what they hold

    category: Annotated[str, Field(pattern=r"^\w+$")] = Field(description="as in the files' names, e.g. Video_Games")

    @property
    def reviews_file(self) -> str:
        return f"{self.category}.{self.ending}"

    @property
    def meta_file(self) -> str:
        return f"meta_{self.category}.{self.ending}"


class Amazon2018Config(AmazonSection):
    """Reviews from 1996 to October 2018."""

    user_field: ClassVar = "reviewerID"
    item_field: ClassVar = "asin"
    time_field: ClassVar = "unixReviewTime"
    rating_field: ClassVar = "overall"
    ticks_per_second: ClassVar = 1
    ending: ClassVar = "json.gz"
    attribute_fields: ClassVar = {"brand": "text", "category": "list", "price": "text"}

    format: Literal["amazon_2018"]
    five_core: bool = Field(description="whether to take the file in which users and products have at least 5 reviews")

    @property
    def reviews_file(self) -> str:
        return f"{self.category}_5.{self.ending}" if self.five_core else super().reviews_file


class Amazon2023Config(AmazonSection):
    """Reviews from 1996 to September 2023."""

    user_field: ClassVar = "user_id"
    item_field: ClassVar = "parent_asin"
    time_field: ClassVar = "timestamp"
    rating_field: ClassVar = "rating"
    ticks_per_second: ClassVar = 1000
    ending: ClassVar = "jsonl.gz"
    attribute_fields: ClassVar = {"store": "text", "categories": "list", "price": "number"}

    format: Literal["amazon_2023"]


class ColumnsConfig(Section):
    """The columns of an own log: by name, or by number from 1 where `header` is false."""

    user: ColumnName = Field(description="user id, in the interactions")
    item: ColumnName = Field(description="item id, in the interactions; with `sequences` the items of the user")
    time: ColumnName | None = Field(description="time of the interaction; null: none, the order of the file counts")
    # Optional, as the keys of OwnLogConfig that have a default.
    time_of_day: ColumnName | None = Field(
        default=None, description="what to add to `time` where that is a date alone; null: nothing"
    )
    rating: ColumnName | None = Field(description="rating of the interaction, or any number; null where there is none")
    item_id: ColumnName = Field(description="item id, in the items")
    title: ColumnName = Field(description="item title, in the items; the column of `item_id` where items have no titles")
    attributes: list[ColumnName] = Field(
        default=[],
        description="columns of the items that describe an item beside its title, e.g. category and brand; text encoders read "
        "them, and new items are recommended by them",
    )


Quoting = Literal["checked", "trusted", "none"]


class ItemsLayout(Section):
    """How the text of the item file differs from that of the interactions; what is not given is alike."""

    separator: str = Field(default=",", min_length=1, max_length=20, description="as the data set's own")
    encoding: str = Field(default="utf-8", min_length=1, description="as the data set's own")
    quoting: Quoting = Field(default="checked", description="as the data set's own")
    escape: str | None = Field(default=None, min_length=1, max_length=1, description="as the data set's own")
    header: bool = Field(default=True, description="as the data set's own")


@dataclass(frozen=True)
class TextLayout:
    """How the text of a file is cut into fields; the keys of :class:`OwnLogConfig` that say so.

    Attributes:
        is_cut_once: only the first separator of a line counts, since the others separate the items of a sequence.
    """

    separator: str
    encoding: str
    quoting: Quoting
    escape: str | None
    header: bool
    is_cut_once: bool = False


class OwnLogConfig(RepeatingSection):
    """Own files, in ``data/own/<data set>/``."""

    may_name_its_split: ClassVar = True

    format: Literal["log"]
    interactions: str = Field(
        min_length=1,
        description="file of delimited text, JSON lines or Parquet, text also packed with gzip, zstd or bzip2; or a folder of "
        "these, perhaps partitioned (user=7/...)",
    )
    items: str = Field(min_length=1, description="likewise; one row per item")
    separator: str = Field(min_length=1, max_length=20, description="between the fields of text, e.g. a comma, or ::")
    encoding: str = Field(min_length=1, description="of text, e.g. utf-8, cp1252")
    # The keys with a default came later; without them, sections that users have stay valid.
    header: bool = Field(
        default=True, description="whether the first line of text names the columns; false: `columns` has numbers"
    )
    quoting: Quoting = Field(
        default="checked",
        description="of delimited text. checked: fields may stand in double quotes, doubled inside; doubt is an error; "
        "trusted: likewise, without doubt; none: a quote is a character like any other",
    )
    escape: str | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="of delimited text: takes its meaning from the next character, e.g. \\",
    )
    items_layout: ItemsLayout | None = Field(
        default=None,
        description="separator, encoding, quoting, escape and header of the item file, where they differ; null: nowhere",
    )
    sequences: str | None = Field(
        default=None,
        min_length=1,
        max_length=20,
        description="null: a row is an interaction. Else a row is a user with items in their order (and lists of times and "
        "ratings), and this stands between them; `list`: they are lists of JSON, Python or Parquet",
    )
    missing: list[str] = Field(
        default=["nan", "NaN", "NULL", "null", "\\N", "None", "NA", "N/A", "<NA>", "NaT"],
        description="texts that stand for no value, as an empty one does; rows without one are dropped and counted",
    )
    keep: dict[ColumnName, Annotated[list[str], Field(min_length=1)]] = Field(
        default={},
        description="columns of the interactions and the texts of which each must hold one, e.g. {event: [purchase]}",
    )
    keep_items: dict[ColumnName, Annotated[list[str], Field(min_length=1)]] = Field(
        default={}, description="likewise of the items, e.g. {property: [name]} where an item has a row per property"
    )
    columns: ColumnsConfig
    time_format: str | None = Field(
        min_length=1,
        description="seconds, milliseconds, microseconds or nanoseconds (since 1970, UTC), iso8601, or a pattern such as "
        "%d/%m/%Y %H:%M; null: there is no time",
    )
    time_of_day_format: str | None = Field(
        default=None,
        min_length=1,
        description="of columns.time_of_day: one of these units since midnight, iso8601, or a pattern such as %H:%M:%S",
    )

    @model_validator(mode="after")
    def _columns_agree(self) -> Self:
        names = self.columns
        of_interactions = [*self.log_columns.values(), *self.per_row]
        described = self.item_columns[1:]
        if (
            any(len(set(columns)) < len(columns) for columns in (of_interactions, described))
            or names.item_id in names.attributes
        ):
            raise ValueError("columns: one column cannot serve two purposes; give each its own")
        if self.min_rating is not None and names.rating is None:
            raise ValueError("min_rating needs a rating: name its column in columns.rating, or set min_rating to null")
        if (names.time is None) != (self.time_format is None):
            raise ValueError(
                "columns.time and time_format go together: both null where a log has no time, else a column and its format"
            )
        if names.time is None and names.time_of_day is not None:
            raise ValueError("columns.time_of_day needs a date: name its column in columns.time, or set time_of_day to null")
        if (names.time_of_day is None) != (self.time_of_day_format is None):
            raise ValueError("columns.time_of_day and time_of_day_format go together: give both, or set both to null")
        if names.time is None and self.split.strategy in TIME_STRATEGIES:
            raise ValueError(f"split.strategy {self.split.strategy} cuts the log by time and needs columns.time")
        return self

    @model_validator(mode="after")
    def _columns_have_numbers_without_a_header(self) -> Self:
        of_files = {
            "header": (self.log_layout.header, [*self.log_columns.values(), *self.per_row]),
            "items_layout.header": (self.item_layout.header, [*self.item_columns, *self.keep_items]),
        }
        for key, (header, names) in of_files.items():
            if not header and (named := [name for name in names if not re.fullmatch("[1-9][0-9]{0,3}", name)]):
                raise ValueError(
                    f"columns: {named[0]!r} is a name, but {key} is false, so columns have numbers: 1 for the first, up to 9999"
                )
        return self

    @model_validator(mode="after")
    def _sequences_are_cut(self) -> Self:
        if self.sequences is None:
            return self
        if self.columns.time_of_day is not None:
            raise ValueError("sequences: times in two columns cannot be read from lists; set columns.time_of_day to null")
        if self.sequences == self.separator and (self.header or list(self.log_columns.values()) != ["1", "2"] or self.keep):
            raise ValueError(
                f"sequences: {self.sequences!r} is also the separator, so a line is a user and items; this needs "
                "header: false, columns.user: 1, columns.item: 2, and no time, rating or keep"
            )
        return self

    @property
    def own_files(self) -> Mapping[str, str]:
        held_out = {"split.validation_file": self.split.validation_file, "split.test_file": self.split.test_file}
        return {
            "interactions": self.interactions,
            **{key: file for key, file in held_out.items() if file is not None and self.split.strategy == "files"},
            "items": self.items,
        }

    @property
    def log_columns(self) -> dict[str, str]:
        """The columns of the interactions that there are, by purpose; those of ``keep`` apart."""
        names = self.columns
        found = {"user": names.user, "item": names.item, "time": names.time, "time_of_day": names.time_of_day}
        return {purpose: name for purpose, name in {**found, "rating": names.rating}.items() if name is not None}

    @property
    def item_columns(self) -> list[str]:
        """The columns of the items that are read: id, title, attributes."""
        return [self.columns.item_id, self.columns.title, *self.columns.attributes]

    @property
    def per_row(self) -> list[str]:
        """Further columns of the interactions, which also of ``sequences`` have one value a row."""
        column = self.split.column if self.split.strategy == "files" else None
        return [*self.keep, *([] if column is None else [column])]

    @property
    def log_layout(self) -> TextLayout:
        is_cut_once = self.sequences == self.separator
        return TextLayout(self.separator, self.encoding, self.quoting, self.escape, self.header, is_cut_once)

    @property
    def item_layout(self) -> TextLayout:
        own = {} if self.items_layout is None else self.items_layout.model_dump(exclude_unset=True)
        return replace(self.log_layout, is_cut_once=False, **own)

    @property
    def kept_values(self) -> Mapping[str, list[str]]:
        return self.keep

    @property
    def has_titles(self) -> bool:
        return self.columns.title != self.columns.item_id

    @property
    def has_times(self) -> bool:
        return self.columns.time is not None

    @property
    def is_ordered_by_time(self) -> bool:
        return self.has_times


class ReleasedFramesConfig(DatasetSection):
    """The frames that the paper's authors publish, in ``data/own/<data set>/``: their very rows, split by them."""

    is_presplit: ClassVar[Literal[True]] = True
    format: Literal["released_frames"]
    train: str = Field(min_length=1, description="file name of the training frame, e.g. train_data.df")
    validation: str = Field(min_length=1, description="of the validation frame, e.g. Val_data.df")
    test: str = Field(min_length=1, description="of the test frame, e.g. Test_data.df")
    names: str = Field(
        min_length=1, description="u.item (its ids minus 1 are the frames'), or an id::name file such as id2name.txt"
    )

    @model_validator(mode="after")
    def _splits_differ(self) -> Self:
        if len({self.train, self.validation, self.test}) < 3:
            raise ValueError("train, validation and test name the same file twice: the test would be part of the training")
        return self

    @property
    def own_files(self) -> Mapping[str, str]:
        return {"train": self.train, "validation": self.validation, "test": self.test, "names": self.names}

    @property
    def titles_are_movies(self) -> bool:
        return Path(self.names).name == MOVIELENS_ITEMS


DatasetConfig = (
    MovieLensConfig
    | LargerMovieLensConfig
    | SyntheticConfig
    | LastFmConfig
    | SteamConfig
    | Amazon2018Config
    | Amazon2023Config
    | OwnLogConfig
    | ReleasedFramesConfig
)  # fmt: skip
DATASET_FORMATS: dict[Any, type[DatasetSection]] = {
    name: section for section in get_args(DatasetConfig) for name in get_args(section.model_fields["format"].annotation)
}
