"""What the verbs of the command line take: names, defaults and help."""

import argparse
from collections.abc import Callable

from dlp_dyn import __version__
from dlp_dyn.commands import (
    augment,
    bench,
    convert,
    data,
    demo,
    evaluate,
    export,
    generate,
    inspect,
    plan,
    predict,
    track,
    train,
    view,
)
from dlp_dyn.commands.arguments import seed, side, whole

PARTS = ("train", "validation", "test")


def parser() -> argparse.ArgumentParser:
    """Of all verbs; what it parses has `run`, the function to call with it."""
    root = argparse.ArgumentParser(prog="dlp-dyn", description="Deep Latent Particles.")
    root.add_argument("--version", action="version", version=f"dlp-dyn {__version__}")
    verbs = root.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, run: Callable[[argparse.Namespace], None], help: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        sub.set_defaults(run=run)
        return sub

    sub = verb(
        "demo",
        demo.demo,
        "watch particles predict: a GIF and a table, with the model that comes with dlp_dyn",
    )
    sub.add_argument(
        "run_folder", metavar="RUN", nargs="?", help="another run, with dynamics (default: Balls, bundled)"
    )
    sub.add_argument(
        "--data",
        help="rollout file or folder of them (default: the run's own clips, or its training data)",
    )
    sub.add_argument("--out", default="predicted.gif", help="X.gif, X.webp or X.mp4 (default: predicted.gif)")
    sub.add_argument("--context", type=whole, default=10, help="frames that are seen (default: 10)")
    sub.add_argument("--horizon", type=whole, default=40, help="frames to predict (default: 40)")
    sub.add_argument("--episodes", type=whole, default=8, help="that are measured (default: 8)")
    sub.add_argument("--part", choices=PARTS, default="test", help="(default: test)")
    sub.add_argument("--device", default="cpu", help="(default: cpu)")

    sub = verb(
        "collect",
        data.collect,
        "play a Gymnasium environment, or draw balls or shapes, into a rollout file",
    )
    sub.add_argument("env_id", metavar="ENV_ID", help='a Gymnasium id, "module:Id", or balls or shapes')
    sub.add_argument(
        "--episodes", help="how many; for balls and shapes also TRAIN,VALIDATION,TEST (default: 100)"
    )
    sub.add_argument("--max-steps", type=whole, default=1000, help="steps an episode at most (default: 1000)")
    sub.add_argument("--frame-skip", type=whole, default=1, help="environment steps an action (default: 1)")
    sub.add_argument(
        "--action-block", type=int, default=1, help="actions a frame, kept side by side (default: 1)"
    )
    sub.add_argument("--policy", default="random", help='"random" or "module:name" (default: random)')
    sub.add_argument("--n-envs", type=whole, default=1, help="processes that play (default: 1)")
    sub.add_argument(
        "--source", choices=("auto", "observation", "render"), default="auto", help="of the pictures"
    )
    sub.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", dest="settings",
        help="arguments of the environment; balls: length, n_balls, radius, speed, turn_every, "
        "mode=interaction|occlusion",
    )  # fmt: skip
    _add_writing(sub, image_size=64)

    sub = verb(
        "import",
        data.import_,
        "turn frame folders, videos, arrays or data sets of other tools into a rollout file",
    )
    sub.add_argument("path", metavar="PATH", help="folder, file, or Minari id")
    sub.add_argument(
        "--episode-length", type=whole, help="cut longer episodes into chunks of this many frames"
    )
    sub.add_argument(
        "--fps", help="frames a second to take from films, or all: each once, at whatever time it comes"
    )
    sub.add_argument(
        "--series", metavar="PATTERN",
        help='of a folder with several: "rgba_*.png", or each for an episode a series; of an array file: its name',
    )  # fmt: skip
    sub.add_argument(
        "--bits", type=whole, choices=(10, 12, 14, 16), help="that the camera of 16-bit pictures has"
    )
    sub.add_argument("--camera", metavar="NAME", help="the one to read of several (default: all, as views)")
    sub.add_argument("--allow-damaged", action="store_true", help="read what is left of damaged films")
    _add_writing(sub, image_size=None)

    sub = verb("export-data", data.export, "write a rollout file as LeRobot, Minari or stable-worldmodel do")
    sub.add_argument("data", metavar="FILE", help="rollout file, or a folder of them")
    sub.add_argument("out", metavar="OUT", help="folder to write; for worldmodel a file.h5")
    sub.add_argument("--format", choices=("lerobot", "minari", "worldmodel"), required=True)
    sub.add_argument(
        "--run",
        metavar="RUN",
        dest="run_folder",
        help="an image model, whose particles are added to the observation",
    )
    sub.add_argument("--device", default="cpu", help="(default: cpu)")
    sub.add_argument("--overwrite", action="store_true", help="replace what is there")

    sub = verb("inspect", inspect.inspect, "say what moves in rollouts, and the settings that follow from it")
    sub.add_argument("data", metavar="FILE", help="rollout file, or a folder of them")
    sub.add_argument("--json", action="store_true", help="JSON on standard output instead of a table")

    sub = verb("train", train.train, "train a model")
    sub.add_argument(
        "config", nargs="*", metavar="CONFIG [KEY=VALUE ...]", help="name or path, then overrides"
    )
    sub.add_argument("--resume", metavar="RUN", help="resume this run, with its own config")
    sub.add_argument("--list", action="store_true", help="list the configs that come with dlp_dyn")
    sub.add_argument(
        "--show", action="store_true", help="print every value of CONFIG with its range and meaning"
    )

    sub = verb("evaluate", evaluate.evaluate, "measure a model on rollouts")
    sub.add_argument(
        "run_folder", metavar="RUN", help="a run folder (its best checkpoint) or a checkpoint folder"
    )
    sub.add_argument("--data", required=True, help="rollout file, or a folder of them")
    sub.add_argument("--part", choices=PARTS, default="test", help="(default: test)")
    sub.add_argument("--episodes", type=whole, help="look at the first ones only")
    sub.add_argument(
        "--lpips", action="store_true", help="perceptual distance too; fetches AlexNet's weights"
    )
    sub.add_argument("--device", default="cpu", help="(default: cpu)")
    sub.add_argument(
        "--context", type=whole, default=10, help="video models: frames that are seen (default: 10)"
    )
    sub.add_argument(
        "--horizon", type=whole, help="video models: frames to predict (default: all that follow)"
    )
    sub.add_argument(
        "--fvd",
        metavar="FILE",
        help="video models: Frechet video distance with this TorchScript network (I3D)",
    )
    sub.add_argument("--plot", metavar="X.png", help="video models: draw error and PSNR per predicted step")
    sub.add_argument(
        "--seed", type=seed, default=0, help="video models: of which episodes swap their actions (default: 0)"
    )
    sub.add_argument("--json", action="store_true", help="JSON on standard output instead of a table")

    sub = verb(
        "predict",
        predict.predict,
        "draw what a video model predicts after the first frames of episodes or a video",
    )
    sub.add_argument("run_folder", metavar="RUN", help="a run folder or a checkpoint folder, with dynamics")
    sub.add_argument("--data", required=True, help="rollout file, a folder of them, or a GIF or MP4")
    sub.add_argument("--out", required=True, help="X.gif, X.webp or X.mp4")
    sub.add_argument("--context", type=whole, default=10, help="frames that are seen (default: 10)")
    sub.add_argument("--horizon", type=whole, default=50, help="frames to predict (default: 50)")
    sub.add_argument(
        "--samples", type=whole, default=0, help="so many random futures instead of the most likely one"
    )
    sub.add_argument("--episodes", type=whole, default=4, help="(default: 4)")
    sub.add_argument("--part", choices=PARTS, default="test", help="(default: test)")
    sub.add_argument("--seed", type=seed, default=0, help="of the random futures (default: 0)")
    sub.add_argument("--goal", metavar="X.png", help="a picture to reach, for models trained with goals")
    sub.add_argument(
        "--text", metavar="X.npy", help="tokens of a text encoder, for models trained with texts"
    )
    sub.add_argument("--replay", metavar="X.mp4", help="a video whose latent actions are replayed here")
    sub.add_argument("--device", default="cpu", help="(default: cpu)")

    sub = verb("track", track.track, "follow particles, and write their boxes and masks for other tools")
    sub.add_argument("run_folder", metavar="RUN", help="a run folder or a checkpoint folder, with dynamics")
    sub.add_argument("--data", required=True, help="rollout file, or a folder of them")
    sub.add_argument(
        "--format",
        choices=("coco", "mot", "rerun"),
        default="coco",
        help="JSON, texts or .rrd (default: coco)",
    )
    sub.add_argument("--out", required=True, help="file to write; of mot a folder")
    sub.add_argument("--part", choices=PARTS, default="test", help="(default: test)")
    sub.add_argument("--episodes", type=whole, help="the first ones only")
    sub.add_argument("--device", default="cpu", help="(default: cpu)")

    sub = verb(
        "augment", augment.augment, "write rollouts with particles hidden, copied, recoloured or swapped"
    )
    sub.add_argument("run_folder", metavar="RUN", help="a run folder or a checkpoint folder, with dynamics")
    sub.add_argument("--data", required=True, help="rollout file, or a folder of them")
    sub.add_argument("--out", required=True, help="rollout file to write")
    sub.add_argument("--overwrite", action="store_true", help="replace the file where it exists")
    sub.add_argument(
        "--edits", default="hide,copy,recolour,swap", help="in turn (default: hide,copy,recolour,swap)"
    )
    sub.add_argument("--part", choices=PARTS, default="train", help="(default: train)")
    sub.add_argument("--episodes", type=whole, help="the first ones only")
    sub.add_argument(
        "--seed", type=seed, default=0, help="of which particles, and which colours (default: 0)"
    )
    sub.add_argument("--device", default="cpu", help="(default: cpu)")

    sub = verb("plan", plan.plan, "play an environment by planning: bring its particles to a goal")
    sub.add_argument("run_folder", metavar="RUN", help="a run folder or a checkpoint folder, with dynamics")
    sub.add_argument("--env", help='a Gymnasium id, or "module:Id", for one episode and its video')
    sub.add_argument("--task", help="or a task: push1, push2, push3, tworoom-far; measured beside baselines")
    sub.add_argument(
        "--data", help="of a task: rollout file whose ways tell how far goals are (default: none)"
    )
    sub.add_argument("--pairs", type=whole, default=100, help="of a task: problems a seed (default: 100)")
    sub.add_argument("--seeds", default="0,1,42", help="of a task's problems (default: 0,1,42)")
    sub.add_argument("--json", action="store_true", help="of a task: JSON with every episode, not a table")
    sub.add_argument(
        "--goal", default="", help='a picture, or places "SLOT:X,Y ..." (default: what the environment shows)'
    )
    sub.add_argument("--out", help="the video of the episode: X.gif, X.webp or X.mp4")
    sub.add_argument("--steps", type=whole, default=100, help="of the environment at most (default: 100)")
    sub.add_argument(
        "--horizon", type=whole, default=5, help="blocks of actions that are planned (default: 5)"
    )
    sub.add_argument("--replan", type=whole, default=1, help="blocks that are done of each plan (default: 1)")
    sub.add_argument("--seed", type=seed, default=0, help="of the episode and the search (default: 0)")
    sub.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="arguments of the environment",
    )

    sub = verb("generate", generate.generate, "draw videos that a generator makes up, or samples")
    sub.add_argument(
        "run_folder",
        metavar="RUN",
        help="the run of a generator (balls_generation) or of a Soft-IntroVAE (soft_intro_2d, ...)",
    )
    sub.add_argument("--out", required=True, help="X.gif, X.webp or X.mp4; samples: X.png")
    sub.add_argument("--n", type=whole, default=4, help="videos or samples (default: 4)")
    sub.add_argument("--frames", type=whole, default=40, help="of each (default: 40)")
    sub.add_argument("--steps", type=whole, help="of diffusion: fewer take less time (default: all)")
    sub.add_argument("--eta", type=float, default=1.0, help="noise in every step, 0 to 1 (default: 1)")
    sub.add_argument("--seed", type=seed, default=0, help="(default: 0)")
    sub.add_argument("--device", default="cpu", help="(default: cpu)")

    sub = verb(
        "view", view.view, "serve a local page: move, resize, hide, recolour particles, and see what happens"
    )
    sub.add_argument("run_folder", metavar="RUN", nargs="?", help="(default: Balls, bundled)")
    sub.add_argument(
        "--data",
        help="rollout file, folder of them, GIF or MP4 (default: the run's own clips, or its training data)",
    )
    sub.add_argument("--part", choices=PARTS, default="test", help="(default: test)")
    sub.add_argument(
        "--host", default="127.0.0.1", help="who may see it; 0.0.0.0 for all (default: 127.0.0.1)"
    )
    sub.add_argument("--port", type=whole, default=8420, help="0 for any that is free (default: 8420)")
    sub.add_argument("--device", default="cpu", help="(default: cpu)")

    sub = verb(
        "export", export.export, "write a model as files that run without dlp_dyn, checked by running them"
    )
    sub.add_argument("run_folder", metavar="RUN", help="a run folder or a checkpoint folder")
    sub.add_argument("--format", choices=("onnx", "torch"), default="onnx", help="(default: onnx)")
    sub.add_argument("--out", required=True, metavar="FOLDER", help="for encoder and step, .onnx or .pt2")

    sub = verb("convert", convert.convert, "turn an official checkpoint into a run folder")
    sub.add_argument("checkpoint", metavar="CKPT", help="official state_dict file")
    sub.add_argument("--hparams", required=True, help="its hparams.json")
    sub.add_argument("--out", required=True, help="run folder to write")

    sub = verb(
        "bench", bench.bench, "measure this machine: our geometry and training step against plain ones"
    )
    sub.add_argument("--quick", action="store_true", help="small sizes, one round: shows that it runs")
    sub.add_argument("--json", action="store_true", help="JSON on standard output instead of a table")
    sub.add_argument("--device", default="cpu", help="(default: cpu)")
    return root


def _add_writing(sub: argparse.ArgumentParser, image_size: int | None) -> None:
    sub.add_argument("--out", required=True, help="rollout file to write")
    sub.add_argument("--overwrite", action="store_true", help="replace the file where it exists")
    size = f"(default: {image_size or 'as found'})"
    sub.add_argument(
        "--image-size", type=side, default=image_size, help=f"side of the frames in pixels {size}"
    )
    sub.add_argument("--crop", metavar="square|LEFT,TOP,RIGHT,BOTTOM", help="cut this out before resizing")
    sub.add_argument("--seed", type=seed, default=0, help="(default: 0)")
