"""What a page may ask and what it is told: JSON objects in and out. Nothing here knows of HTTP."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import UInt8

from dlp_dyn.errors import InputError
from dlp_dyn.particles import Scene
from dlp_dyn.tree import cat
from dlp_dyn.viewer import edits
from dlp_dyn.viewer.session import Session, Sessions

Json = dict[str, Any]
_MOST_COPIES = 50


def answer(sessions: Sessions, verb: str, asked: Json, wanted: Callable[[], bool] = lambda: True) -> Json:
    """Do what a page asks for. wanted: whether it still waits; what takes long is left undone where not.

    Raises InputError for words that make no sense.
    """
    if verb == "open":
        name, session = sessions.open()
        with session.lock:
            return {"session": name, "model": _model(session)} | _frame(session) | _scene(session)
    if verb not in (*_VERBS, "futures", "plan"):
        raise InputError(f"{verb!r}: ask for open, {', '.join(_VERBS)}, futures, plan")
    session = sessions.get(_text(asked, "session"))
    if verb == "plan":
        return _plan(session, asked)
    if verb == "futures":
        return _futures(session, asked, wanted)
    with session.lock:
        return _VERBS[verb](session, asked)


def _seek(session: Session, asked: Json) -> Json:
    session.seek(_integer(asked, "episode"), _integer(asked, "time"))
    return _frame(session) | _scene(session)


def _change(session: Session, asked: Json) -> Json:
    i, values = _particle(session, asked, "particle"), asked.get("values")
    if not isinstance(values, dict):
        raise InputError("values: give an object of attributes")
    numbers = {str(name): _number(values, name) for name in values}
    gesture = _text(asked, "gesture") if "gesture" in asked else None
    session.edit(lambda history: edits.change(history, i, numbers), gesture)
    return _scene(session)


def _copy(session: Session, asked: Json) -> Json:
    i, room = _particle(session, asked, "particle"), session.studio.has_room_for_more
    if edits.n_particles(session.edited) >= edits.n_particles(session.found) + _MOST_COPIES:
        raise InputError(f"there are {_MOST_COPIES} copies: undo or reset before you copy more")
    made, slot = edits.copy(session.edited, i, room)
    session.edit(lambda _: made)
    return _scene(session) | {"chosen": slot}


def _show(session: Session, asked: Json) -> Json:
    i = _particle(session, asked, "particle")
    session.edit(lambda history: edits.show(history, i, session.found))
    return _scene(session)


def _recolour(session: Session, asked: Json) -> Json:
    i, j = _particle(session, asked, "particle"), _particle(session, asked, "other")
    session.edit(lambda history: edits.swap_appearance(history, i, j))
    return _scene(session)


def _simple(name: str) -> Callable[[Session, Json], Json]:
    def run(session: Session, asked: Json) -> Json:
        i = _particle(session, asked, "particle")
        session.edit(lambda history: edits.SIMPLE[name](history, i))
        return _scene(session)

    return run


def _undo(session: Session, asked: Json) -> Json:  # noqa: ARG001 - all verbs are called alike
    session.undo()
    return _scene(session)


def _reset(session: Session, asked: Json) -> Json:  # noqa: ARG001
    session.reset()
    return _scene(session)


def _futures(session: Session, asked: Json, wanted: Callable[[], bool]) -> Json:
    """What happens after the edited scene, and after the one that was found; both begin with the scene itself.

    Edits go on meanwhile. Given up where the page waits no more, or asks once again.
    """
    horizon = _integer(asked, "horizon")
    with session.lock:
        asked_last = session.asks_for_futures()
        episode, time = session.episode, session.time
        histories = {"edited": session.edited, "unedited": session.found}

    def predict(history: Scene) -> Json:
        studio = session.studio
        after = studio.future(history, episode, time, horizon, lambda: wanted() and asked_last())
        scenes = cat([history[-1:], after], 0)
        p = scenes.particles
        return {
            "pictures": _bytes(studio.pictures(scenes)),
            "positions": _rounded(p.position.tolist()),
            "transparency": _rounded(p.transparency[..., 0].tolist()),
        }

    return {name: predict(history) for name, history in histories.items()}


def _plan(session: Session, asked: Json) -> Json:
    """How the particles that were dragged come to where they are now, from the scene that was found.

    Beside what is imagined stands what really comes of it or, where nothing can be stepped, the edited scene. Edits go
    on meanwhile.
    """
    horizon = _integer(asked, "horizon")
    with session.lock:
        found, edited = session.found, session.edited
        episode, time = session.episode, session.time
    places = edits.moved(found, edited)
    if not places:
        raise InputError("no particle was moved: drag one to where it shall be, and plan again")
    studio = session.studio
    imagined, real = studio.plan(found, episode, time, places, horizon)
    scenes = cat([found[-1:], imagined], 0)
    n = len(scenes.background)
    if real is None:
        beside = np.repeat(studio.pictures(edited[-1:]), n, 0)
    else:
        beside = np.concatenate([studio.frame(episode, time)[None], real])
    p = scenes.particles
    return {
        "imagined": {
            "pictures": _bytes(studio.pictures(scenes)),
            "positions": _rounded(p.position.tolist()),
            "transparency": _rounded(p.transparency[..., 0].tolist()),
        },
        "beside": {"pictures": _bytes(beside)},
        "is_real": real is not None,
        "places": {str(slot): _rounded(list(place)) for slot, place in places.items()},
    }


_VERBS: dict[str, Callable[[Session, Json], Json]] = {
    "seek": _seek,
    "change": _change,
    "copy": _copy,
    "show": _show,
    "recolour": _recolour,
    **{name: _simple(name) for name in edits.SIMPLE},
    "undo": _undo,
    "reset": _reset,
}


def _model(session: Session) -> Json:
    studio = session.studio
    return {
        "title": studio.title,
        "data": studio.source.name,
        "side": studio.side,
        "lengths": list(studio.source.lengths),
        "predicts": studio.can_predict,
        "plans": studio.space is not None,
        "limits": {name: edits.limits(name) for name in edits.attributes(session.found, 0)},
    }


def _frame(session: Session) -> Json:
    """What changes when another frame is looked at."""
    studio, episode, time = session.studio, session.episode, session.time
    longest = studio.longest_horizon(episode, time) if studio.can_predict else 0
    return {
        "episode": episode,
        "time": time,
        "longest_horizon": longest,
        "frame": _bytes(studio.frame(episode, time)),
        "found": _particles(session.found),
    }


def _scene(session: Session) -> Json:
    """What changes with every edit. pictures: RGB bytes, row by row."""
    return {
        "particles": _particles(session.edited),
        "picture": _bytes(session.studio.pictures(session.edited[-1:])),
        "edited": session.is_edited,
        "can_undo": session.can_undo,
    }


def _particles(history: Scene) -> list[dict[str, float]]:
    return [_rounded(edits.attributes(history, i)) for i in range(edits.n_particles(history))]


def _rounded(value: Any) -> Any:
    """Five digits after the point: a hundredth of a pixel, and short."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 5)


def _bytes(pictures: UInt8[np.ndarray, "*T H W 3"]) -> str:
    return base64.b64encode(np.ascontiguousarray(pictures).tobytes()).decode()


def _particle(session: Session, asked: Json, key: str) -> int:
    i, n = _integer(asked, key), edits.n_particles(session.edited)
    if not 0 <= i < n:
        raise InputError(f"{key} {i}: there are 0 to {n - 1}")
    return i


def _integer(asked: Json, key: str) -> int:
    value = asked.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{key} {value!r}: give a whole number")
    return value


def _number(asked: Json, key: str) -> float:
    value = asked.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InputError(f"{key} {value!r}: give a number")
    try:
        return float(value)
    except OverflowError:
        raise InputError(f"{key}: a number of {len(str(value))} digits") from None


def _text(asked: Json, key: str) -> str:
    value = asked.get(key)
    if not isinstance(value, str):
        raise InputError(f"{key} {value!r}: give a text")
    return value
