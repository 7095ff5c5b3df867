"""What mkdocs does beside Markdown: two pages stand elsewhere in the repository, and notebooks are pages.

Where `repo_url` in mkdocs.yml is an address of GitHub, the page of a notebook begins with its link to Colab.
"""

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ELSEWHERE = {"figures.md": "benchmarks/results/README.md", "contributing.md": "CONTRIBUTING.md"}
NOTEBOOKS = "notebooks"


def on_files(files: Any, config: Any) -> Any:
    """A page beside each notebook."""
    for notebook in sorted((Path(config.docs_dir) / NOTEBOOKS).glob("*.ipynb")):
        name = f"{NOTEBOOKS}/{notebook.stem}.md"
        files.append(File.generated(config, name, content=page_of(notebook, config.repo_url)))
    return files


def page_of(notebook: Path, repository: str | None = None) -> str:
    """The Markdown of a notebook; its link to Colab stands below the title."""
    parts = []
    for cell in json.loads(notebook.read_text())["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            shell = text.startswith("!")
            code = re.sub(r"^!", "", text, flags=re.M) if shell else text
            text = f"```{'bash' if shell else 'python'}\n{code}\n```"
        parts.append(re.sub(r"^!\[[^\]]*\]\(\S+\)\s*", "", text))  # pictures that the notebook itself makes
    links = [f"[the notebook]({notebook.name})"]
    if repository and "github.com/" in repository:
        place = repository.rstrip("/").removesuffix(".git").partition("github.com/")[2]
        links.insert(
            0,
            f"[open in Colab](https://colab.research.google.com/github/{place}/blob/main/docs/{NOTEBOOKS}/{notebook.name})",
        )
    title, _, rest = parts[0].partition("\n")
    return "\n\n".join([title, " · ".join(links), rest.strip(), *parts[1:]]) + "\n"


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """The text of a page that stands elsewhere, its links as seen from docs/."""
    name = page.file.src_uri
    if name not in ELSEWHERE:
        return markdown
    text = (Path(config.config_file_path).parent / ELSEWHERE[name]).read_text()
    text = re.sub(r"\[([^\]]+)\]\((\w+\.md)\)", r"`benchmarks/results/\2`", text)  # pages that the site lacks
    return re.sub(r"\]\((?:\.\./)*docs/", "](", text)
