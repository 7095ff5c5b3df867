"""An agent as one file that runs without this package: ONNX, or a program of torch.export.

python -m agents.export RUN --out agent.onnx

In: what the agent is shown, by name; for agents that see particles the pictures themselves, uint8 (B, H, W, 3), since
their encoder goes with it. Out: `action`, as the environment takes it. The batch may have any size.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from jaxtyping import Float
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn

from agents import checkpoint
from agents.checkpoint import Checkpoint
from agents.command import run_command
from agents.extractor import entities
from agents.offline.policies import DataPolicy
from dlp_dyn.errors import InputError
from dlp_dyn.exporting.programs import SUFFIXES, Format, Program, write
from dlp_dyn.observation.encoder import ParticleEncoder, mean_particles

FORMATS: dict[str, Format] = {suffix: format for format, suffix in SUFFIXES.items()}
KEY = "observation"  # of an observation that is no Dict


class Eyes(nn.Module):
    """Pictures -> packed, normalised particles, as `ParticleEncoder` gives them."""

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: ParticleEncoder) -> None:
        super().__init__()
        normalizer = encoder.normalizer
        assert normalizer is not None
        self.encoder, self.clip = encoder.encoder, normalizer.clip
        self.register_buffer("mean", torch.from_numpy(normalizer.mean))
        self.register_buffer("std", torch.from_numpy(normalizer.std))

    def forward(self, frames: Tensor) -> Float[Tensor, "B N D"]:
        images = frames.movedim(-1, -3).float() / 255
        packed = torch.cat([*mean_particles(self.encoder, images)], -1)
        return ((packed - self.mean) / self.std).clamp(-self.clip, self.clip)


class Deployed(nn.Module):
    """Observations in the order of `keys` -> the action without exploration, in the range of `actions`."""

    low: Tensor
    high: Tensor

    def __init__(self, policy: nn.Module, keys: Sequence[str], actions: gym.Space, eyes: Eyes | None) -> None:
        super().__init__()
        self.policy, self.keys, self.eyes = policy, tuple(keys), eyes
        self.actions = actions
        if isinstance(actions, gym.spaces.Box):
            self.register_buffer("low", torch.from_numpy(actions.low))
            self.register_buffer("high", torch.from_numpy(actions.high))

    def forward(self, *observation: Tensor) -> Tensor:
        seen = observation if self.eyes is None else [self.eyes(frames) for frames in observation]
        given: Any = dict(zip(self.keys, seen, strict=True)) if self.keys != ("",) else seen[0]
        policy = self.policy
        if isinstance(policy, ActorCriticPolicy):
            return self._in_range(self._of_ppo(policy, given))
        if isinstance(policy, DataPolicy):
            chosen = policy.act(*entities(given))
        elif isinstance(policy, SACPolicy):
            chosen = policy.actor.get_action_dist_params(given)[0].tanh()
        else:
            assert isinstance(policy, TD3Policy)
            chosen = policy.actor(given)
        low, high = self.low, self.high
        return low + (chosen.reshape(-1, *low.shape) + 1) * (high - low) / 2

    def _of_ppo(self, policy: ActorCriticPolicy, given: Any) -> Tensor:
        """What its network gives: SB3's own way there checks values, which an exported program cannot."""
        features = policy.extract_features(given, policy.pi_features_extractor)
        assert isinstance(features, Tensor)
        return policy.action_net(policy.mlp_extractor.forward_actor(features))

    def _in_range(self, given: Tensor) -> Tensor:
        """The most likely action: the mean, or the largest logits."""
        space = self.actions
        if isinstance(space, gym.spaces.Box):
            return given.reshape(-1, *space.shape).clamp(self.low, self.high)
        if isinstance(space, gym.spaces.MultiDiscrete):
            return torch.stack([part.argmax(-1) for part in given.split(space.nvec.tolist(), -1)], -1)
        return (given > 0).long() if isinstance(space, gym.spaces.MultiBinary) else given.argmax(-1)


def deploy(
    found: Checkpoint, encoder: ParticleEncoder | None
) -> tuple[Deployed, tuple[Tensor, ...], tuple[str, ...]]:
    """An agent to be exported, an example of what it is shown, and the names of its inputs.

    Raises InputError for agents that remember earlier steps.
    """
    observation = found.cfg.observation
    if observation.track or observation.stack > 1:
        raise InputError(
            f"{found.folder}: the agent remembers earlier steps (observation.track, stack), which a file cannot: "
            "train one without"
        )
    space, actions = found.spaces
    boxes = space.spaces if isinstance(space, gym.spaces.Dict) else {"": space}
    eyes = None if encoder is None else Eyes(encoder)
    model = Deployed(checkpoint.load(found), list(boxes), actions, eyes).eval()
    example = []
    for box in boxes.values():
        one = torch.as_tensor(box.sample())
        one = one.expand(2, *one.shape)
        if encoder is not None:
            one = torch.zeros(2, encoder.image_size, encoder.image_size, 3, dtype=torch.uint8)
        example.append(one.clone())
    return model, tuple(example), tuple(key or KEY for key in boxes)


def export(found: Checkpoint, encoder: ParticleEncoder | None, out: Path) -> None:
    """Write the agent as ONNX (.onnx) or as a program of torch.export (.pt2), by the suffix of `out`.

    It is run beside the agent before it is written. Raises InputError for another suffix, an agent that cannot be
    exported, and where onnx is not installed.
    """
    if out.suffix not in FORMATS:
        raise InputError(f"{out}: cannot write that; use one of {', '.join(FORMATS)}")
    model, example, names = deploy(found, encoder)
    write(Program("agent", model, example, names, ("action",)), out, FORMATS[out.suffix])


def _run(args: argparse.Namespace) -> None:
    found = checkpoint.find(args.run_folder, args.checkpoint)
    export(found, found.load_encoder(args.encoder), Path(args.out))
    print(f"written: {args.out}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m agents.export", description="Write an agent as a file that runs without this package."
    )
    parser.add_argument(
        "run_folder", metavar="RUN", help="run folder (its best checkpoint) or checkpoint folder"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="X.onnx, or X.pt2 for torch.export")
    parser.add_argument("--encoder", metavar="RUN", help="where the encoder lies now, if it was moved")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="(default: best)")
    return run_command(parser, _run, argv)


if __name__ == "__main__":
    sys.exit(main())
