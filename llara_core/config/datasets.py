"""Sections ``download`` and ``datasets``: sources, filters and splits of data sets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from llara_core.config.sections import PositiveFloat, Section, Seed

MOVIELENS_ITEMS = "u.item"  # a file with this name has the layout of MovieLens


class DownloadConfig(Section):
    """Mirror, time-outs and retries of downloads."""

    mirror: str | None = Field(
        min_length=1, description="folder or URL prefix to try first; the variable LLARA_MIRROR overrides it"
    )
    timeout_s: PositiveFloat = Field(description="seconds without data until a connection counts as failed")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(
        description="further attempts per address: at once, then after doubling pauses or the pause that the server requests"
    )


def _moment(text: Any) -> Any:
    if isinstance(text, date):
        raise ValueError(f"write {text} in quotes, since DVC accepts no dates")
    if isinstance(text, str) and text:
        try:
            datetime.fromisoformat(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is not a date such as 1998-03-01 or 1998-03-01T12:00:00+02:00") from error
    return text


def _column(name: Any) -> Any:
    return str(name) if isinstance(name, int) and not isinstance(name, bool) else name


Moment = Annotated[str, Field(min_length=1), BeforeValidator(_moment)]
ColumnName = Annotated[str, BeforeValidator(_column), Field(min_length=1)]
"""Name of a column or, in a file without a header, its number from 1."""
OptionalShare = Annotated[float | None, Field(gt=0, lt=1)]
_SPLIT_KEYS = {
    "user_chronological": ("train", "validation"),
    "global_time": ("train", "validation"),
    "date": ("train_until", "validation_until"),
}
"""Keys that a strategy requires."""
TIME_STRATEGIES = ("global_time", "date")
"""Strategies that cut sequences by time, and therefore need sequences in order of time."""


class ColdItemsConfig(Section):
    """Items that are treated as new: they are in no training data, but are targets."""

    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="share of the items, drawn at random, whose training interactions are removed"
    )
    seed: Seed


class SplitConfig(Section):
    """Split of the interactions. A strategy ignores the keys of others, so an experiment can change it alone."""

    strategy: Literal["user_chronological", "global_time", "leave_one_out", "date", "files"] = Field(
        description="user_chronological: users, sorted by their first interaction, are divided (the released protocol); "
        "global_time: all interactions are divided at two points in time, determined by shares; date: at two given points in "
        "time; leave_one_out: a user's last interaction is for test, the one before for validation; files: own files "
        "determine the split"
    )
    train: OptionalShare = Field(default=None, description="share of users or interactions for training")
    validation: OptionalShare = Field(default=None, description="share for validation; the rest is for test")
    train_until: Moment | None = Field(
        default=None, description="date: end of training; ISO 8601 in quotes, UTC if it has no zone"
    )
    validation_until: Moment | None = Field(default=None, description="date: end of validation, in the same form")
    column: ColumnName | None = Field(
        default=None, description="files: column of the interactions with the values train, validation and test"
    )
    validation_file: str | None = Field(
        default=None, min_length=1, description="files: validation interactions, if `interactions` are those of training"
    )
    test_file: str | None = Field(default=None, min_length=1, description="files: test interactions, likewise")
    cold_items: ColdItemsConfig | None = Field(
        default=None,
        description="any strategy: items without training interactions, for questions about new items; null for none",
    )
    train_users: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0,
        description="user_chronological: share of the training users to keep, drawn at random; all held-out users are kept",
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
                f"train_users {self.train_users:g} needs strategy user_chronological, in which no training user is held out; "
                f"with {self.strategy} leave it at 1"
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
        """Returns the missing keys of ``strategy``."""
        return [key for key in _SPLIT_KEYS.get(strategy, ()) if getattr(self, key) is None]

    @property
    def shares(self) -> tuple[float, float]:
        """Shares of training and validation."""
        return self.train or 0.0, self.validation or 0.0

    @property
    def dates(self) -> tuple[datetime, datetime]:
        """End times of training and validation, with a time zone."""
        ends = [datetime.fromisoformat(str(end)) for end in (self.train_until, self.validation_until)]
        first, second = (end if end.tzinfo else end.replace(tzinfo=UTC) for end in ends)
        return first, second


class TitlesConfig(Section):
    """Cleaning of titles beyond decoding entities and collapsing white space."""

    strip_html: bool = Field(default=False, description="whether to remove HTML tags")
    max_chars: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="maximum length; longer titles are cut at the end of a word if possible; null for no limit"
    )
    several: Literal["error", "first"] = Field(
        default="error", description="several titles of one item. error: the log is refused; first: the first is used"
    )


class DatasetSection(Section):
    """Options and properties of data sets of all formats; code checks these properties instead of the format."""

    max_history_len: Annotated[int, Field(ge=1, le=100_000)] = Field(description="maximum number of previous items per example")
    noun: str = Field(min_length=1, description="word for an item in prompts, e.g. movie")
    verb: str = Field(min_length=1, description="word for an interaction in prompts, e.g. watched")
    titles: TitlesConfig = Field(default=TitlesConfig(), description="cleaning of titles")

    @property
    def own_files(self) -> Mapping[str, str]:
        """Names of the user's own files or folders in ``data/own/<data set>/``, by key of this section."""
        return {}

    @property
    def titles_are_movies(self) -> bool:
        """Whether titles end in an article and a year as in MovieLens; elsewhere these are part of the title."""
        return False

    @property
    def has_titles(self) -> bool:
        """Whether items have titles; otherwise their ids are used as titles."""
        return True


