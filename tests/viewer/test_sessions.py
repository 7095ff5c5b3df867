"""A page and its server: what each request does, and that nobody sees another's edits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float
from pages import Page, client, pictures
from torch import Tensor
from torch.testing import assert_close

from dlp_dyn.checkpoint import load_video_model
from dlp_dyn.clip import Clip
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.errors import InputError
from dlp_dyn.viewer.requests import answer
from dlp_dyn.viewer.session import Sessions
from dlp_dyn.viewer.studio import MAX_HORIZON, Studio


def video(studio: Studio, episode: int, n_frames: int) -> Float[Tensor, "1 T C H W"]:
    """The first frames of an episode, as models see them."""
    return Clip(torch.from_numpy(studio.source.frames(episode)[None, :n_frames])).video


def changed(before: str, after: str) -> float:
    """How far the most different pixel is apart, of 255."""
    return np.abs(pictures(before) - pictures(after)).max()


def test_open_shows_the_frame_and_what_is_drawn_of_it(page: Page, studio: Studio, balls_file: Any) -> None:
    opened, rollouts = page.opened, Rollouts(balls_file)
    assert opened["model"]["lengths"] == [6, 6, 6]
    assert opened["model"]["predicts"]
    assert (opened["episode"], opened["time"]) == (0, 5)
    frame = rollouts.episode(int(rollouts.part("test")[0])).frames[5]
    assert (pictures(opened["frame"])[0] == frame).all()
    drawn = studio.pictures(studio.history(0, 5)[-1:])
    assert (pictures(opened["picture"]) == drawn).all()
    assert opened["particles"] == opened["found"]
    assert len(opened["particles"]) == 4
    assert not opened["edited"]
    assert not opened["can_undo"]


def test_seek_goes_to_another_frame_and_drops_edits(page: Page) -> None:
    page.ask("change", particle=0, values={"x": 0.9})
    there = page.ask("seek", episode=2, time=3)
    assert (there["episode"], there["time"], there["edited"], there["can_undo"]) == (2, 3, False, False)
    again = page.ask("seek", episode=0, time=5)
    assert {key: again[key] for key in ("particles", "frame", "picture")} == {
        key: page.opened[key] for key in ("particles", "frame", "picture")
    }


def test_frames_may_be_asked_for_in_any_order(studio: Studio) -> None:
    late = studio.history(1, 5)
    early = studio.history(1, 2)
    assert len(late.background) == 4
    assert len(early.background) == 3
    assert_close(late.particles.position[0], early.particles.position[2])


def test_change_moves_the_particle_and_the_pixels(page: Page) -> None:
    values = {"x": 0.6, "y": 0.6, "width": 0.3, "depth": -1.0}
    after = page.ask("change", particle=1, values=values)
    assert {name: after["particles"][1][name] for name in values} == pytest.approx(values, abs=1e-4)
    assert after["particles"][0] == page.opened["particles"][0]
    assert changed(after["picture"], page.opened["picture"]) > 10
    assert after["edited"]
    assert after["can_undo"]


@pytest.mark.parametrize("verb", ["hide", "forward", "back", "copy", "recolour"])
def test_every_button_changes_the_scene_and_is_undone(page: Page, verb: str) -> None:
    asked = {"other": 2} if verb == "recolour" else {}
    after = page.ask(verb, particle=1, **asked)
    assert after["particles"] != page.opened["particles"]
    undone = page.ask("undo")
    assert undone["particles"] == page.opened["particles"]
    assert undone["picture"] == page.opened["picture"]
    assert not undone["can_undo"]
    assert not undone["edited"]


def test_show_takes_hide_back(page: Page) -> None:
    assert page.ask("hide", particle=1)["particles"][1]["transparency"] == 0
    shown = page.ask("show", particle=1)["particles"][1]
    assert shown["transparency"] == 1
    assert shown["motion_x"] == page.opened["particles"][1]["motion_x"]


def test_copy_tells_which_is_the_new_one(page: Page) -> None:
    after = page.ask("copy", particle=1)
    assert after["chosen"] == 4
    assert len(after["particles"]) == 5


def test_a_drag_is_undone_as_a_whole(page: Page) -> None:
    for x in (0.1, 0.2, 0.3):
        page.ask("change", particle=0, values={"x": x}, gesture="1")
    page.ask("change", particle=0, values={"x": 0.8}, gesture="2")
    assert page.ask("undo")["particles"][0]["x"] == pytest.approx(0.3, abs=1e-5)
    assert page.ask("undo")["particles"] == page.opened["particles"]


def test_reset_can_be_undone(page: Page) -> None:
    moved = page.ask("change", particle=0, values={"x": 0.1})
    assert page.ask("reset")["particles"] == page.opened["particles"]
    assert page.ask("undo")["particles"] == moved["particles"]


def test_one_tab_does_not_see_the_edits_of_another(studio: Studio) -> None:
    server = client(studio)
    mine, yours = Page(server), Page(server)
    for verb in ("copy", "forward", "hide"):
        mine.ask(verb, particle=0)
    mine.ask("change", particle=1, values={"x": 0.9, "feature_0": 3.0})
    assert yours.ask("reset")["particles"] == yours.opened["particles"]
    assert not yours.ask("undo")["edited"]
    assert yours.ask("seek", episode=0, time=5)["found"] == yours.opened["found"]
    assert Page(server).opened["picture"] == mine.opened["picture"]


def test_the_oldest_session_makes_room(studio: Studio) -> None:
    server = client(studio, max_sessions=2)
    first, second = Page(server), Page(server)
    first.ask("undo")  # used after the second
    Page(server)
    assert not first.ask("undo")["edited"]
    assert second.refused("undo") == "this page's session has ended: reload the page"


def test_session_names_cannot_be_guessed(studio: Studio) -> None:
    sessions = Sessions(studio)
    names = {sessions.open()[0] for _ in range(20)}
    assert len(names) == 20
    assert min(map(len, names)) >= 20


def test_futures_begin_with_the_scene_and_keep_the_offset_of_a_moved_particle(page: Page) -> None:
    """Untrained dynamics predict constant velocity, so the moved particle stays that far away."""
    moved = page.ask("change", particle=0, values={"x": page.opened["particles"][0]["x"] + 0.2})
    futures = page.ask("futures", horizon=3)
    edited, unedited = futures["edited"], futures["unedited"]
    assert len(pictures(edited["pictures"])) == len(pictures(unedited["pictures"])) == 4
    assert (pictures(edited["pictures"])[0] == pictures(moved["picture"])[0]).all()
    assert (pictures(unedited["pictures"])[0] == pictures(page.opened["picture"])[0]).all()
    apart = np.array(edited["positions"]) - np.array(unedited["positions"])
    inside = np.abs(np.array(unedited["positions"])).max((1, 2)) < 1.7
    assert apart[inside][:, 0, 0] == pytest.approx(0.2, abs=1e-3)
    assert np.abs(apart[inside][:, 1:]).max() < 1e-3
    assert changed(edited["pictures"], unedited["pictures"]) > 10


def test_futures_are_equal_without_an_edit(page: Page) -> None:
    futures = page.ask("futures", horizon=2)
    assert futures["edited"] == futures["unedited"]


def test_the_unedited_future_is_what_predict_gives(studio: Studio, video_run: Path) -> None:
    found = studio.future(studio.history(0, 5), 0, 5, 3)
    expected = load_video_model(video_run).predict(video(studio, 0, 6), 3)
    assert_close(found.particles.position, expected.particles.position[0, 6:])


def test_actions_are_those_of_the_file_and_end_with_it(action_studio: Studio, action_run: Path) -> None:
    page = Page(client(action_studio))
    there = page.ask("seek", episode=1, time=10)
    assert there["longest_horizon"] == 3
    actions = action_studio.source.actions(1)
    assert actions is not None
    expected = load_video_model(action_run).predict(video(action_studio, 1, 11), 3, actions[None])
    found = action_studio.future(action_studio.history(1, 10), 1, 10, 3)
    assert_close(found.particles.position, expected.particles.position[0, 11:])
    assert page.refused("futures", horizon=4) == "horizon 4: give 1 to 3 frames"
    page.ask("seek", episode=1, time=13)
    assert "no actions are recorded after frame 13" in page.refused("futures", horizon=1)


def test_a_model_of_images_is_edited_and_does_not_predict(image_studio: Studio) -> None:
    page = Page(client(image_studio))
    assert not page.opened["model"]["predicts"]
    assert page.opened["longest_horizon"] == 0
    shown = page.ask("show", particle=0)
    after = page.ask("copy", particle=0)
    assert len(after["particles"]) == 5
    assert changed(after["picture"], shown["picture"]) > 5
    assert page.refused("futures", horizon=4).startswith(
        "this is a model of single images, it knows no motion"
    )


@pytest.mark.parametrize(
    ("verb", "asked", "line"),
    [
        ("fly", {}, "'fly': ask for open, seek, change"),
        ("hide", {}, "particle None: give a whole number"),
        ("hide", {"particle": 4}, "particle 4: there are 0 to 3"),
        ("hide", {"particle": -1}, "particle -1: there are 0 to 3"),
        ("hide", {"particle": True}, "particle True: give a whole number"),
        ("recolour", {"particle": 0, "other": 9}, "other 9: there are 0 to 3"),
        ("change", {"particle": 0}, "values: give an object of attributes"),
        ("change", {"particle": 0, "values": {"x": "far"}}, "x 'far': give a number"),
        ("change", {"particle": 0, "values": {"x": 3}}, "x 3: give a number from -2 to 2"),
        ("change", {"particle": 0, "values": {"x": 0.5}, "gesture": 3}, "gesture 3: give a text"),
        ("seek", {"episode": 3, "time": 0}, "episode 3: there are 0 to 2"),
        ("seek", {"episode": 0, "time": 6}, "time 6: episode 0 has frames 0 to 5"),
        ("futures", {"horizon": 0}, f"horizon 0: give 1 to {MAX_HORIZON} frames"),
        ("undo", {"session": "x"}, "this page's session has ended: reload the page"),
        ("undo", {"session": None}, "session None: give a text"),
    ],
)
def test_bad_requests_get_one_line_and_change_nothing(
    page: Page, verb: str, asked: dict[str, Any], line: str
) -> None:
    assert page.refused(verb, **asked).startswith(line)
    assert page.ask("undo")["particles"] == page.opened["particles"]


def test_only_json_objects_are_read(page: Page, studio: Studio) -> None:
    server = client(studio)
    kind = {"content-type": "application/json"}
    for body, line in ((b"{", "the request is not JSON"), (b"[]", "the request is not a JSON object")):
        assert server.post("/api/open", content=body, headers=kind).json()["error"].startswith(line)
    answer = server.post("/api/open", content=b"{}", headers={"content-type": "text/plain"})
    assert answer.json()["error"] == "the request is 'text/plain', not application/json"
    assert page.ask("undo")["particles"] == page.opened["particles"]


def test_the_page_loads_nothing_from_elsewhere(studio: Studio) -> None:
    server = client(studio)
    index = server.get("/")
    assert index.status_code == 200
    assert "default-src 'self'" in index.headers["content-security-policy"]
    files = ("viewer.js", "draw.js", "futures.js", "panel.js", "server.js", "viewer.css")
    for text in (index.text, *(server.get(f"/page/{name}").text for name in files)):
        assert "http://" not in text
        assert "https://" not in text
        assert len(text) > 500


def test_a_name_that_is_not_this_machines_is_refused(studio: Studio) -> None:
    assert client(studio).get("/", headers={"host": "elsewhere.example"}).status_code == 400


@pytest.mark.parametrize(
    ("verb", "body", "line"),
    [
        (
            "change",
            '{"session": "%s", "particle": 0, "values": {"x": 1' + "0" * 400 + "}}",
            "x: a number of 401",
        ),
        ("change", '{"session": "%s", "particle": 1' + "0" * 5000 + "}", "the request is not JSON"),
        ("change", '{"session": "%s", "particle": 0, "values": {"x": NaN}}', "x nan: give a number from"),
        ("change", '{"session": "%s", "particle": 0, "values": {"\\ud800": 1}}', "attribute '\\ud800'"),
        ("open", '{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "the request is not JSON"),
        ("open", '{"a": "' + "x" * (2 << 20) + '"}', "the request is larger than 1048576 bytes"),
        ("\udc80fly", "{}", "'"),
    ],
)
def test_bodies_that_no_page_sends(studio: Studio, verb: str, body: str, line: str) -> None:
    server = client(studio)
    page = Page(server)
    body = body.replace("%s", page.opened["session"])
    name = verb.encode(errors="surrogateescape").decode("latin-1")
    answer = server.post(f"/api/{name}", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(line)
    assert page.ask("undo")["particles"] == page.opened["particles"]


def test_copies_are_bounded(page: Page) -> None:
    for _ in range(50):
        page.ask("copy", particle=1)
    assert page.refused("copy", particle=1) == "there are 50 copies: undo or reset before you copy more"
    page.ask("undo")
    page.ask("copy", particle=1)


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", "http://localhost:1", "http://["])
def test_pages_of_other_sites_are_refused(page: Page, studio: Studio, origin: str) -> None:
    server = client(studio)
    answer = server.post("/api/open", json={}, headers={"origin": origin})
    assert answer.status_code == 400
    assert server.post("/api/open", json={}, headers={"origin": "http://localhost"}).status_code == 200
    assert page.ask("undo")["particles"] == page.opened["particles"]


def test_futures_that_nobody_waits_for_are_given_up(studio: Studio) -> None:
    """An edit goes on meanwhile; a later request, or a page that is gone, ends the earlier one."""
    sessions = Sessions(studio)
    name, session = sessions.open()
    asked = {"session": name, "horizon": 40}
    seen: list[int] = []

    def until_an_edit() -> bool:
        seen.append(len(seen))
        answer(sessions, "hide", {"session": name, "particle": 0})
        return len(seen) < 2

    with pytest.raises(InputError, match="wanted no more"):
        answer(sessions, "futures", asked, until_an_edit)
    assert seen == [0, 1]
    assert session.is_edited

    def until_asked_again() -> bool:
        answer(sessions, "futures", asked | {"horizon": 1})
        return True

    with pytest.raises(InputError, match="wanted no more"):
        answer(sessions, "futures", asked, until_asked_again)


def test_a_long_future_is_that_of_one_rollout(studio: Studio, video_run: Path) -> None:
    found = studio.future(studio.history(0, 5), 0, 5, 37)
    expected = load_video_model(video_run).predict(video(studio, 0, 6), 37)
    assert_close(found.particles.position, expected.particles.position[0, 6:])
