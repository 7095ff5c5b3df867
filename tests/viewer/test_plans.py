"""Plans of the viewer: a particle is dragged, and a search finds the actions that bring it there."""

from collections.abc import Iterator

import gymnasium as gym
import numpy as np
import pytest
import torch
from pages import Page, client, pictures
from playwright.sync_api import Browser, expect

from benchmarks.viewer import Tab, browsing, chromium, serving
from dlp_dyn.bundled import PUSH
from dlp_dyn.dynamics.base import Conditions
from dlp_dyn.dynamics.rollout import rollout
from dlp_dyn.errors import InputError
from dlp_dyn.video import VideoModel
from dlp_dyn.viewer.planning import plan
from dlp_dyn.viewer.server import load_studio
from dlp_dyn.viewer.source import StageSource
from dlp_dyn.viewer.studio import Studio

SIDE = 64


@pytest.fixture(scope="module")
def stepped() -> Studio:
    """The model of Push that comes along, on the table that it was trained on."""
    return load_studio(PUSH, None, "test", env="envs:Push-v0", settings={"n_objects": 1})


@pytest.fixture(scope="module")
def filed() -> Studio:
    return load_studio(PUSH, None, "test")


def on_the_table(studio: Studio) -> np.ndarray:
    """Where the object is in the environment, as it was played last."""
    assert isinstance(studio.source, StageSource)
    return studio.source._stage.observation["achieved_goal"][0, :2]


def thing(studio: Studio, episode: int, time: int) -> tuple[int, tuple[float, float]]:
    """The slot of the object, and a place to the side of it, nearer to the middle."""
    recorded = studio.source.actions(episode)
    assert recorded is not None
    studio.source.play(episode, 0, recorded[:time].numpy())
    p = studio.history(episode, time).particles[-1]
    far = (p.position - torch.from_numpy(on_the_table(studio))).norm(dim=-1)
    i = int(far.masked_fill(~p.visible, 9.0).argmin())
    assert far[i] < 0.1
    x, y = p.position[i].tolist()
    return i, (x - 0.35 if x > 0 else x + 0.35, y)


def test_a_dragged_object_is_brought_there_in_imagination_and_on_the_table(stepped: Studio) -> None:
    page = Page(client(stepped))
    before, imagined, real = [], [], []
    for episode in range(3):
        page.ask("seek", episode=episode, time=5)
        i, to = thing(stepped, episode, 5)
        page.ask("change", particle=i, values={"x": to[0], "y": to[1]})
        answer = page.ask("plan", horizon=12)
        assert answer["is_real"]
        assert answer["places"] == {str(i): pytest.approx(to, abs=1e-4)}
        assert len(pictures(answer["imagined"]["pictures"], SIDE)) == 13
        assert len(pictures(answer["beside"]["pictures"], SIDE)) == 13
        ways = np.linalg.norm(np.array(answer["imagined"]["positions"])[:, i] - to, axis=1)
        before.append(ways[0])
        imagined.append(ways[-1])
        real.append(np.linalg.norm(on_the_table(stepped) - to))
    assert np.allclose(before, 0.35, atol=1e-3)
    assert np.median(imagined) < 0.1
    assert np.median(real) < 0.25


def test_the_film_is_what_its_actions_lead_to(stepped: Studio) -> None:
    """In imagination a rollout of the dynamics, and really a table that is played from the same seed."""
    history = stepped.history(1, 4)
    i, to = thing(stepped, 1, 4)
    recorded = stepped.source.actions(1)
    assert recorded is not None
    assert stepped.space is not None
    model = stepped._model
    assert isinstance(model, VideoModel)
    planned = plan(model, history, recorded[4 + 1 - len(history.background) : 4], stepped.space, {i: to}, 3)
    done = torch.cat([recorded[5 - len(history.background) : 4], torch.from_numpy(planned.actions)])
    expected = rollout(model.dynamics, history.map(lambda x: x[None]), 3, Conditions(done[None]))[0, -3:]
    on = history.particles.visible[-1]
    torch.testing.assert_close(
        planned.imagined.particles.position[:, on], expected.particles.position[:, on], rtol=1e-3, atol=1e-3
    )
    frames = stepped.source.play(1, 4, planned.actions)
    env = gym.make("envs:Push-v0", n_objects=1)
    env.reset(seed=1)
    for action in np.concatenate([recorded[:4].numpy(), planned.actions]).reshape(-1, 2):
        env.step(action)
    assert frames is not None
    np.testing.assert_array_equal(frames[-1], env.unwrapped.render())


def test_of_a_file_the_edited_scene_stands_beside(filed: Studio) -> None:
    page = Page(client(filed))
    i = int(filed.history(0, 10).particles[-1].visible.int().argmax())
    edited = page.ask("change", particle=i, values={"x": 0.0})
    answer = page.ask("plan", horizon=2)
    assert not answer["is_real"]
    for shown in pictures(answer["beside"]["pictures"], SIDE):
        np.testing.assert_array_equal(shown, pictures(edited["picture"], SIDE)[0])
    np.testing.assert_array_equal(
        pictures(answer["imagined"]["pictures"], SIDE)[0], pictures(page.opened["picture"], SIDE)[0]
    )


def test_what_cannot_be_planned_is_one_line(filed: Studio, studio: Studio, image_studio: Studio) -> None:
    page = Page(client(filed))
    assert page.opened["model"]["plans"]
    assert (
        page.refused("plan", horizon=3)
        == "no particle was moved: drag one to where it shall be, and plan again"
    )
    i = int(filed.history(0, 10).particles[-1].visible.int().argmax())
    page.ask("change", particle=i, values={"x": 1.5})
    assert "places go from -1 to 1" in page.refused("plan", horizon=3)
    page.ask("change", particle=i, values={"x": 0.5})
    assert page.refused("plan", horizon=31) == "horizon 31: plan 1 to 30 steps"
    for blind in (studio, image_studio):
        page = Page(client(blind))
        assert not page.opened["model"]["plans"]
        page.ask("show", particle=0)
        page.ask("change", particle=0, values={"x": 0.7})
        line = page.refused("plan", horizon=3)
        assert line.startswith(("this model knows no actions", "no particle was moved"))
    with pytest.raises(InputError, match="episodes come from a file or from an environment"):
        load_studio(PUSH, "some.h5", "test", env="envs:Push-v0")
    with pytest.raises(InputError, match="trained with 4 numbers between frames"):
        load_studio(PUSH, None, "test", env="Pendulum-v1")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as running:
        yield running


@pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine")
def test_drag_and_plan_on_the_page(browser: Browser) -> None:
    with serving(PUSH) as address:
        tab = Tab(browser, address)
        tab.page.locator("#marks").uncheck()
        x, y = tab.value("x"), tab.value("y")
        tab.drag([(x, y), (x / 2, y / 2), (0.1, 0.1)])
        tab.page.locator("#horizon").fill("4")
        tab.page.locator("#plan").click()
        tab.page.wait_for_selector("#future-pair:not([hidden])", timeout=60_000)
        tab.settle()
        expect(tab.page.locator("#unedited-name")).to_have_text("As planned")
        expect(tab.page.locator("#edited-name")).to_have_text("As it shall be")
        expect(tab.page.locator("#step-value")).to_have_text("4 / 4")
        assert "from where it shall be" in tab.page.locator("#futures-note").inner_text()
        tab.page.locator("#roll").click()
        expect(tab.page.locator("#unedited-name")).to_have_text("As found")
        tab.settle()
        assert tab.troubles == []
        tab.page.close()
