"""The verbs of the command line. A module a verb: `arguments` says what it takes, `run` does it."""

import argparse

from dlp_dyn import __version__
from dlp_dyn.commands import (
    augment,
    bench,
    collect,
    convert,
    demo,
    evaluate,
    export,
    export_data,
    generate,
    import_data,
    inspect,
    plan,
    predict,
    track,
    train,
    view,
)

VERBS = {
    "demo": (demo, "watch particles predict: a GIF and a table, with the model that comes with dlp_dyn"),
    "collect": (collect, "play a Gymnasium environment, or draw balls or shapes, into a rollout file"),
    "import": (
        import_data,
        "turn frame folders, videos, arrays or data sets of other tools into a rollout file",
    ),
    "export-data": (export_data, "write a rollout file as LeRobot, Minari or stable-worldmodel do"),
    "inspect": (inspect, "say what moves in rollouts, and the settings that follow from it"),
    "train": (train, "train a model"),
    "evaluate": (evaluate, "measure a model on rollouts"),
    "predict": (predict, "draw what a video model predicts after the first frames of episodes or a video"),
    "track": (track, "follow particles, and write their boxes and masks for other tools"),
    "augment": (augment, "write rollouts with particles hidden, copied, recoloured or swapped"),
    "plan": (plan, "play an environment by planning: bring its particles to a goal"),
    "generate": (generate, "draw videos that a generator makes up, or samples"),
    "view": (view, "serve a local page: move, resize, hide, recolour particles, and see what happens"),
    "export": (export, "write a model as files that run without dlp_dyn, checked by running them"),
    "convert": (convert, "turn an official checkpoint into a run folder"),
    "bench": (bench, "measure this machine: our geometry and training step against plain ones"),
}


def parser() -> argparse.ArgumentParser:
    """Of all verbs; what it parses has `run`, the function to call with it."""
    root = argparse.ArgumentParser(prog="dlp-dyn", description="Deep Latent Particles.")
    root.add_argument("--version", action="version", version=f"dlp-dyn {__version__}")
    verbs = root.add_subparsers(metavar="VERB", required=True)
    for name, (verb, help) in VERBS.items():
        sub = verbs.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        verb.arguments(sub)
        sub.set_defaults(run=verb.run)
    return root
