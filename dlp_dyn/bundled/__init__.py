"""What comes with the package: trained models, as `save_pretrained` wrote them, and clips that they never saw.

A model's name stands for it wherever a run folder is asked for. Each was made from a run and a file of rollouts:

    VideoModel.from_pretrained("runs/balls_video").save_pretrained("dlp_dyn/bundled/balls", dtype=torch.float16)
    excerpt("balls.h5", "dlp_dyn/bundled/balls/clips.h5", episodes=8, length=60)  # dlp_dyn.data.excerpt

The commands of all of them: benchmarks/results/bundled.md.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Bundled:
    """A model that comes along. title: in a few words; about: what there is to see."""

    folder: Path
    title: str
    about: str


_HERE = Path(__file__).parent
MODELS = {
    "balls": Bundled(_HERE / "balls", "Balls", "three balls that bounce off each other and off the walls"),
    "push": Bundled(
        _HERE / "push", "Push", "a disc pushes three squares: contact, with the actions of the disc"
    ),
    "pusht": Bundled(
        _HERE / "pusht", "PushT", "an agent pushes a T, by gym-pusht: contact, with the actions of the agent"
    ),
}
BALLS, PUSH, PUSHT = (MODELS[name].folder for name in ("balls", "push", "pusht"))
