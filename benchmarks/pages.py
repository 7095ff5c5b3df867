"""Writes the tables of benchmarks/results/*.md from the JSON files beside them.

python -m benchmarks.pages

A page says where: between `<!-- table: NAME -->` and `<!-- end -->` stands the table of that name. A JSON file holds
`tables`: by name, `columns` and `rows` of texts; beside them the machine and the date of the measurement.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
_PLACE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def tables(folder: Path = RESULTS) -> dict[str, str]:
    """All tables of the JSON files as Markdown, by name. Raises ValueError for a row of another length."""
    found = {}
    for file in sorted(folder.glob("*.json")):
        for name, table in json.loads(file.read_text()).get("tables", {}).items():
            found[name] = _markdown(table["columns"], table["rows"])
    return found


def written(page: str, known: Mapping[str, str]) -> str:
    """A page with its tables as they are known. Raises KeyError for one that is not."""
    return _PLACE.sub(lambda found: found[1] + known[found[2]] + found[3], page)


def _markdown(columns: list[str], rows: list[list[str]]) -> str:
    if wrong := [row for row in rows if len(row) != len(columns)]:
        raise ValueError(f"{wrong[0]}: {len(wrong[0])} cells, the table has {len(columns)} columns")
    lines = [columns, ["---"] * len(columns), *rows]
    return (
        "".join(f"| {' | '.join(line)} |\n" for line in lines)
        .replace("| --- ", "|---")
        .replace("|--- |", "|---|")
    )


def main() -> None:
    for file in sorted(RESULTS.glob("*.md")):
        file.write_text(written(file.read_text(), tables()))


if __name__ == "__main__":
    main()
