"""`export-data`: rollout files as other tools keep their data."""

import argparse

from dlp_dyn.commands.arguments import add_device, device
from dlp_dyn.commands.writing import refuse_existing


def arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("data", metavar="FILE", help="rollout file, or a folder of them")
    sub.add_argument("out", metavar="OUT", help="folder to write; for worldmodel a file.h5")
    sub.add_argument("--format", choices=("lerobot", "minari", "worldmodel"), required=True)
    sub.add_argument(
        "--run",
        metavar="RUN",
        dest="run_folder",
        help="an image model, whose particles are added to the observation",
    )
    add_device(sub)
    sub.add_argument("--overwrite", action="store_true", help="replace what is there")


def run(args: argparse.Namespace) -> None:
    """Write a rollout file as other tools keep their data."""
    from dlp_dyn.data.export import export_data
    from dlp_dyn.progress import track

    refuse_existing(args)
    particles = view = None
    if args.run_folder is not None:
        from dlp_dyn.checkpoint import view_of
        from dlp_dyn.observation.encoder import load_encoder

        particles = load_encoder(args.run_folder, device=device(args.device)).raw
        view = view_of(args.run_folder)
    with track("export", None, "episodes") as bar:
        export_data(args.data, args.out, args.format, particles=particles, view=view, progress=bar.reach)
    print(args.out)
