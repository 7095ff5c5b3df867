"""The particles of whole rollout files, encoded once: what the second stage trains on."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch.utils.data import Dataset

from dlp_dyn import folders
from dlp_dyn.clip import Clip, SceneClip
from dlp_dyn.data.clips import ClipDataset
from dlp_dyn.data.rollouts import Part, Rollouts
from dlp_dyn.errors import InputError
from dlp_dyn.particles import Particles, Scene
from dlp_dyn.tree import cat
from dlp_dyn.video import VideoModel

_FRAMES_AT_ONCE = 128
_FIELDS = ("position", "scale", "depth", "transparency", "features")


class ParticleClips(Dataset[SceneClip]):
    """What `ClipDataset` gives, as particles.

    scene: of all frames of the part, episode after episode.
    """

    def __init__(self, clips: ClipDataset, part: Part, scene: Scene) -> None:
        self.clips, self.scene = clips, scene
        rollouts = clips.rollouts
        episodes = rollouts.part(part)
        self.rows = np.full(rollouts.n_frames, -1)
        begin = 0
        for start, length in zip(
            rollouts.episode_starts[episodes], rollouts.episode_lengths[episodes], strict=True
        ):
            self.rows[start : start + length] = np.arange(begin, begin + length)
            begin += int(length)
        if begin != len(scene.background):
            raise InputError(
                f"{rollouts.path}: {begin} frames, {len(scene.background)} are encoded: encode them again"
            )

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> SceneClip:
        return self.__getitems__([index])[0]

    def whole(self) -> Scene:
        """All clips, of all starts, in one batch."""
        return self.scene[self._rows(self.clips.starts[np.arange(len(self))])]

    def __getitems__(self, indices: Sequence[int]) -> list[SceneClip]:
        starts = self.clips.starts[np.asarray(indices)]
        actions = self.clips.actions(starts) if self.clips.rollouts.has_actions else None
        return [SceneClip(self.scene[self._rows(starts)], actions)]

    def _rows(self, starts: np.ndarray) -> torch.Tensor:
        frames = starts[:, None] + np.arange(self.clips.clip_length) * self.clips.stride
        return torch.from_numpy(self.rows[frames])


def collate(clips: Sequence[SceneClip]) -> SceneClip:
    """The `collate_fn` of a DataLoader over ParticleClips."""
    if len(clips) == 1:
        return clips[0]
    actions = [clip.actions for clip in clips if clip.actions is not None]
    return SceneClip(cat([clip.scene for clip in clips], 0), torch.cat(actions) if actions else None)


def encode_episode(model: VideoModel, frames: np.ndarray) -> Scene:
    """The scenes (T, ...) of an episode's uint8 frames, each particle in its slot, without noise."""
    device = next(model.parameters()).device
    pieces = torch.from_numpy(frames).split(_FRAMES_AT_ONCE)
    return model.follow(Clip(piece[None].to(device)).video for piece in pieces)[0].to("cpu")


def encode_part(
    model: VideoModel,
    rollouts: Rollouts,
    part: Part,
    cache: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Scene:
    """The scenes of all frames of a part, episode after episode.

    cache: a folder that keeps them, under a name made of the weights, the settings and the rollout file.
    """
    file = (
        None if cache is None else cache / f"{rollouts.path.stem}-{part}-{_key(model, rollouts)}.safetensors"
    )
    if file is not None and file.is_file():
        with suppress(safetensors.SafetensorError, KeyError, OSError):  # a damaged one is written again
            stored = safetensors.torch.load_file(file)
            return Scene(Particles(**{name: stored[name] for name in _FIELDS}), stored["background"])
    was_training = model.training
    model.eval()
    scenes = []
    for done, index in enumerate(rollouts.part(part), start=1):
        scenes.append(encode_episode(model, rollouts.episode(int(index)).frames))
        if progress:
            progress(done)
    model.train(was_training)
    scene = cat(scenes, 0)
    if file is not None:
        tensors = {name: getattr(scene.particles, name).contiguous() for name in _FIELDS}
        data = safetensors.torch.save(tensors | {"background": scene.background.contiguous()})
        with suppress(InputError):  # no room: the particles are encoded once more next time
            folders.write_file(file, data)
    return scene


def _key(model: VideoModel, rollouts: Rollouts) -> str:
    """Changes with anything that the encoded particles depend on."""
    digest = hashlib.sha256()
    digest.update(f"{model.cfg.image} {model.cfg.tracking}".encode())
    for file in rollouts.files:
        status = file.stat()
        digest.update(f" {status.st_size} {status.st_mtime_ns}".encode())
    for name, tensor in sorted(model.image.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
