"""What latent actions tell of actions that the model never saw, and what they do in another scene.

    python -m benchmarks.hidden_actions runs/latent push.h5 --object -1

The run has latent actions, the file's actions (which the model was trained without) move the object whose number in
`states/position` is --object.

probe: ridge regression from the latent action of the object's particle to the action, fitted on the validation part,
R² on the test part; beside it from the policy's mean, which has not seen what happened, from the latent action of the
next object, and from the particle's motion, which is all that a picture shows.
replay: the latent actions of the object in one test episode move its particle in the next episode; correlation of the
two motions, frame by frame and in all, beside that with the motion which the scene had itself.
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from dlp_dyn.checkpoint import load_video_model
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import Part
from dlp_dyn.dynamics.base import Conditions
from dlp_dyn.dynamics.latent_graph import LatentGraphDynamics
from dlp_dyn.dynamics.rollout import rollout
from dlp_dyn.errors import InputError
from dlp_dyn.particles import Scene
from dlp_dyn.tracking.looks import alike, carried
from dlp_dyn.training.particle_clips import encode_episode
from dlp_dyn.video import VideoModel

_NEAR_PX = 4.0
_RIDGE = 1e-3
STEPS = 10  # that are replayed


@dataclass(frozen=True)
class Told:
    """Of the transitions of a part, a row each: the action, what is known of it, where the particle was tracked."""

    action: Float[np.ndarray, "K A"]
    known: dict[str, Float[np.ndarray, "K D"]]


@torch.no_grad()
def tell(model: VideoModel, rollouts: Rollouts, part: Part, episodes: int, k: int) -> Told:
    """Transitions of an object that its particle was on before and after."""
    dynamics = model.dynamics
    assert isinstance(dynamics, LatentGraphDynamics)
    actions, rows = [], []
    for i in rollouts.part(part)[:episodes]:
        episode = rollouts.episode(int(i))
        assert episode.states is not None
        scene = encode_episode(model, episode.frames).map(lambda x: x[None])
        slots, on = _slots(scene, episode.states["position"], rollouts.image_size[0])
        posterior, policy = dynamics.heads(scene)
        same = (slots[1:] == slots[:-1]) & on[1:] & on[:-1]
        kept, t = same[:, k], torch.arange(len(slots) - 1)
        mine, other = slots[:-1, k], slots[:-1, (k + 1) % slots.shape[1]]
        place = scene.particles.position[0]
        known = {
            "latent action": posterior.mean[0, 1:][t, mine],
            "policy": policy.mean[0, :-1][t, mine],
            "latent action of another": posterior.mean[0, 1:][t, other],
            "motion of the particle": place[1:][t, mine] - place[:-1][t, mine],
        }
        actions.append(np.asarray(episode.actions)[: len(t)][kept])
        rows.append({name: x.numpy()[kept] for name, x in known.items()})
    return Told(np.concatenate(actions), {n: np.concatenate([r[n] for r in rows]) for n in rows[0]})


def _slots(
    scene: Scene, position: Float[np.ndarray, "T O 2"], side: int
) -> tuple[np.ndarray, Bool[np.ndarray, "T O"]]:
    """The particle nearest to each object in each frame, and whether it is on it."""
    p = scene.particles[0]
    distance = torch.cdist(torch.from_numpy(position).float(), p.position).masked_fill(
        ~p.visible[:, None], torch.inf
    )
    nearest = distance.min(-1)
    return nearest.indices.numpy(), (nearest.values * (side - 1) / 2 < _NEAR_PX).numpy()


def r_squared(train: Told, test: Told, name: str) -> Float[np.ndarray, " A"]:
    """Of a ridge regression, for each number of the action."""
    x, y = train.known[name], train.action
    mean, std = x.mean(0), x.std(0) + 1e-6

    def design(x: np.ndarray) -> np.ndarray:
        return np.concatenate([np.ones((len(x), 1)), (x - mean) / std], 1)

    a = design(x)
    weights = np.linalg.solve(a.T @ a + _RIDGE * len(a) * np.eye(a.shape[1]), a.T @ y)
    error = (test.action - design(test.known[name]) @ weights).var(0)
    return 1 - error / test.action.var(0)


@dataclass(frozen=True)
class Replay:
    """Motions of an object, an episode each: where its latent actions come from, what they did, what the scene had."""

    source: Float[np.ndarray, "E U 2"]
    there: Float[np.ndarray, "E U 2"]
    own: Float[np.ndarray, "E U 2"]


@torch.no_grad()
def replay(model: VideoModel, rollouts: Rollouts, episodes: int, k: int, first: int) -> Replay:
    """From frame `first` on; the other particles do as the policy expects."""
    encoded = []
    for i in rollouts.part("test")[: episodes + 1]:
        episode = rollouts.episode(int(i))
        assert episode.states is not None
        position = episode.states["position"][: first + STEPS + 1]
        scene = encode_episode(model, episode.frames[: first + STEPS + 1]).map(lambda x: x[None])
        encoded.append((scene, position))
    motions = []
    for (a, at_a), (b, at_b) in itertools.pairwise(encoded):
        latent = model.dynamics.infer(a)[:, first:]
        pairs = alike(a[:, first:], b[:, : first + 1])
        slots, on = _slots(b, at_b, rollouts.image_size[0])
        mine = slots[first, k]
        if not on[first, k] or pairs[0, mine] < 0:
            continue
        pairs = torch.where(torch.arange(pairs.shape[1]) == int(mine), pairs, -1)
        seen = b[:, : first + 1]
        ahead = torch.cat([model.dynamics.infer(seen), carried(latent, pairs)], 1)
        state = model.dynamics.start(seen, Conditions(), ahead)
        path = rollout(model.dynamics, seen, STEPS, state=state).particles.position[0, first:, mine].numpy()
        motions.append([np.diff(x, axis=0) for x in (at_a[first:, k], path, at_b[first:, k])])
    source, there, own = np.stack(motions, 1)
    return Replay(source, there, own)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def _interval(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """95%, from episodes drawn with replacement."""
    rng = np.random.default_rng(0)
    found = [correlation(a[i], b[i]) for i in rng.integers(len(a), size=(1000, len(a)))]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run")
    parser.add_argument("data")
    parser.add_argument("--object", type=int, default=-1, help="that the actions move (default: the last)")
    parser.add_argument("--episodes", type=int, default=25, help="of each part (default: 25)")
    parser.add_argument("--first", type=int, default=12, help="frame of replays (default: 12)")
    args = parser.parse_args(words)
    model, rollouts = load_video_model(args.run), Rollouts(args.data)
    if not isinstance(model.dynamics, LatentGraphDynamics) or model.cfg.dynamics.action_dim:
        raise InputError(f"{args.run}: give a run with dynamics.kind=latent_graph and dynamics.action_dim=0")
    n_objects = rollouts.states_at(np.arange(1))["position"].shape[1]
    k = args.object % n_objects
    train, test = (tell(model, rollouts, part, args.episodes, k) for part in ("validation", "test"))
    print(f"{len(train.action)} transitions to fit, {len(test.action)} to judge\n")
    print("| probe of the action from | R² |\n|---|---|")
    for name in train.known:
        print(f"| {name} | {', '.join(f'{x:.3f}' for x in r_squared(train, test, name))} |")
    found = replay(model, rollouts, args.episodes, k, args.first)
    print(f"\n{len(found.source)} replays of {STEPS} steps\n")
    print("| motion in the other scene beside | frame by frame | in all |\n|---|---|---|")
    for name, motion in (("the source's", found.source), ("the scene's own", found.own)):
        cells = []
        for a, b in ((found.there, motion), (found.there.sum(1), motion.sum(1))):
            low, high = _interval(a, b)
            cells.append(f"{correlation(a, b):.3f} ({low:.3f} to {high:.3f})")
        print(f"| {name} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
