"""Says what the remaining columns can be used for, and why files are not a log with its items."""

from __future__ import annotations

from collections import Counter

from llara_core.description.roles import MIN_OVERLAP, Profiles, Roles, dates_in_parts, ranked, time_rank
from llara_core.readers.values import short

FEW = 12  # distinct texts of a column by which rows can be chosen


def describe_unused(roles: Roles, profiles: Profiles) -> list[str]:
    """Returns a sentence for each use of the other columns: to choose rows of the log, as attributes of the items, or none."""
    log, items, used = roles.interactions, roles.items, roles.columns().values()
    uses, useless = [], []
    for column in (column for column in profiles[log.name] if column.name not in used):
        if 1 < len(column.distinct) <= min(FEW, len(column.text) // 2) and column.share_numeric < 1:
            texts = [text for text, _ in Counter(column.text.to_pylist()).most_common()]
            shown = ", ".join(map(short, texts[:3])) + (", ..." if len(texts) > 3 else "")
            uses.append(
                f"{column.name} ({shown}): to use only some rows, add for example `keep: {{{column.name}: [{texts[0]}]}}`"
            )
        else:
            useless.append(column.name)
    others = [] if items is log else [column for column in profiles[items.name] if column.name not in used]
    attributes = [column.name for column in others if len(column.distinct) > 1]
    useless += [column.name for column in others if column.name not in attributes]
    if attributes:
        names = ", ".join(attributes)
        uses.append(f"{names}: to use them as attributes of the items, set `columns.attributes: [{names}]`")
    return [*uses, *([f"{', '.join(useless)}: no use found"] if useless else [])]


def explain_no_log(profiles: Profiles) -> str:
    """Returns why no pair of files is a log with its items."""
    lines = [
        "found no log with its items. A row of a log has a user, an item and a time; a row of the items has an id and a title:"
    ]
    logs = {name: times[:1] for name, columns in profiles.items() if (times := ranked(columns, time_rank))}
    for name, columns in profiles.items():
        seen = {"a time": logs.get(name, [])}
        seen |= {f"a {role}": [column for column in columns if column.name_score(role) >= 2] for role in ("user", "title")}
        has = ", ".join(f"{what} ({matching[0].name!r})" for what, matching in seen.items() if matching)
        names = ", ".join(column.name for column in columns)
        lines.append(f"  {name}: columns {names}; {f'has {has}' if has else 'nothing looks like a time, user or title'}")
    if logs:
        lines.append(
            f"{', '.join(logs)} may be the log, but no file lists at least {MIN_OVERLAP:.0%} of the ids of one of its columns, "
            "once each and with a text. Is the file of titles missing, or are its ids written differently? (If there are no "
            "titles, columns.title may name the column of the ids; recommenders need no titles.)"
        )
        return "\n".join(lines)
    return "\n".join([*lines, "No file has a column of times, which give the order.", *dates_in_parts(profiles)])
