"""A browser tab, as far as the server can see."""

import base64
from typing import Any

import numpy as np
from jaxtyping import Int
from starlette.testclient import TestClient

from dlp_dyn.viewer.app import application
from dlp_dyn.viewer.server import LOCAL
from dlp_dyn.viewer.studio import Studio


def client(studio: Studio, max_sessions: int = 8) -> TestClient:
    return TestClient(application(studio, [*LOCAL], max_sessions), base_url="http://localhost")


def pictures(text: str, side: int = 32) -> Int[np.ndarray, "T H W 3"]:
    """What a page makes of the pictures that it is sent."""
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, side, side, 3).astype(int)


class Page:
    """One tab with a session of its own."""

    def __init__(self, server: TestClient) -> None:
        self._server = server
        self._own: dict[str, Any] = {}
        self.opened = self.ask("open")
        self._own = {"session": self.opened["session"]}

    def ask(self, verb: str, **asked: Any) -> dict[str, Any]:
        response = self._server.post(f"/api/{verb}", json=self._own | asked)
        assert response.status_code == 200, response.text
        return response.json()

    def refused(self, verb: str, **asked: Any) -> str:
        """The line that a bad request is answered with."""
        response = self._server.post(f"/api/{verb}", json=self._own | asked)
        assert response.status_code == 400
        line = response.json()["error"]
        assert "\n" not in line
        return line
