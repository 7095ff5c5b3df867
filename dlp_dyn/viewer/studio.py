"""What all sessions share and none can change: the model, the episodes, and the particles found in them so far."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from dlp_dyn.dynamics.base import Conditions
from dlp_dyn.dynamics.rollout import unroll
from dlp_dyn.errors import InputError
from dlp_dyn.image.model import DLP
from dlp_dyn.particles import Scene
from dlp_dyn.planning.actions import ActionSpace
from dlp_dyn.tracking.state import State
from dlp_dyn.tree import cat
from dlp_dyn.video import VideoModel
from dlp_dyn.viewer.planning import plan
from dlp_dyn.viewer.source import Source

_AHEAD = 16  # frames that are tracked at once
_KEPT_TRACKS = 16
_DRAWN_AT_ONCE = 64
MAX_HORIZON = 400


@dataclass
class _Track:
    """An episode: its frames, and the particles of those that were asked for, from the first one on."""

    frames: UInt8[np.ndarray, "T H W 3"]
    scene: Scene | None = None
    state: State = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Studio:
    """Tracks, draws and predicts. Safe to use from several threads; the scenes that it gives are never changed.

    title: says what model this is.
    """

    def __init__(self, model: VideoModel | DLP, source: Source, title: str) -> None:
        self.source, self.title = source, title
        self._model = model
        self._device = next(model.parameters()).device
        self._tracks: OrderedDict[int, _Track] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def side(self) -> int:
        """Of the images, in pixels."""
        return (self._model.cfg if isinstance(self._model, DLP) else self._model.cfg.image).image_size

    @property
    def can_predict(self) -> bool:
        return isinstance(self._model, VideoModel)

    @property
    def has_room_for_more(self) -> bool:
        """Whether the model takes any number of particles."""
        return isinstance(self._model, DLP) or self._model.dynamics.any_number

    def frame(self, episode: int, time: int) -> UInt8[np.ndarray, "H W 3"]:
        return self._track(episode).frames[time]

    @torch.no_grad()
    def history(self, episode: int, time: int) -> Scene:
        """The particles of the frames that dynamics look back on, over (T, ...), the last one being that at `time`.

        Of a model of single images, that frame alone.
        """
        track = self._track(episode)
        if isinstance(self._model, DLP):
            return self._model.encode(self._video(track.frames[time : time + 1])[0]).mean
        with track.lock:
            while track.scene is None or len(track.scene.background) <= time:
                self._look_on(self._model, track)
            return track.scene[max(time + 1 - self._model.dynamics.window, 0) : time + 1]

    @torch.no_grad()
    def pictures(self, scenes: Scene) -> UInt8[np.ndarray, "T H W 3"]:
        """Scenes over (T, ...), drawn."""
        pieces = [
            self._model.decode(scenes[i : i + _DRAWN_AT_ONCE]).image
            for i in range(0, len(scenes.background), _DRAWN_AT_ONCE)
        ]
        image = torch.cat(pieces).clamp(0, 1).mul(255).round().to(torch.uint8)
        return image.movedim(1, -1).contiguous().cpu().numpy()

    def longest_horizon(self, episode: int, time: int) -> int:
        """How many frames can be predicted after the one at `time`: as many as actions are known for, where needed.

        Raises InputError for a model without dynamics.
        """
        if isinstance(self._model, DLP):
            raise InputError(
                "this is a model of single images, it knows no motion: train dynamics on it with "
                "dlp-dyn train balls_video image=RUN data.path=F, and view that run"
            )
        if not self._model.cfg.dynamics.action_dim:
            return MAX_HORIZON
        return min(self.source.lengths[episode] - 1 - time, MAX_HORIZON)

    def future(
        self,
        history: Scene,
        episode: int,
        time: int,
        horizon: int,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Scene:
        """The most likely scenes after a history that ends at `time`, over (horizon, ...).

        wanted: asked now and then. Raises InputError for a horizon that is too long, for a model without dynamics, and
        where the scenes are wanted no more.
        """
        longest = self.longest_horizon(episode, time)
        assert isinstance(self._model, VideoModel)
        if longest < 1:
            raise InputError(
                f"no actions are recorded after frame {time}: choose an earlier frame to predict from"
            )
        if not 1 <= horizon <= longest:
            raise InputError(f"horizon {horizon}: give 1 to {longest} frames")
        n = len(history.background)
        actions = self._actions(episode, time + 1 - n) if self._model.cfg.dynamics.action_dim else None
        context, future = history.map(lambda x: x[None]), []
        with torch.inference_mode():
            for step in unroll(self._model.dynamics, context, horizon, Conditions(actions)):
                if not wanted():
                    raise InputError("these futures are wanted no more")
                future.append(step.drawn)
        return cat(future, 0)

    @property
    def space(self) -> ActionSpace | None:
        """What a plan may do; None for models that nobody can plan with."""
        acts = isinstance(self._model, VideoModel) and self._model.cfg.dynamics.action_dim
        return self.source.space() if acts else None

    def plan(
        self, history: Scene, episode: int, time: int, places: Mapping[int, tuple[float, float]], horizon: int
    ) -> tuple[Scene, UInt8[np.ndarray, "U H W 3"] | None]:
        """What a plan is imagined to lead to, over (horizon, ...), and the frames that it really leads to.

        history: ends at `time`. places: of particles, by slot. The frames are None where nothing can be stepped.
        Raises InputError for a model without actions, and for what cannot be planned.
        """
        space = self.space
        if space is None or not isinstance(self._model, VideoModel):
            raise InputError(
                "this model knows no actions, so that nothing can be planned: train dynamics on rollouts that have them"
            )
        first = time + 1 - len(history.background)
        blocks = self._actions(episode, first)[0, : time - first]
        planned = plan(self._model, history, blocks, space, places, horizon)
        return planned.imagined, self.source.play(episode, time, planned.actions)

    def _track(self, episode: int) -> _Track:
        with self._lock:
            if episode not in self._tracks:
                self._tracks[episode] = _Track(self.source.frames(episode))
                if len(self._tracks) > _KEPT_TRACKS:
                    self._tracks.popitem(last=False)
            self._tracks.move_to_end(episode)
            return self._tracks[episode]

    def _look_on(self, model: VideoModel, track: _Track) -> None:
        """Follow the particles through the next frames."""
        begin = 0 if track.scene is None else len(track.scene.background)
        encoding, track.state = model.encode(self._video(track.frames[begin : begin + _AHEAD]), track.state)
        more = encoding.scene[0]
        track.scene = more if track.scene is None else cat([track.scene, more], 0)

    def _video(self, frames: UInt8[np.ndarray, "T H W 3"]) -> Tensor:
        return torch.from_numpy(frames).to(self._device).movedim(-1, -3).float().div(255)[None]

    def _actions(self, episode: int, first: int) -> Tensor:
        actions = self.source.actions(episode)
        assert actions is not None
        return actions[None, first:].to(self._device)
