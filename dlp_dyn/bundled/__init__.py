"""What comes with the package: a trained model of Balls, as `save_pretrained` wrote it, and clips that it never saw.

`balls/` was made from the run and the file of the README's "Predict":

    VideoModel.from_pretrained("runs/balls_video").save_pretrained("dlp_dyn/bundled/balls", dtype=torch.float16)
    excerpt("balls.h5", "dlp_dyn/bundled/balls/clips.h5", episodes=8, length=60)  # dlp_dyn.data.excerpt
"""

from pathlib import Path

BALLS = Path(__file__).parent / "balls"
