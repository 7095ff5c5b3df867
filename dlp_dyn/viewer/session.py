"""What one browser tab is doing: which frame it looks at and what it has changed there."""

import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import Callable

from dlp_dyn.errors import InputError
from dlp_dyn.particles import Scene
from dlp_dyn.viewer.studio import Studio

_UNDO_STEPS = 200


class Session:
    """A frame of an episode, the history that was found for it, and the edited one. `lock`: one request at a time."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.lock = threading.Lock()
        self._futures_asked = 0
        self.seek(0, min(studio.source.lengths[0] - 1, 10))

    def seek(self, episode: int, time: int) -> None:
        """Look at another frame; the edits of this one are dropped. Raises InputError for a frame that is not there."""
        lengths = self.studio.source.lengths
        if not 0 <= episode < len(lengths):
            raise InputError(f"episode {episode}: there are 0 to {len(lengths) - 1}")
        if not 0 <= time < lengths[episode]:
            raise InputError(f"time {time}: episode {episode} has frames 0 to {lengths[episode] - 1}")
        self.found = self.studio.history(episode, time)
        self.episode, self.time = episode, time
        self.edited = self.found
        self._before: deque[Scene] = deque(maxlen=_UNDO_STEPS)
        self._gesture: str | None = None

    def edit(self, fn: Callable[[Scene], Scene], gesture: str | None = None) -> None:
        """Change the edited history. Edits of one gesture, a drag for one, are undone together."""
        edited = fn(self.edited)
        if edited is self.edited:
            return
        if gesture is None or gesture != self._gesture:
            self._before.append(self.edited)
        self.edited, self._gesture = edited, gesture

    def asks_for_futures(self) -> Callable[[], bool]:
        """Note a request; gives whether it is still the last one."""
        self._futures_asked += 1
        number = self._futures_asked
        return lambda: number == self._futures_asked

    def reset(self) -> None:
        """Back to what was found; can be undone."""
        self.edit(lambda _: self.found)

    def undo(self) -> None:
        if self._before:
            self.edited = self._before.pop()
        self._gesture = None

    @property
    def can_undo(self) -> bool:
        return bool(self._before)

    @property
    def is_edited(self) -> bool:
        return self.edited is not self.found


class Sessions:
    """Sessions by a name that cannot be guessed; the one that was used longest ago makes room for a new one."""

    def __init__(self, studio: Studio, limit: int = 64) -> None:
        self.studio, self._limit = studio, limit
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def open(self) -> tuple[str, Session]:
        name, session = secrets.token_urlsafe(16), Session(self.studio)
        with self._lock:
            self._sessions[name] = session
            if len(self._sessions) > self._limit:
                self._sessions.popitem(last=False)
        return name, session

    def get(self, name: str) -> Session:
        """Raises InputError for a session that is no more, or never was."""
        with self._lock:
            if name not in self._sessions:
                raise InputError("this page's session has ended: reload the page")
            self._sessions.move_to_end(name)
            return self._sessions[name]
