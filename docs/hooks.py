"""What mkdocs does beside Markdown: two pages are files that stand elsewhere in the repository."""

import re
from pathlib import Path
from typing import Any

ELSEWHERE = {"figures.md": "benchmarks/results/README.md", "contributing.md": "CONTRIBUTING.md"}


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """The text of a page that stands elsewhere, its links as seen from docs/."""
    name = page.file.src_uri
    if name not in ELSEWHERE:
        return markdown
    text = (Path(config.config_file_path).parent / ELSEWHERE[name]).read_text()
    text = re.sub(r"\[([^\]]+)\]\((\w+\.md)\)", r"`benchmarks/results/\2`", text)  # pages that the site lacks
    return re.sub(r"\]\((?:\.\./)*docs/", "](", text)
