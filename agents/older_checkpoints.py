"""Agents of earlier versions, saved as a zip of Stable-Baselines3, whose settings are a pickle.

python -m agents.older_checkpoints RUN --trust-zip

Only the weights in the zip are read, by a loader that runs nothing; all else is made anew from the agent's config.
"""

import argparse
import json
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch

from agents import checkpoint, environments, spaces
from agents.checkpoint import ZIP
from agents.command import run_command
from agents.config import read
from dlp_dyn import folders
from dlp_dyn.errors import InputError, reading
from dlp_dyn.observation.encoder import ParticleEncoder
from dlp_dyn.settings import parse_json
from dlp_dyn.sharing.weights import to_bytes

KEPT = (checkpoint.CONFIG, checkpoint.NORMALIZER, checkpoint.FOREGROUND)
_REMEDY = "use another checkpoint of the run, or train the agent again"


def convert(folder: Path) -> None:
    """Write the checkpoint folder of an earlier version anew, in today's form; it can be used, but not trained on.

    Raises InputError for a folder without such a zip, a damaged one, and weights that do not fit the config.
    """
    with (
        reading(folder / ZIP, "damaged", _REMEDY),
        zipfile.ZipFile(folder / ZIP) as zipped,
        zipped.open("policy.pth") as stream,
    ):
        weights = torch.load(stream, map_location="cpu", weights_only=True)
    with reading(folder / checkpoint.FACTS, "damaged", _REMEDY):
        facts = parse_json((folder / checkpoint.FACTS).read_bytes())
        encoder_run, score = facts["encoder"], float(facts["score"])
    cfg = read(folder / checkpoint.CONFIG)
    encoder = None if encoder_run is None else ParticleEncoder(encoder_run)
    env = environments.make(cfg, 1, encoder)
    env.close()
    new = {
        "version": checkpoint.VERSION,
        "observations": spaces.to_json(env.observation_space),
        "actions": spaces.to_json(env.action_space),
    }
    told = [score, 0.0] if env.tells_success else [0.0, score]
    contents = {
        checkpoint.WEIGHTS: to_bytes(weights),
        checkpoint.FACTS: json.dumps(facts | new | {"score": told}, indent=2).encode(),
        **{file.name: file.read_bytes() for file in folder.iterdir() if file.name in KEPT},
    }
    folders.write(folder, contents)


def _run(args: argparse.Namespace) -> None:
    run = Path(args.run_folder)
    found = [folder for folder in (run, *sorted(run.glob("checkpoints/*"))) if (folder / ZIP).is_file()]
    if not found:
        raise InputError(f"{run}: no {ZIP} in it; this is no agent of an earlier version")
    if not args.trust_zip:
        raise InputError(f"{found[0] / ZIP}: holds a pickle; give --trust-zip where you know who wrote it")
    print("warning: reading a zip of Stable-Baselines3; only its weights are taken", file=sys.stderr)
    for folder in found:
        convert(folder)
        print(f"written: {folder}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m agents.older_checkpoints",
        description="Turn an agent of an earlier version into today's form.",
    )
    parser.add_argument("run_folder", metavar="RUN", help="run folder or checkpoint folder")
    parser.add_argument("--trust-zip", action="store_true", help="open the zip; its pickle is not loaded")
    return run_command(parser, _run, argv)


if __name__ == "__main__":
    sys.exit(main())
