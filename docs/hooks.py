"""What mkdocs does beside Markdown: two pages stand elsewhere in the repository, and notebooks are pages.

Where `repo_url` in mkdocs.yml is an address of GitHub, notebooks link to Colab, and say how to install from there; the
pages do by themselves, and `python docs/hooks.py` writes it into the notebooks.
"""

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config import load_config
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
    """The Markdown of a notebook."""
    parts = []
    for cell in json.loads(addressed(notebook, repository))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            shell = text.startswith("!")
            code = re.sub(r"^!", "", text, flags=re.M) if shell else text
            text = f"```{'bash' if shell else 'python'}\n{code}\n```"
        parts.append(re.sub(r"^!\[[^\]]*\]\(\S+\)\s*", "", text))  # pictures that the notebook itself makes
    title, _, rest = parts[0].partition("\n")
    return "\n\n".join([title, f"[the notebook]({notebook.name})", rest.strip(), *parts[1:]]) + "\n"


def addressed(notebook: Path, repository: str | None) -> str:
    """The text of a notebook: "In Colab" is a link, and what is installed there has an address, where there is one."""
    text = notebook.read_text()
    if not repository or "github.com/" not in repository:
        return text
    place = repository.rstrip("/").removesuffix(".git").partition("github.com/")[2]
    link = f"https://colab.research.google.com/github/{place}/blob/main/docs/{NOTEBOOKS}/{notebook.name}"
    text = re.sub(r"(\[In Colab\]\(\S+\)|In Colab), first", f"[In Colab]({link}), first", text)
    return re.sub(r"(git clone |git\+)[^`\s]+", rf"\g<1>https://github.com/{place}", text)


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """The text of a page that stands elsewhere, its links as seen from docs/."""
    name = page.file.src_uri
    if name not in ELSEWHERE:
        return markdown
    text = (Path(config.config_file_path).parent / ELSEWHERE[name]).read_text()
    text = re.sub(r"\[([^\]]+)\]\((\w+\.md)\)", r"`benchmarks/results/\2`", text)  # pages that the site lacks
    return re.sub(r"\]\((?:\.\./)*docs/", "](", text)


if __name__ == "__main__":
    root = Path(__file__).parents[1]
    address = load_config(str(root / "mkdocs.yml")).repo_url
    for file in sorted((root / "docs" / NOTEBOOKS).glob("*.ipynb")):
        file.write_text(addressed(file, address))
