"""Says what columns without a role could serve for, and what files lack that are no log."""

from __future__ import annotations

from collections import Counter

from llara_core.description.roles import MIN_OVERLAP, Profiles, Roles, has_date_in_parts, ranked, time_rank
from llara_core.readers.values import short

FEW = 12  # distinct texts of a column by which rows may be chosen


def unused(roles: Roles, profiles: Profiles) -> list[str]:
    """Returns what the other columns may serve for: to choose rows of the log, as attributes of the items, or for nothing."""
    log, items, used = roles.interactions, roles.items, roles.columns().values()
    said, left = [], []
    for column in (column for column in profiles[log.name] if column.name not in used):
        if 1 < len(column.distinct) <= min(FEW, len(column.text) // 2) and column.numbers < 1:
            texts = [text for text, _ in Counter(column.text.to_pylist()).most_common()]
            shown = ", ".join(map(short, texts[:3])) + (", ..." if len(texts) > 3 else "")
            said.append(f"{column.name} ({shown}): rows can be chosen by it, as in `keep: {{{column.name}: [{texts[0]}]}}`")
        else:
            left.append(column.name)
    others = [] if items is log else [column for column in profiles[items.name] if column.name not in used]
    varied = {column.name: len(column.distinct) > 1 for column in others}
    left += [name for name, is_varied in varied.items() if not is_varied]
    if names := ", ".join(name for name, is_varied in varied.items() if is_varied):
        said.append(f"{names}: attributes of the items, for `columns.attributes: [{names}]`")
    return [*said, *([f"no use is seen for {', '.join(left)}"] if left else [])]


def what_is_missing(profiles: Profiles) -> str:
    """Returns why no pair of files is a log, by what each file lacks."""
    said = (
        "no files here are a log and its items. A log has a user, an item and a time in each row; items have an id and a title:"
    )
    logs = {name: times[:1] for name, found in profiles.items() if (times := ranked(found, time_rank))}
    for name, found in profiles.items():
        seen = {"a time": logs.get(name, [])}
        seen |= {f"a {role}": [column for column in found if column.says(role) >= 2] for role in ("user", "title")}
        has = ", ".join(f"{what} {columns[0].name!r}" for what, columns in seen.items() if columns)
        names = ", ".join(column.name for column in found)
        said += f"\n  {name}: columns {names}; {f'has {has}' if has else 'no time, user or title is seen'}"
    if logs:
        return (
            f"{said}\n{', '.join(logs)} may be the log, but no file lists at least {MIN_OVERLAP:.0%} of the ids of one of its "
            "columns, once each and with a text: is the file of titles missing, or are its ids written otherwise? "
            "(Recommenders need no titles: a section may name the ids in columns.title, too.)"
        )
    said += "\nNo file has a column of times, without which there is no order."
    for name, found in profiles.items():
        if has_date_in_parts(found):
            said += f"\n{name} has day, month and year apart: join them into one column, such as 2009-04-01."
    return said
