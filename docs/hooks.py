"""What mkdocs does beside Markdown: two pages are files that stand elsewhere in the repository."""

import re
from pathlib import Path
from typing import Any

ELSEWHERE = {"figures.md": "benchmarks/RESULTS.md", "contributing.md": "CONTRIBUTING.md"}


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """The text of a page that stands elsewhere, its links as seen from docs/."""
    name = page.file.src_uri
    if name not in ELSEWHERE:
        return markdown
    text = (Path(config.config_file_path).parent / ELSEWHERE[name]).read_text()
    return re.sub(r"\]\((?:\.\./)?docs/", "](", text)
