"""`plan`: an episode of an environment, planned toward a goal; or the protocol of a task."""

import argparse
import json

from dlp_dyn.commands.arguments import key_values
from dlp_dyn.errors import InputError


def plan(args: argparse.Namespace) -> None:
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
        key_values(args.settings),
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
            data=args.data,
            progress=bar,
        )
    print(json.dumps(report.to_json()) if args.json else report.table())
