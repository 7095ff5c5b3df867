"""The model card: the README.md of a shared model, written from what its run wrote down."""

import json
from collections.abc import Mapping
from typing import Any

from huggingface_hub import ModelCardData

from dlp_dyn.sharing.locate import CONFIG, ENVIRONMENT, METRICS

SAMPLE = "sample"  # name of the picture, without suffix
_ROWS = 8  # of the table of held-out figures
_PAPERS = {"DLP": "2306.05957, 2603.04553", "VideoModel": "2306.05957"}


def model_card(
    name: str, kind: str, n_weights: int, config: Mapping[str, Any], files: Mapping[str, bytes]
) -> str:
    """Markdown with the Hub's header.

    kind: name of the class. config: of the run, or its sections on the model alone. files: of the same folder, of
    which the log, the environment and the picture are looked at.
    """
    header = ModelCardData(
        license="mit", library_name="dlp_dyn", tags=["deep-latent-particles", "object-centric", kind]
    )
    m = config["model"]
    side = m["image_size"]
    what = f"{m['n_particles']} particles with {m['feature_dim']} features on {side}x{side} images"
    if kind == "VideoModel":
        what += f", {config['dynamics']['kind']} dynamics over {config['dynamics']['window']} frames"
    picture = "".join(f"![{name}: pictures of held-out data]({f})\n\n" for f in files if f.startswith(SAMPLE))
    return (
        f"---\n{header.to_yaml()}\n---\n\n# {name}\n\nDeep latent particles (arXiv {_PAPERS[kind]}): {what}; "
        f"{n_weights:,} weights.\n\n{picture}{_usage(name, kind)}{_training(config, files)}{_figures(files)}"
    )


def _usage(name: str, kind: str) -> str:
    module = {"DLP": "dlp_dyn.image.model", "VideoModel": "dlp_dyn.video"}[kind]
    return (
        "## Use\n\n```python\n"
        f'from {module} import {kind}\n\nmodel = {kind}.from_pretrained("{name}")\n'
        f"```\n\nor in place of a run folder: `dlp-dyn evaluate {name} --data FILE`.\n\n"
    )


def _training(config: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
    if "steps" not in config:
        return ""
    data = config["data"]
    rows = [
        ("data", f"{data['path']}, clips of {data['clip_length']} frames, stride {data['stride']}"),
        ("steps", f"{config['steps']:,} of {config['batch_size']} clips"),
        ("learning rate", f"{config['lr']:g}, {config['optimizer']['schedule']}"),
        ("seed", str(config["seed"])),
    ]
    if config.get("image"):
        rows.insert(0, ("image model", f"of the run {config['image']}"))
    if ENVIRONMENT in files:
        session = json.loads(files[ENVIRONMENT])
        versions = session["versions"]
        rows += [
            ("started", session["started"]),
            ("device", f"{session['gpu'] or session['cpu']}, CPU threads: {session['threads']}"),
            ("versions", f"dlp_dyn {versions['dlp_dyn']}, torch {versions['torch']}"),
        ]
    return f"## Training\n\nEvery setting: `{CONFIG}`.\n\n{_table(('', ''), rows)}"


def _figures(files: Mapping[str, bytes]) -> str:
    """Some of the rows on held-out data, the last one among them."""
    rows = [json.loads(line) for line in files.get(METRICS, b"").decode().splitlines()]
    held_out = [row for row in rows if any(name.startswith("validation/") for name in row)]
    if not held_out:
        return ""
    held_out = held_out[:: -max(len(held_out) // _ROWS, 1)][::-1]
    names = [name for name in held_out[-1] if name.startswith("validation/")]
    table = _table(
        ("step", *(name.removeprefix("validation/") for name in names)),
        [
            (str(row["step"]), *(f"{row[name]:.4g}" if name in row else "" for name in names))
            for row in held_out
        ],
    )
    return f"## Figures on the validation part\n\nThe whole log: `{METRICS}`.\n\n{table}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"