class LogSection(DatasetSection):
    """Data sets of interactions, which the stage ``prepare`` filters and splits."""

    is_presplit: ClassVar[Literal[False]] = False
    may_name_its_split: ClassVar[bool] = False  # whether split.strategy may be files

    min_user_interactions: Annotated[int, Field(ge=0)] = Field(description="users with fewer interactions are dropped")
    min_item_interactions: Annotated[int, Field(ge=0)] = Field(description="items with fewer interactions are dropped")
    catalogue: Literal["interacted", "full"] = Field(
        description="interacted: items with at least one kept interaction; full: every item of the raw item file"
    )
    split: SplitConfig

    @model_validator(mode="after")
    def _files_are_own(self) -> Self:
        if self.split.strategy == "files" and not self.may_name_its_split:
            raise ValueError("split.strategy files is for own logs (format: log), whose files define the split")
        return self

    @property
    def lowest_rating(self) -> float | None:
        """Minimum rating of kept interactions; None keeps all."""
        return None

    @property
    def kept_values(self) -> Mapping[str, list[str]]:
        """Columns of the raw interactions with the values of kept interactions."""
        return {}

    @property
    def kept_repeat(self) -> Literal["first", "last"] | None:
        """Kept interaction if a user has several with one item; None keeps all."""
        return None

    @property
    def is_k_core(self) -> bool:
        """Whether the minimum counts are applied until both hold; otherwise once, first to items, then to users."""
        return False

    @property
    def sample(self) -> SubsampleConfig | None:
        """Random sample of users and items that is kept after the minimum counts; None keeps all."""
        return None

    @property
    def has_times(self) -> bool:
        """Whether timestamps are times; otherwise they are positions in the file."""
        return True

    @property
    def is_ordered_by_time(self) -> bool:
        """Whether sequences are in order of time; otherwise in order of the file."""
        return True


class RatedSection(LogSection):
    """Logs with ratings."""

    min_rating: float | None = Field(description="interactions with a lower rating are dropped; null keeps all")

    @property
    def lowest_rating(self) -> float | None:
        return self.min_rating


class RepeatingSection(RatedSection):
    """Logs in which users interact with an item repeatedly and small counts are common."""

    min_counts: Literal["once", "k_core"] = Field(
        description="application of the minimum counts. once: first to items, then to users; k_core: repeated until both hold"
    )
    repeats: Literal["keep", "first", "last"] = Field(
        description="interactions to keep if a user has several with one item. keep: all except exact duplicates; first: the "
        "earliest; last: the latest"
    )

    @property
    def kept_repeat(self) -> Literal["first", "last"] | None:
        return None if self.repeats == "keep" else self.repeats

    @property
    def is_k_core(self) -> bool:
        return self.min_counts == "k_core"


class MovieLensSection(RatedSection):
    """Data sets with the titles of MovieLens."""

    @property
    def files(self) -> tuple[str, str]:
        """File names of the ratings and the movies."""
        return "u.data", MOVIELENS_ITEMS

    @property
    def encoding(self) -> str:
        """Encoding of the movies."""
        return "latin-1"

    @property
    def titles_are_movies(self) -> bool:
        return True


class MovieLensConfig(MovieLensSection):
    """MovieLens 100K, the GroupLens archive of 100,000 ratings."""

    format: Literal["movielens_100k"]


class SyntheticConfig(MovieLensSection):
    """A small generated data set with planted sequential structure, for trials and tests."""

    format: Literal["synthetic"]


class LargerMovieLensConfig(MovieLensSection):
    """MovieLens 1M to 32M, the GroupLens archives of 1 to 32 million ratings."""

    format: Literal["movielens_1m", "movielens_10m", "movielens_20m", "movielens_25m", "movielens_32m"]

    @property
    def files(self) -> tuple[str, str]:
        ending = "dat" if self.format in {"movielens_1m", "movielens_10m"} else "csv"
        return f"ratings.{ending}", f"movies.{ending}"

    @property
    def encoding(self) -> str:
        return "latin-1" if self.format == "movielens_1m" else "utf-8"


