"""Writes the tables of benchmarks/results/*.md from the JSON files beside them, and that of the README from the claims.

python -m benchmarks.pages

A page says where: between `<!-- table: NAME -->` and `<!-- end -->` stands the table of that name. A JSON file holds
`tables`: by name, `columns` and `rows` of texts; beside them the machine and the date of the measurement. Between
`<!-- claims of: PAGE ... -->` and `<!-- end -->` the README has the claims of those pages in results/README.md.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
_GLANCE = re.compile(r"(<!-- claims of: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
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


def at_a_glance(readme: str, claims: str) -> str:
    """The README with the claims of the pages that it names. Raises ValueError for a page without a claim."""
    rows = [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for line in claims.splitlines()
        if line[:1] == "|"
    ]
    by_page: dict[str, list[list[str]]] = {}
    for claim, value, target, *_, page in rows[2:]:
        name = page.removesuffix(".md)").rpartition("(")[2]
        by_page.setdefault(name, []).append([claim, value, target, f"[{name}](benchmarks/results/{name}.md)"])

    def table(found: re.Match[str]) -> str:
        names = found[2].split()
        if unknown := [name for name in names if name not in by_page]:
            raise ValueError(f"{unknown[0]}: no claim of that page in results/README.md")
        chosen = [row for name in names for row in by_page[name]]
        return found[1] + _markdown(["what", "result", "asked for", "page"], chosen) + found[3]

    return _GLANCE.sub(table, readme)


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
    README.write_text(at_a_glance(README.read_text(), (RESULTS / "README.md").read_text()))


if __name__ == "__main__":
    main()
