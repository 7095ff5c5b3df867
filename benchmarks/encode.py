"""Encoding frames for a step of 1, 16 or 64 environments: means of the lean model's particles, nothing else, against
whole models of the published sizes on plain geometry. Milliseconds are those of one frame."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from benchmarks.count import count
from benchmarks.measure import Cost, Row, Timing, compare
from benchmarks.plain import plain_geometry, plain_model
from benchmarks.table import main
from dlp_dyn import checkpoint, config
from dlp_dyn.image.model import DLP
from dlp_dyn.observation.encoder import ParticleEncoder
from dlp_dyn.particles import ParticleLayout

QUESTION = "encode a frame of 64 x 64 to particles"
LEAN, PUBLISHED = "balls", ("shapes_dlpv2", "shapes_dlpv3")
BATCHES = (1, 16, 64)

Encode = Callable[[UInt8[np.ndarray, "B H W 3"]], Float[np.ndarray, "B N D"]]


def run(device: torch.device, quick: bool) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        ours = _particle_encoder(Path(folder), device)
    plain = {name: _whole_model(name, device) for name in (PUBLISHED[:1] if quick else PUBLISHED)}
    return [
        _row(device, quick, n, ours, name, encode)
        for name, encode in plain.items()
        for n in (BATCHES[:1] if quick else BATCHES)
    ]


def _row(device: torch.device, quick: bool, n: int, ours: Encode, name: str, plain: Encode) -> Row:
    frames = np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3), np.uint8)
    work = [count(lambda f=f: f(frames)) for f in (ours, plain)]  # before ours is traced
    for _ in range(2 if quick else 25):
        ours(frames)  # shapes are traced when they have come often, as they do in a training
    times = compare(lambda: ours(frames), lambda: plain(frames), device, 1 if quick else 9)
    each = [
        Cost(Timing(t.median / n, t.low / n, t.high / n), 0, flops=w.flops // n, moved=w.moved // n)
        for t, w in zip(times, work, strict=True)
    ]
    return Row("encode", f"batch {n}, {LEAN} against {name}", each[0], each[1])


def _particle_encoder(folder: Path, device: torch.device) -> ParticleEncoder:
    """With random weights: what they are makes no difference to the time."""
    cfg = config.load(LEAN, ["data.path=none"])
    torch.manual_seed(0)
    checkpoint.save(folder / "run", DLP(cfg.model).state_dict(), config.to_yaml(cfg))
    return ParticleEncoder(folder / "run", device)


def _whole_model(name: str, device: torch.device) -> Encode:
    cfg = config.load(name, ["data.path=none"]).model
    torch.manual_seed(0)
    model = plain_model(cfg).to(device).eval()
    layout = ParticleLayout(cfg.feature_dim)

    @torch.inference_mode()
    def encode(frames: UInt8[np.ndarray, "B H W 3"]) -> Float[np.ndarray, "B N D"]:
        images = torch.from_numpy(frames).to(device).movedim(-1, -3).float().div_(255)
        with plain_geometry():
            return layout.pack(model.encode(images.contiguous()).mean.particles).cpu().numpy()

    return encode


if __name__ == "__main__":
    main(QUESTION, run)
