"""Every patch a particle."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.image.encoder import STANDARD, EncodeOptions, Encoding, SceneEncoder
from dlp_dyn.particles import Draw, mean
from dlp_dyn.tracking.state import State


class Grid:
    """Every patch is a particle, and identity is the patch (LPWM, arXiv 2603.04553).

    Frames do not depend on each other: all are encoded in one batch. Only the `n_particles` most confident ones of a
    frame are looked at closely. With several views of a scene, the rows of a batch run over them first.
    """

    def encode(
        self,
        encoder: SceneEncoder,
        video: Float[Tensor, "B T C H W"],
        draw: Draw = mean,
        options: EncodeOptions = STANDARD,
        state: State = None,
    ) -> tuple[Encoding, State]:
        views = encoder.cfg.encoder.views
        images = rearrange(video, "(b v) t c h w -> (b t v) c h w", v=views)
        return encoder.on_grid(images, draw, options).map(
            lambda x: x.unflatten(0, (-1, video.shape[1], views)).transpose(1, 2).flatten(0, 1)
        ), state
