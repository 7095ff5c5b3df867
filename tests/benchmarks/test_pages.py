"""Pages of results: their tables are those of the JSON files, and the table of claims leads to all of them."""

import re

import pytest

from benchmarks.pages import README, RESULTS, at_a_glance, tables, written

PAGES = sorted(RESULTS.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tables_are_those_that_were_measured(page) -> None:
    text = page.read_text()
    assert text == written(text, tables()), "write it again: python -m benchmarks.pages"


def test_every_measured_table_is_on_a_page() -> None:
    shown = {name for page in PAGES for name in re.findall(r"<!-- table: (\w+) -->", page.read_text())}
    assert shown == set(tables())


def test_the_table_of_claims_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\((\w+\.md)\)", (RESULTS / "README.md").read_text()))
    assert linked == {page.name for page in PAGES} - {"README.md"}


def test_the_readme_tells_the_claims_of_the_pages() -> None:
    text = README.read_text()
    assert text == at_a_glance(text, (RESULTS / "README.md").read_text()), (
        "write it again: python -m benchmarks.pages"
    )


def test_a_glance_takes_the_claims_of_the_named_pages() -> None:
    head = "| claim | value | target | page |\n|---|---|---|---|\n"
    claims = head + "| a | 1 | 2 | [x](x.md) |\n| b | 3 | none | [y](y.md) |\n"
    readme = "<!-- claims of: y -->\nstale\n<!-- end -->"
    assert at_a_glance(readme, claims).splitlines()[3] == "| b | 3 | none | [y](benchmarks/results/y.md) |"
    with pytest.raises(ValueError, match="z: no claim"):
        at_a_glance("<!-- claims of: z -->\n<!-- end -->", claims)


def test_rows_of_another_length_are_refused(tmp_path) -> None:
    (tmp_path / "x.json").write_text('{"tables": {"a": {"columns": ["b", "c"], "rows": [["1"]]}}}')
    with pytest.raises(ValueError, match="1 cells, the table has 2 columns"):
        tables(tmp_path)