class LastFmConfig(LogSection):
    """The GroupLens archive HetRec 2011 Last.fm 2K; tagging an artist is the interaction."""

    format: Literal["lastfm_2k"]
    order: Literal["file", "timestamp"] = Field(
        description="order of a user's sequence. file: by artist id, as in the released data; timestamp: by the date of the tag"
    )

    @model_validator(mode="after")
    def _strategy_has_times(self) -> Self:
        if self.order == "file" and self.split.strategy in TIME_STRATEGIES:
            raise ValueError(f"split.strategy {self.split.strategy} cuts sequences by time and needs order: timestamp")
        return self

    @property
    def is_ordered_by_time(self) -> bool:
        return self.order == "timestamp"


class SubsampleConfig(Section):
    """A random part of the users and items."""

    users: Annotated[float, Field(gt=0, le=1)] = Field(description="share of the users to keep")
    items: Annotated[float, Field(gt=0, le=1)] = Field(description="share of the items to keep")
    seed: Seed


class SteamConfig(LogSection):
    """The review and game files of the McAuley lab, UCSD; a review is the interaction."""

    format: Literal["steam"]
    subsample: SubsampleConfig = Field(description="random sample of users and items, drawn after the minimum counts")

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
    attribute_fields: ClassVar[Mapping[str, Literal["text", "list", "number"]]]  # fields of the metadata and their types

    category: Annotated[str, Field(pattern=r"^\w+$")] = Field(description="category as in the file names, e.g. Video_Games")

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
    five_core: bool = Field(description="whether to use the file in which users and products have at least 5 reviews")

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
    """Columns of an own log: names, or numbers from 1 if `header` is false."""

    user: ColumnName = Field(description="user id in the interactions")
    item: ColumnName = Field(description="item id in the interactions; with `sequences`, the items of the user")
    time: ColumnName | None = Field(description="time of the interaction; null: the order of the file is used")
    # Optional, so that sections of earlier versions stay valid.
    time_of_day: ColumnName | None = Field(default=None, description="time of day, if `time` is only a date; null for none")
    rating: ColumnName | None = Field(description="rating of the interaction, or any number; null for none")
    item_id: ColumnName = Field(description="item id in the items")
    title: ColumnName = Field(description="item title in the items; the column of `item_id` if items have no titles")
    attributes: list[ColumnName] = Field(
        default=[],
        description="columns of the items that describe an item in addition to its title, e.g. category and brand; text "
        "encoders read them, also for new items",
    )


Quoting = Literal["checked", "trusted", "none"]


class ItemsLayout(Section):
    """Layout of the item file, where it differs from that of the interactions."""

    separator: str = Field(default=",", min_length=1, max_length=20, description="like the key of the data set")
    encoding: str = Field(default="utf-8", min_length=1, description="like the key of the data set")
    quoting: Quoting = Field(default="checked", description="like the key of the data set")
    escape: str | None = Field(default=None, min_length=1, max_length=1, description="like the key of the data set")
    header: bool = Field(default=True, description="like the key of the data set")


@dataclass(frozen=True)
class TextLayout:
    """Layout of delimited text, under the keys of :class:`OwnLogConfig`.

    Attributes:
        is_cut_once: whether only the first separator of a line separates fields, and the others the items of a sequence.
    """

    separator: str
    encoding: str
    quoting: Quoting
    escape: str | None
    header: bool
    is_cut_once: bool = False


PLAIN_LOG: Mapping[str, Any] = {
    "format": "log",
    "interactions": "interactions.csv",
    "items": "items.csv",
    "separator": ",",
    "encoding": "utf-8",
    "columns": {"user": "user", "item": "item", "time": "time", "rating": None, "item_id": "item", "title": "title"},
    "time_format": "seconds",
    "min_rating": None,
    "min_user_interactions": 0,
    "min_item_interactions": 0,
    "min_counts": "once",
    "repeats": "keep",
    "catalogue": "interacted",
    "max_history_len": 10,
    "split": {"strategy": "user_chronological", "train": 0.8, "validation": 0.1},
    "noun": "item",
    "verb": "chose",
}
"""Values of all required keys of :class:`OwnLogConfig`; the rules keep every interaction."""


