"""`view`: a local page to move particles about."""

import argparse

from dlp_dyn.commands.arguments import add_device, add_part, add_settings, device, key_values, whole
from dlp_dyn.errors import InputError

EXTRA = ("starlette", "uvicorn")


def arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("run_folder", metavar="RUN", nargs="?", help="(default: Balls, bundled)")
    sub.add_argument(
        "--data",
        help="rollout file, folder of them, GIF or MP4 (default: the run's own clips, or its training data)",
    )
    add_part(sub)
    sub.add_argument(
        "--env", help="a Gymnasium id, or module:Id, that plays the episodes: plans are then really done"
    )
    add_settings(sub)
    sub.add_argument(
        "--host", default="127.0.0.1", help="who may see it; 0.0.0.0 for all (default: 127.0.0.1)"
    )
    sub.add_argument("--port", type=whole, default=8420, help="0 for any that is free (default: 8420)")
    add_device(sub)


def run(args: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C."""
    from dlp_dyn.bundled import BALLS

    try:
        from dlp_dyn.viewer import server
    except ImportError as error:
        if (error.name or "").split(".")[0] not in EXTRA:
            raise
        raise InputError(
            f"view needs {error.name}, which is not installed: pip install 'dlp_dyn[viewer]'"
        ) from None
    with server.listen(args.host, args.port) as waiting:
        studio = server.load_studio(
            args.run_folder or BALLS,
            args.data,
            args.part,
            device(args.device),
            args.env,
            key_values(args.settings),
        )
        print(f"{server.address(waiting, args.host)} shows {studio.title}; Ctrl-C ends it", flush=True)
        server.serve(studio, waiting, args.host)
