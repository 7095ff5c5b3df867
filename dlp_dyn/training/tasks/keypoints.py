"""Training DLPv1 on frames as single images."""

from pathlib import Path

import numpy as np
import torch

from dlp_dyn import metrics
from dlp_dyn.clip import to_images
from dlp_dyn.image.keypoint_vae.model import KeypointVAE
from dlp_dyn.objectives.dlpv1 import cut
from dlp_dyn.particles import ON
from dlp_dyn.plotting import pictures
from dlp_dyn.training.tasks.images import ImageTask

_AT_ONCE = 64  # frames


class KeypointTask(ImageTask):
    """As for other image models; frames that are larger than the model's images are cut to their middle."""

    @torch.no_grad()
    def evaluate(self, model: KeypointVAE) -> dict[str, float]:  # type: ignore[override]
        training, device = model.training, next(model.parameters()).device
        model.eval()
        psnr = []
        for begin in range(0, len(self.held_out.frames), _AT_ONCE):
            frames = to_images(self.held_out.frames[begin : begin + _AT_ONCE], device)
            images = cut(frames, model.cfg.image_size)
            psnr.append(metrics.psnr(images, model.decode(model.encode(images)).image.clamp(0, 1)))
        model.train(training)
        return {"psnr": float(torch.cat(psnr).mean())}

    @torch.no_grad()
    def draw(self, model: KeypointVAE, folder: Path, step: int) -> None:  # type: ignore[override]
        """Images, what is drawn of them, particles (those that are on, of the object model) and proposals."""
        training, device = model.training, next(model.parameters()).device
        model.eval()
        images = cut(to_images(self.sample, device), model.cfg.image_size)
        found = model.encode(images)
        drawn, proposals = model.decode(found).image.clamp(0, 1), model.prior(images)
        model.train(training)
        rows = []
        for i, image in enumerate(images):
            frame = pictures.to_uint8(image)
            position = found.position[i, :-1].cpu().numpy()
            on = found.transparency[i, :, 0].cpu().numpy() > ON
            rows.append(
                {
                    "image": pictures.enlarge(frame),
                    "reconstruction": pictures.enlarge(pictures.to_uint8(drawn[i])),
                    "particles": pictures.draw_particles(frame, position, on),
                    "proposals": pictures.draw_points(frame, proposals[i].cpu().numpy()),
                }
            )
        pictures.write_image(folder / f"step_{step:07d}.png", np.asarray(pictures.label_grid(rows)))