class OwnLogConfig(RepeatingSection):
    """The user's own files in ``data/own/<data set>/``."""

    may_name_its_split: ClassVar = True

    format: Literal["log"]
    interactions: str = Field(
        min_length=1,
        description="file of delimited text, JSON lines or Parquet, also compressed with gzip, zstd or bzip2; or a folder of "
        "such files, also partitioned (user=7/...)",
    )
    items: str = Field(min_length=1, description="file or folder of the same kinds, with one row per item")
    separator: str = Field(min_length=1, max_length=20, description="separator of fields in text, e.g. a comma or ::")
    encoding: str = Field(min_length=1, description="encoding of text, e.g. utf-8 or cp1252")
    # Keys added later have defaults, so that sections of earlier versions stay valid.
    header: bool = Field(
        default=True, description="whether the first line of text has the column names; if false, `columns` has numbers"
    )
    quoting: Quoting = Field(
        default="checked",
        description="quotes in delimited text. checked: fields may be in double quotes, doubled inside; ambiguous ones are an "
        "error; trusted: the same without this check; none: quotes are ordinary characters",
    )
    escape: str | None = Field(
        default=None, min_length=1, max_length=1, description="escape character of delimited text, e.g. \\"
    )
    items_layout: ItemsLayout | None = Field(
        default=None,
        description="separator, encoding, quoting, escape and header of the item file, where they differ; null: no difference",
    )
    sequences: str | None = Field(
        default=None,
        min_length=1,
        max_length=20,
        description="null: a row is an interaction. Otherwise a row is a user with items in order (and lists of times and "
        "ratings), and this text separates them; `list`: they are lists of JSON, Python or Parquet",
    )
    missing: list[str] = Field(
        default=["nan", "NaN", "NULL", "null", "\\N", "None", "NA", "N/A", "<NA>", "NaT"],
        description="texts that mean a missing value, like an empty text; rows with missing values are dropped and counted",
    )
    keep: dict[ColumnName, Annotated[list[str], Field(min_length=1)]] = Field(
        default={}, description="values of interactions to keep, by column, e.g. {event: [purchase]}"
    )
    keep_items: dict[ColumnName, Annotated[list[str], Field(min_length=1)]] = Field(
        default={}, description="values of items to keep, by column, e.g. {property: [name]} for a row per property"
    )
    columns: ColumnsConfig
    time_format: str | None = Field(
        min_length=1,
        description="seconds, milliseconds, microseconds or nanoseconds (since 1970, UTC), iso8601, or a pattern such as "
        "%d/%m/%Y %H:%M; null if the log has no times",
    )
    time_of_day_format: str | None = Field(
        default=None,
        min_length=1,
        description="format of columns.time_of_day: one of these units since midnight, iso8601, or a pattern such as %H:%M:%S",
    )

    @classmethod
    def plain(cls, **values: Any) -> Self:
        """Returns a section with these values, and those of :data:`PLAIN_LOG` for the other required keys."""
        return cls.model_validate({**PLAIN_LOG, **values})

    @model_validator(mode="after")
    def _columns_agree(self) -> Self:
        names = self.columns
        of_interactions = [*self.log_columns.values(), *self.per_row]
        described = self.item_columns[1:]
        are_shared = any(len(set(columns)) < len(columns) for columns in (of_interactions, described))
        if are_shared or names.item_id in names.attributes:
            raise ValueError("columns: one column cannot serve two purposes; give each its own")
        if self.min_rating is not None and names.rating is None:
            raise ValueError("min_rating needs a rating: name its column in columns.rating, or set min_rating to null")
        if (names.time is None) != (self.time_format is None):
            raise ValueError(
                "columns.time and time_format go together: both null if the log has no times, otherwise a column and its format"
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
        for key, header, names in (
            ("header", self.header, [*self.log_columns.values(), *self.per_row]),
            ("items_layout.header", self.item_layout.header, [*self.item_columns, *self.keep_items]),
        ):
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
        """Columns of the interactions by purpose, without those of ``keep``."""
        purposes = ("user", "item", "time", "time_of_day", "rating")
        return {purpose: name for purpose in purposes if (name := getattr(self.columns, purpose)) is not None}

    @property
    def item_columns(self) -> list[str]:
        """Columns of the items: id, title and attributes."""
        return [self.columns.item_id, self.columns.title, *self.columns.attributes]

    @property
    def per_row(self) -> list[str]:
        """Other columns of the interactions, which have one value per row even with ``sequences``."""
        column = self.split.column if self.split.strategy == "files" else None
        return [*self.keep] if column is None else [*self.keep, column]

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
    """The frames that the paper's authors published, with their split, in ``data/own/<data set>/``."""

    is_presplit: ClassVar[Literal[True]] = True
    format: Literal["released_frames"]
    train: str = Field(min_length=1, description="file name of the training frame, e.g. train_data.df")
    validation: str = Field(min_length=1, description="file name of the validation frame, e.g. Val_data.df")
    test: str = Field(min_length=1, description="file name of the test frame, e.g. Test_data.df")
    names: str = Field(
        min_length=1, description="u.item (whose ids minus 1 are those of the frames) or an id::name file such as id2name.txt"
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
