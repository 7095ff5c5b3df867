"""What an agent sees with, and what its reward is of: fitted once, at the start of training, to what it will meet."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from agents import environments, foreground
from agents.config import AgentConfig, WarmUpConfig
from agents.foreground import Foreground
from agents.rewards import ChamferReward, Things
from agents.warm_up import Players
from dlp_dyn.data.images import image_key
from dlp_dyn.observation.encoder import ParticleEncoder
from dlp_dyn.observation.normalizer import Normalizer
from dlp_dyn.particles import ON

BATCH = 64  # frames that are encoded at a time
N_ENVS = 8
STRIDE = 5  # steps between frames that are looked at


@dataclass(frozen=True)
class Unpacker:
    """Packed, normalised particles -> positions in image coordinates, features, and which of them are on.

    Particles count as objects where `foreground` says so.
    """

    normalizer: Normalizer
    foreground: Foreground | None = None

    def __call__(self, packed: Float[np.ndarray, "*B N D"]) -> Things:
        columns = self.normalizer.layout.columns
        positions, first = [columns.index("x"), columns.index("y")], columns.index("feature_0")
        scale, shift = self.normalizer.std[positions], self.normalizer.mean[positions]
        position = packed[..., positions].astype(np.float64) * scale + shift
        features = packed[..., first : first + self.normalizer.layout.feature_dim]
        things = Things(position, features, packed[..., columns.index("transparency")] > ON)
        return things if self.foreground is None else self.foreground(things)


def encoder_for(cfg: AgentConfig) -> ParticleEncoder | None:
    """The encoder of a config, with a normalizer from a file or fitted to frames of the warm-up policy."""
    if cfg.observation.kind != "particles":
        return None
    run = cfg.observation.encoder
    assert run is not None
    if cfg.observation.normalizer is not None:
        return ParticleEncoder(run, cfg.device, Normalizer.load(cfg.observation.normalizer))
    encoder = ParticleEncoder(run, cfg.device)
    frames = _frames(cfg)
    pieces = np.split(frames, range(BATCH, len(frames), BATCH))
    packed = np.concatenate([encoder.raw(piece) for piece in pieces])
    return ParticleEncoder(run, cfg.device, Normalizer.fit(packed, encoder.layout, encoder.hash))


def chamfer_reward(cfg: AgentConfig, encoder: ParticleEncoder) -> tuple[ChamferReward, Foreground]:
    """The Chamfer reward, with a foreground filter fitted to rollouts of random actions."""
    env = environments.make(cfg, N_ENVS, encoder)
    env.seed(cfg.seed)
    assert encoder.normalizer is not None
    things = Unpacker(encoder.normalizer)
    players = Players(WarmUpConfig(), env, cfg.seed)
    seen = [env.reset()["observation"]]
    cuts: list[list[int]] = [[0] for _ in range(N_ENVS)]
    for step in range(1, cfg.reward.foreground_steps // N_ENVS + 1):
        now, _, dones, _ = env.step(players())
        assert isinstance(now, dict)  # it has goals
        seen.append(now["observation"])
        for i in np.flatnonzero(dones):
            cuts[i].append(step)
    env.close()
    packed = np.stack(seen, 1)
    episodes = [
        things(packed[i, begin:end])
        for i in range(N_ENVS)
        for begin, end in zip(cuts[i], [*cuts[i][1:], len(seen)], strict=True)
        if end - begin > 1
    ]
    found = foreground.fit(cfg.reward.foreground, episodes, cfg.seed)
    return ChamferReward(cfg.reward.chamfer, Unpacker(encoder.normalizer, found)), found


def _frames(cfg: AgentConfig) -> UInt8[np.ndarray, "M H W 3"]:
    """Pictures of the warm-up policy's play, one in a few steps, and of the goals."""
    env = environments.make(cfg, N_ENVS)
    env.seed(cfg.seed + 1)
    env.reset()
    players = Players(cfg.warm_up, env, cfg.seed + 1)
    whole = image_key(env.envs[0].observation_space) == ()
    frames: list[np.ndarray] = []
    while len(frames) < cfg.observation.normalizer_frames:
        for _ in range(STRIDE):
            _, _, dones, _ = env.step(players())
            players.begin(dones)
        for raw in env.raw:
            frames += [raw] if whole else [raw[key] for key in cfg.observation.images.values()]
    env.close()
    return np.stack(frames[: cfg.observation.normalizer_frames])
