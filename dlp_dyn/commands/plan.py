"""`plan`: an episode of an environment, planned toward a goal; or the protocol of a task."""

import argparse
import json

from dlp_dyn.commands.arguments import add_settings, key_values, many, seed, whole
from dlp_dyn.errors import InputError


def arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("run_folder", metavar="RUN", help="a run folder or a checkpoint folder, with dynamics")
    sub.add_argument("--env", help='a Gymnasium id, or "module:Id", for one episode and its video')
    sub.add_argument(
        "--task",
        help="or a task, measured beside baselines: push1, push2, push3, tworoom, tworoom-door, tworoom-far, pusht, "
        "pusht-block, pusht-place",
    )
    sub.add_argument(
        "--data", help="rollout file whose ways tell how far the scene of a goal picture is (default: none)"
    )
    sub.add_argument("--pairs", type=whole, default=100, help="of a task: problems a seed (default: 100)")
    sub.add_argument("--seeds", default="0,1,42", help="of a task's problems (default: 0,1,42)")
    sub.add_argument(
        "--simulator",
        action="store_true",
        help="of a task: beside them, the same search in the true simulator",
    )
    sub.add_argument("--json", action="store_true", help="of a task: JSON with every episode, not a table")
    sub.add_argument(
        "--goal", default="", help='a picture, or places "SLOT:X,Y ..." (default: what the environment shows)'
    )
    sub.add_argument("--out", help="the video of the episode: X.gif, X.webp or X.mp4")
    sub.add_argument("--steps", type=whole, default=100, help="of the environment at most (default: 100)")
    sub.add_argument(
        "--horizon", type=many, default=5, help="blocks of actions that are planned (default: 5)"
    )
    sub.add_argument("--replan", type=whole, default=1, help="blocks that are done of each plan (default: 1)")
    sub.add_argument("--samples", type=many, default=300, help="candidates an iteration (default: 300)")
    sub.add_argument("--iterations", type=whole, default=10, help="of the search (default: 10)")
    sub.add_argument("--seed", type=seed, default=0, help="of the episode and the search (default: 0)")
    sub.add_argument(
        "--approach", action="store_true", help="of an episode: what acts is drawn behind what it shall move"
    )
    sub.add_argument(
        "--looks",
        type=float,
        default=0.02,
        help="of an episode: what other looks than the goal's cost; 0 where things may turn (default: 0.02)",
    )
    add_settings(sub)


def run(args: argparse.Namespace) -> None:
    """Plan, write the video, and say how it went."""
    if (args.env is None) == (args.task is None):
        raise InputError("plan: give --env ID for one episode, or --task T for the problems of a task")
    if args.task is not None:
        _evaluate(args)
        return
    if args.out is None:
        raise InputError("plan: --env writes a video: say where with --out X.gif")
    from dlp_dyn.planning.play import play

    played = play(
        args.run_folder, args.env, args.out, args.goal, args.steps, args.horizon, args.replan, args.seed,
        key_values(args.settings), samples=args.samples, iterations=args.iterations,
        approach=args.approach, looks=args.looks, data=args.data,
    )  # fmt: skip
    for target in played.targets:
        expected = "" if target.expected is None else f", {target.expected:.3f} were expected"
        print(
            f"particle {target.slot}: {target.now:.3f} of an image side from its goal{expected}; "
            f"the plan ends at {target.at_end:.3f}"
        )
    told = {True: "success", False: "no success", None: "the environment tells no success"}[played.success]
    print(f"{played.steps} steps: {told}")
    print(args.out)


def _evaluate(args: argparse.Namespace) -> None:
    from dlp_dyn.planning.evaluate_run import evaluate_run
    from dlp_dyn.progress import track

    try:
        seeds = [int(seed) for seed in args.seeds.split(",")]
    except ValueError:
        raise InputError(f"--seeds {args.seeds}: whole numbers with commas between, as in 0,1,42") from None
    with track("plan", None, "problems") as bar:
        report = evaluate_run(
            args.run_folder,
            args.task,
            args.pairs,
            seeds,
            args.horizon,
            args.replan,
            args.samples,
            args.iterations,
            data=args.data,
            simulator=args.simulator,
            progress=bar,
            settings=key_values(args.settings),
        )
    print(json.dumps(report.to_json()) if args.json else report.table())
