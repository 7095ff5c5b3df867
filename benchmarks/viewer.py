"""How many drawn scenes a second the viewer shows while a particle is dragged, in a headless Chromium.

python -m benchmarks.viewer [RUN] [--data F] [--seconds 10]
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, sync_playwright

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_QUIET = ("--disable-gpu", "--no-first-run", "--disable-sync", "--disable-background-networking",
          "--disable-component-update")  # fmt: skip
_VIEW = {"width": 1280, "height": 1200}


def chromium() -> str | None:
    """The browser of this machine, None where there is none."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


@contextlib.contextmanager
def serving(run: str | Path | None = None, data: str | Path | None = None) -> Iterator[str]:
    """`dlp-dyn view` on a free port, in a process of its own; gives the address."""
    words = ([str(run)] if run else []) + (["--data", str(data)] if data else [])
    command = [sys.executable, "-m", "dlp_dyn.cli", "view", *words, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = re.search(r"http://\S+", process.stdout.readline())
            if address is None:
                raise RuntimeError(f"{' '.join(command)} did not start")
            yield address[0]
        finally:
            process.send_signal(signal.SIGINT)


@contextlib.contextmanager
def browsing() -> Iterator[Browser]:
    """A headless Chromium. Raises RuntimeError where there is none."""
    program = chromium()
    if program is None:
        raise RuntimeError("no Chromium on this machine; install Debian's package chromium")
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox does not work for root
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=[*_QUIET, *as_root])
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """The viewer's page, and a hand on the mouse."""

    def __init__(self, browser: Browser, address: str) -> None:
        self.page: Page = browser.new_page(viewport={"width": _VIEW["width"], "height": _VIEW["height"]})
        self.troubles: list[str] = []
        self.urls: list[str] = []
        self.page.on("console", lambda said: self.troubles.append(said.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", lambda request: self.urls.append(request.url))
        self.page.goto(address)
        self.settle()

    def settle(self) -> None:
        """Wait until everything that was asked for is answered and painted."""
        self.page.wait_for_selector("body[data-state=ready], body[data-state=refused]")
        self.page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def canvas(self, name: str) -> Locator:
        return self.page.locator(f"#{name}")

    def value(self, attribute: str) -> float:
        """Of the chosen particle."""
        return float(self.page.locator(f"output[for=attribute-{attribute}]").inner_text())

    def places(self) -> Callable[[float, float], tuple[float, float]]:
        """Where positions of the scene are on the page, as it is laid out now."""
        box = self.canvas("scene").bounding_box()
        assert box is not None
        side = int(self.canvas("scene").get_attribute("data-side") or 0)

        def at(x: float, y: float) -> tuple[float, float]:
            u, v = (((p + 1) / 2 * (side - 1) + 0.5) / side for p in (x, y))
            return box["x"] + u * box["width"], box["y"] + v * box["height"]

        return at

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where one position of the scene is on the page."""
        return self.places()(x, y)

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.at(x, y))
        self.settle()

    def drag(self, path: Sequence[tuple[float, float]]) -> None:
        """Press at the first place, let go at the last."""
        self.page.mouse.move(*self.at(*path[0]))
        self.page.mouse.down()
        for place in path[1:]:
            self.page.mouse.move(*self.at(*place))
        self.page.mouse.up()
        self.settle()

    def frames_shown(self) -> int:
        """Drawn scenes since the page was opened."""
        return int(self.page.locator("#rate").get_attribute("data-frames") or 0)


# A mouse that reports 125 times a second and goes round, in the page itself: the driver's own messages take longer.
_MOUSE = """([seconds, left, top, reach]) => new Promise((done) => {
  const begin = performance.now();
  const canvas = document.getElementById("scene");
  const timer = setInterval(() => {
    const passed = (performance.now() - begin) / 1000;
    const place = { clientX: left + reach * Math.cos(2 * passed), clientY: top + reach * Math.sin(2 * passed) };
    canvas.dispatchEvent(new PointerEvent("pointermove", place));
    if (passed < seconds) return;
    clearInterval(timer);
    done(passed);
  }, 8);
})"""


def drag_rate(tab: Tab, seconds: float) -> float:
    """Drawn scenes shown a second while the chosen particle is dragged round."""
    page, at = tab.page, tab.places()
    page.mouse.move(*at(tab.value("x"), tab.value("y")))
    page.mouse.down()
    before = tab.frames_shown()
    (left, top), (right, _) = at(0, 0), at(0.5, 0)
    passed = page.evaluate(_MOUSE, [seconds, left, top, right - left])
    shown = tab.frames_shown() - before
    page.mouse.up()
    tab.settle()
    return shown / passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", nargs="?", help="run folder (default: Balls, bundled)")
    parser.add_argument("--data", help="rollout file (default: what comes with the run)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of dragging (default: 10)")
    args = parser.parse_args()
    with serving(args.run, args.data) as address, browsing() as browser:
        tab = Tab(browser, address)
        rate = drag_rate(tab, args.seconds)
        print(
            f"{rate:.1f} drawn scenes shown a second in {args.seconds:g} s of dragging; "
            f"Chromium {browser.version}, {os.cpu_count()} cores"
        )


if __name__ == "__main__":
    main()
