"""Frames a second and memory of prediction, drawing included, against the number of clips and of particles.

Milliseconds are those of one predicted and drawn frame of one clip. Memory is the peak of a process of its own.
"""

import multiprocessing
from dataclasses import dataclass, replace

import torch

from benchmarks.measure import Cost, Row, Timing, held_bytes, timing
from benchmarks.rollout import CONTEXT, LEAN, OFFICIAL, now, sized
from benchmarks.table import main
from dlp_dyn import config
from dlp_dyn.dynamics.rollout import rollout
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.particles import Particles, Scene
from dlp_dyn.tracking.config import TrackingConfig
from dlp_dyn.video import VideoConfig, VideoModel

QUESTION = "predict and draw: clips and particles"
BATCHES, PARTICLES = (1, 4, 16), (6, 12, 24)
GRID, DRAWN, NEIGHBOURS = 64, 6, 8  # a particle a patch, of which so many are drawn and so many send messages
HORIZON, ROUNDS = 20, 3


@dataclass(frozen=True)
class Case:
    """neighbours: of the graph network, 0 for all. With more particles than `drawn`, they are a grid."""

    config: str
    batch: int
    particles: int
    drawn: int
    neighbours: int = 0

    @property
    def label(self) -> str:
        grid = f" of a grid, {self.neighbours or 'all'} neighbours" if self.particles > self.drawn else ""
        return f"{self.config}, {self.batch} clips x {self.particles} particles{grid}"


def cases(quick: bool) -> list[Case]:
    if quick:
        return [Case(LEAN, 1, 6, 6)]
    found = [Case(name, b, n, n) for name in (OFFICIAL, LEAN) for n in PARTICLES for b in BATCHES]
    return found + [Case(LEAN, b, GRID, DRAWN, k) for k in (0, NEIGHBOURS) for b in BATCHES]


def run(device: torch.device, quick: bool) -> list[Row]:
    # Every process is forked from one that has imported everything and computed nothing: it starts at once, at rest.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["benchmarks.rollout"])
    rows = []
    for case in cases(quick):
        with processes.Pool(1) as pool:
            cost = pool.apply(_cost, (case, str(device), torch.get_num_threads(), 2 if quick else HORIZON))
        rate = f"{1 / cost.time.median:.0f} frames a second"
        rows.append(Row("predict and draw", f"{case.label}: {rate}", cost, None))
    return rows


@torch.no_grad()
def _cost(case: Case, device_name: str, threads: int, horizon: int) -> Cost:
    torch.set_num_threads(threads)
    device = torch.device(device_name)
    model = _model(case).to(device).eval()
    context = _context(case, model.cfg.image).to(device)
    base, _ = held_bytes(device)
    taken = []
    for _ in range(ROUNDS + 1):
        start = now(context.background)
        scene = rollout(model.dynamics, context, horizon)
        model.images(sized(model, scene[:, CONTEXT:]))
        taken.append((now(context.background) - start) / (horizon * case.batch))
    each: Timing = timing(taken[1:])
    return Cost(each, saved=0, peak=held_bytes(device)[1], base=base)


def _model(case: Case) -> VideoModel:
    cfg = config.load(case.config, ["data.path=none"])
    image = config.load("balls", ["data.path=none"]).model if cfg.stage == "dynamics" else cfg.model
    n_proposals = image.n_proposals and max(image.n_proposals, case.drawn)  # 0 is all of them
    image = replace(image, n_particles=case.drawn, n_proposals=n_proposals)
    tracking = TrackingConfig("grid") if case.particles > case.drawn else cfg.tracking
    graph = replace(cfg.dynamics.graph, neighbours=case.neighbours)
    torch.manual_seed(0)
    return VideoModel(VideoConfig(image, tracking, replace(cfg.dynamics, graph=graph)))


def _context(case: Case, cfg: DLPConfig) -> Scene:
    torch.manual_seed(0)
    shape = case.batch, CONTEXT, case.particles
    particles = Particles(
        2 * torch.rand(*shape, 2) - 1, torch.zeros(*shape, 2), torch.zeros(*shape, 1), torch.rand(*shape, 1),
        torch.randn(*shape, cfg.feature_dim),
    )  # fmt: skip
    return Scene(particles, torch.randn(case.batch, CONTEXT, cfg.background_dim))


if __name__ == "__main__":
    main(QUESTION, run)
