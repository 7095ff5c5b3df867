"""A video of an agent at work: what it sees, its particles drawn in, beside the goal."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from agents.config import AgentConfig
from agents.environments import AgentEnv
from agents.learner import Actor
from dlp_dyn.observation.encoder import ParticleEncoder
from dlp_dyn.particles import ON
from dlp_dyn.plotting.pictures import draw_particles, enlarge, label_grid

SUFFIXES = (".gif", ".webp", ".mp4")
FPS = 12.0
PAUSE = 8  # times that the last picture of an episode is shown


def settings(cfg: AgentConfig) -> dict[str, Any]:
    """Arguments of an environment that can be filmed, whatever the agent sees."""
    return dict(cfg.env.pixel_settings) or {"render_mode": "rgb_array"}


def record(
    actor: Actor, env: AgentEnv, encoder: ParticleEncoder | None, episodes: int, seed: int
) -> UInt8[np.ndarray, "T H W 3"]:
    """Episodes one after another, of the one environment that there is."""
    env.seed(seed)
    observation: Any = env.reset()
    frames = [_picture(env, observation, encoder)]
    while episodes:
        actions, _ = actor.predict(observation, deterministic=True)
        observation, _, dones, _ = env.step(actions)
        if dones[0]:
            episodes -= 1
            frames += [frames[-1]] * PAUSE
        if episodes:
            frames.append(_picture(env, observation, encoder))
    return np.stack(frames)


def _picture(env: AgentEnv, observation: Any, encoder: ParticleEncoder | None) -> UInt8[np.ndarray, "H W 3"]:
    """The observation and, where there is a goal, the goal."""
    panels = {"observation": env.pictures()[0]}
    raw = env.raw[0]
    if isinstance(raw, dict) and "goal_pixels" in raw:
        panels["desired_goal"] = raw["goal_pixels"]
    row = {}
    for key, frame in panels.items():
        if encoder is None:
            row[key] = enlarge(frame)
        else:
            packed = observation[key][0] if isinstance(observation, dict) else observation[0]
            row[key] = draw_particles(frame, *_seen(packed, encoder))
    return label_grid([row])


def _seen(
    packed: Float[np.ndarray, "N D"], encoder: ParticleEncoder
) -> tuple[Float[np.ndarray, "N 2"], Bool[np.ndarray, " N"]]:
    """Positions in image coordinates, and which particles are on."""
    columns = encoder.layout.columns
    own = packed[:, : len(columns)]
    plain = own if encoder.normalizer is None else encoder.normalizer.inverse(own)
    place = [columns.index("x"), columns.index("y")]
    return plain[:, place].astype(np.float32), own[:, columns.index("transparency")] > ON
