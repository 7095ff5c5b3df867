"""The arithmetic of docs/scaling.md: parameters counted, everything else computed from the assumptions below.

python -m benchmarks.scaling
"""

import math
from dataclasses import dataclass, replace

from benchmarks.gpu import OBJ3D128
from dlp_dyn import config
from dlp_dyn.data.writer import CHUNK_BYTES
from dlp_dyn.image.model import DLP
from dlp_dyn.video import VideoConfig, VideoModel

# Assumptions, of an H100 with NVLink and one 400 Gb/s network card each. None was measured here.
FLOPS, BANDWIDTH = 200e12, 2.5e12  # reached of 495e12 a second (TF32) and of 3.35e12 bytes a second
LAUNCH = 8e-6  # seconds a kernel that a step launches one by one
INSIDE, BETWEEN = 300e9, 40e9  # bytes a second that an all-reduce moves, inside a node of 8 and between nodes
LATENCY = {8: 30e-6, 64: 100e-6}  # seconds a bucket of gradients takes at least
BUCKET = 25e6  # bytes, DistributedDataParallel's own
OVERLAP = 2 / 3  # of a step is the backward pass, behind which an all-reduce can hide
EPISODE = 100  # frames of an episode


@dataclass(frozen=True)
class Load:
    """A training step on one GPU. work: floating-point operations. moved: bytes to and from memory, 0 where not known.
    launches: 0 where one graph holds the step.
    """

    name: str
    parameters: int
    work: float
    moved: float
    launches: int
    frames: int
    side: int

    @property
    def step(self) -> float:
        """Seconds: what takes longest, computing, moving or launching."""
        return max(self.work / FLOPS, self.moved / BANDWIDTH, self.launches * LAUNCH)


def loads() -> list[Load]:
    """obj3d128: specification of DDLP, section 12.1, 4 clips of 11 frames. LPWM: of LPWM, 7.4 and 8, 8 clips of 21."""
    obj3d = parameters("balls_ddlp", *OBJ3D128)
    eager = Load("obj3d128, eager", obj3d, 702e9, 34.8e9, 5_900, 44, 128)
    return [
        eager,
        replace(eager, name="obj3d128, one graph", launches=0),
        replace(eager, name="obj3d128 with VGG, one graph", work=2_025e9, launches=0),
        Load("LPWM obj3d128, one graph", 109_500_000, 8 * 2_425e9, 0, 0, 8 * 21, 128),
    ]


def parameters(name: str, *changes: str) -> int:
    cfg = config.load(name, ["data.path=unused", *changes])
    video = cfg.dynamics.kind != "none"
    model = VideoModel(VideoConfig(cfg.model, cfg.tracking, cfg.dynamics)) if video else DLP(cfg.model)
    return sum(p.numel() for p in model.parameters())


def reduce_seconds(parameters: int, n: int) -> float:
    """A ring over all GPUs: 2 (n - 1) / n of the gradients pass each link; the slowest link counts."""
    sent = 2 * (n - 1) / n * 4 * parameters
    buckets = math.ceil(4 * parameters / BUCKET)
    return sent / (INSIDE if n <= 8 else BETWEEN) + buckets * LATENCY[n]


def efficiency(load: Load, n: int, hidden: bool) -> float:
    """Of n GPUs, each with the work of one: without hiding anything, or with all that fits behind backward."""
    reducing = reduce_seconds(load.parameters, n)
    exposed = max(reducing - OVERLAP * load.step, LATENCY[n]) if hidden else reducing
    return load.step / (load.step + exposed)


def main() -> None:
    print("| config | parameters | weights, gradients, Adam, buckets (20 P) | checkpoint (12 P) |")
    print("|---|---|---|---|")
    for name in ("balls", "shapes_dlpv2", "shapes_dlpv3", "balls_joint", "balls_ddlp"):
        _print_model(name, parameters(name))
    _print_model("obj3d128 sizes", parameters("balls_ddlp", *OBJ3D128))
    _print_model("LPWM obj3d128 (published)", 109_500_000)
    print(
        "\n| step | ms on one | all-reduce ms, 8 / 64 | efficiency at 8 | at 64 | frames/s at 64 | read GB/s at 64 |"
    )
    print("|---|---|---|---|---|---|---|")
    for load in loads():
        reducing = " / ".join(f"{1e3 * reduce_seconds(load.parameters, n):.2f}" for n in (8, 64))
        shares = [f"{efficiency(load, n, False):.1%} to {efficiency(load, n, True):.1%}" for n in (8, 64)]
        rate = 64 * load.frames / load.step * efficiency(load, 64, True)
        read = rate * 3 * load.side**2 / 1e9
        print(
            f"| {load.name} | {1e3 * load.step:.1f} | {reducing} | {' | '.join(shares)} | {rate:,.0f} | {read:.1f} |"
        )
    print("\n| store | frames, 64 x 64 | 128 x 128 | index a process, 64 x 64 | 128 x 128 |")
    print("|---|---|---|---|---|")
    for tera in (0.1, 1, 10):
        stored = [(tera * 1e12 / (3 * side**2), side) for side in (64, 128)]
        frames = [f"{n / 1e6:.0f} M" for n, _ in stored]
        index = [f"{index_bytes(n, side) / 1e6:.1f} MB" for n, side in stored]
        print(f"| {tera:g} TB | {' | '.join(frames + index)} |")


def index_bytes(frames: float, side: int) -> float:
    """8 bytes a chunk: where it lies. 33 an episode: its bounds (8), length (8) and part (1), and its clips (16)."""
    chunk = CHUNK_BYTES // (3 * side**2)
    return 8 * frames / chunk + 33 * frames / EPISODE


def _print_model(name: str, n: int) -> None:
    print(f"| {name} | {n:,} | {20 * n / 1e6:,.0f} MB | {12 * n / 1e6:,.0f} MB |")


if __name__ == "__main__":
    main()
