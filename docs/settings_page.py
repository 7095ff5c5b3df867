"""The page of all settings, from the config dataclasses: `python docs/settings_page.py` writes docs/settings.md."""

from pathlib import Path

from agents.config import AgentConfig
from dlp_dyn.config import TrainConfig
from dlp_dyn.settings.described import sections

PAGE = Path(__file__).with_name("settings.md")
HEAD = """# Settings

<!-- Written by docs/settings_page.py from the config dataclasses. -->

Every setting of training, with its default, range and effect. Give one on the command line as `section.key=value`
(`dlp-dyn train balls lr=5e-4 model.n_particles=8`), or in a YAML file of which `defaults: balls` is the first line and
the rest what differs. `dlp-dyn train balls --show` prints the values of a config with the same words. An unknown key, a
value of the wrong kind or one out of range is answered in one line that names the key and what it takes.

Start from a [config that comes with dlp_dyn](own-videos.md#which-config), not from the defaults: these are the settings
of one family of models.
"""


def tables(schema: type) -> list[str]:
    """Markdown of a schema, a table for each section."""
    lines: list[str] = []
    for section in sections(schema):
        lines += [f"### `{section.name}`" if section.name else "### Top level", "", section.meaning, ""]
        lines += ["| key | default | range | effect |", "|---|---|---|---|"]
        for setting in section.settings:
            default = f"`{setting.default}`" if setting.default else "needed"
            key = setting.key.removeprefix(f"{section.name}.")
            lines.append(f"| `{key}` | {default} | {setting.span} | {setting.effect} |")
        lines.append("")
    return lines


def page() -> str:
    """The whole page."""
    lines = [HEAD, "## Models: `dlp-dyn train`", "", *tables(TrainConfig)]
    lines += ["## Agents: `python -m agents.train`", "", *tables(AgentConfig)]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
