"""The page in a real browser: what a user does with it, and which pixels that changes."""

import io
import math
from collections.abc import Iterator
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from jaxtyping import Int
from playwright.sync_api import Browser, Locator, expect

from benchmarks.viewer import Tab, browsing, chromium, serving

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine")
CLEAR = 4  # of 255: what counts as changed


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as running:
        yield running


@pytest.fixture(scope="module")
def address(video_run: Path, balls_file: Path) -> Iterator[str]:
    with serving(video_run, balls_file) as url:
        yield url


@pytest.fixture
def tab(browser: Browser, address: str) -> Iterator[Tab]:
    """The page of a model of four particles that nobody trained: all are on, and grey."""
    opened = Tab(browser, address)
    yield opened
    assert opened.troubles == []
    assert all(url.startswith((address, "data:")) for url in opened.urls)
    opened.page.close()


def pixels(canvas: Locator) -> Int[np.ndarray, "H W 3"]:
    """What is seen of a canvas, without its edge, which the focus of the keyboard lights up."""
    return iio.imread(io.BytesIO(canvas.screenshot()))[8:-8, 8:-8, :3].astype(int)


def patch(image: Int[np.ndarray, "H W 3"], x: float, y: float) -> Int[np.ndarray, "h w 3"]:
    """The surroundings of a position."""
    side = image.shape[0]
    row, column = (int((p + 1) / 2 * side) for p in (y, x))
    reach = side // 40
    return image[max(row - reach, 0) : row + reach, max(column - reach, 0) : column + reach]


def difference(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a - b).max())


def place(tab: Tab, i: int) -> tuple[float, float]:
    """Where particle i is, after it has been chosen."""
    tab.page.locator(f"#chips button >> nth={i}").click()
    tab.settle()
    return tab.value("x"), tab.value("y")


def chosen(tab: Tab) -> str:
    return tab.page.locator("#chosen").inner_text()


def test_click_drag_undo(tab: Tab) -> None:
    x, y = place(tab, 3)
    place(tab, 0)
    tab.click(x, y)
    assert chosen(tab) == "Particle 3"
    tab.page.locator("#marks").uncheck()
    tab.settle()
    frame, before = pixels(tab.canvas("frame")), pixels(tab.canvas("scene"))
    goal = (0.75, 0.7)
    tab.drag([(x, y), (0.5, 0.2), goal])
    after = pixels(tab.canvas("scene"))
    assert (tab.value("x"), tab.value("y")) == pytest.approx(goal, abs=0.02)
    assert difference(patch(before, x, y), patch(after, x, y)) > CLEAR
    assert difference(patch(before, *goal), patch(after, *goal)) > CLEAR
    assert difference(patch(before, -0.9, 0.9), patch(after, -0.9, 0.9)) == 0
    assert difference(frame, pixels(tab.canvas("frame"))) == 0
    tab.page.keyboard.press("u")
    tab.settle()
    assert difference(before, pixels(tab.canvas("scene"))) == 0
    assert (tab.value("x"), tab.value("y")) == pytest.approx((x, y), abs=1e-3)


def test_both_futures_play_and_differ(tab: Tab) -> None:
    x, y = place(tab, 3)
    tab.drag([(x, y), (0.75, 0.7)])
    tab.page.locator("#horizon").fill("5")
    tab.page.locator("#roll").click()
    tab.page.wait_for_selector("#future-pair:not([hidden])")
    expect(tab.page.locator("#step-value")).to_have_text("5 / 5")
    last = {name: pixels(tab.canvas(name)) for name in ("unedited", "edited")}
    tab.page.locator("#step").fill("0")
    first = {name: pixels(tab.canvas(name)) for name in ("unedited", "edited")}
    assert difference(first["unedited"], first["edited"]) > CLEAR
    assert difference(last["unedited"], last["edited"]) > CLEAR
    assert difference(first["edited"], last["edited"]) > CLEAR
    assert difference(first["unedited"], last["unedited"]) > CLEAR
    assert "pixels away from itself" in tab.page.locator("#futures-note").inner_text()
    tab.page.keyboard.press("h")
    tab.settle()
    assert "roll out or plan again" in tab.page.locator("#futures-note").inner_text()


def test_corner_wheel_and_keys_resize_and_move(tab: Tab) -> None:
    x, y = place(tab, 3)
    width = tab.value("width")
    tab.drag([(x + width, y + tab.value("height")), (x + 0.4, y + 0.5)])
    assert (tab.value("width"), tab.value("height")) == pytest.approx((0.4, 0.5), abs=0.02)
    tab.page.mouse.move(*tab.at(x, y))
    tab.page.mouse.wheel(0, -200)
    expect(tab.page.locator("output[for=attribute-width]")).to_have_text(f"{0.4 * math.exp(0.25):.3f}")
    tab.settle()
    tab.page.keyboard.press("ArrowRight")
    tab.page.keyboard.press("ArrowRight")
    tab.settle()
    assert tab.value("x") == pytest.approx(x + 2 * 2 / 31, abs=2e-3)
    tab.page.keyboard.press("0")
    tab.settle()
    assert (tab.value("x"), tab.value("width")) == pytest.approx((x, width), abs=1e-3)


def test_buttons_hide_copy_recolour(tab: Tab) -> None:
    place(tab, 3)
    looks = tab.value("feature_0")
    other = place(tab, 1)
    theirs = tab.value("feature_0")
    place(tab, 3)
    tab.page.get_by_role("button", name="Recolour").click()
    tab.click(*other)
    assert chosen(tab) == "Particle 3"
    assert tab.value("feature_0") == theirs != looks
    tab.page.get_by_role("button", name="Copy").click()
    tab.settle()
    assert chosen(tab) == "Particle 4"
    assert tab.page.locator("#chips button").count() == 5
    tab.page.get_by_role("button", name="Hide").click()
    tab.settle()
    assert tab.value("transparency") == 0
    assert tab.page.locator("#chips button >> nth=4").get_attribute("aria-label") == "Particle 4, off"
    tab.page.get_by_role("button", name="Show").click()
    tab.settle()
    assert tab.value("transparency") == 1


def test_sliders_change_attributes_and_the_frame(tab: Tab) -> None:
    place(tab, 0)
    tab.page.locator("#attribute-depth").fill("-3")
    tab.settle()
    assert tab.value("depth") == -3
    before = pixels(tab.canvas("frame"))
    tab.page.locator("#episode").fill("2")
    tab.settle()
    assert difference(before, pixels(tab.canvas("frame"))) > 50
    assert tab.page.locator("#episode-value").inner_text() == "2 / 2"
    assert tab.page.locator("#undo").is_disabled()


def test_two_tabs_do_not_share_edits(tab: Tab, browser: Browser, address: str) -> None:
    other = Tab(browser, address)
    before = pixels(other.canvas("scene"))
    x, y = place(tab, 3)
    tab.drag([(x, y), (0.75, 0.7)])
    other.page.locator("#time").fill("4")
    other.settle()
    other.page.locator("#time").fill("5")
    other.settle()
    assert difference(before, pixels(other.canvas("scene"))) == 0
    other.page.close()
