"""`view`: a local page to move particles about."""

import argparse

from dlp_dyn.commands.arguments import device
from dlp_dyn.errors import InputError

EXTRA = ("starlette", "uvicorn")


def view(args: argparse.Namespace) -> None:
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
        studio = server.load_studio(args.run_folder or BALLS, args.data, args.part, device(args.device))
        print(f"{server.address(waiting, args.host)} shows {studio.title}; Ctrl-C ends it", flush=True)
        server.serve(studio, waiting, args.host)
