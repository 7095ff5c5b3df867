"""Serve the viewer: a socket, a model, and Ctrl-C."""

import contextlib
import errno
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import uvicorn

from dlp_dyn.checkpoint import has_dynamics, load_model, load_video_model, resolve
from dlp_dyn.data.rollouts import Part
from dlp_dyn.errors import InputError
from dlp_dyn.planning.controller import check_actions
from dlp_dyn.video import VideoModel
from dlp_dyn.viewer.app import application
from dlp_dyn.viewer.run_data import data_of
from dlp_dyn.viewer.source import StageSource, open_source
from dlp_dyn.viewer.studio import Studio

LOCAL = ("127.0.0.1", "localhost", "::1")


def load_studio(
    run: str | Path,
    data: str | Path | None,
    part: Part,
    device: str = "cpu",
    env: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Studio:
    """The model of a run or checkpoint with the episodes to show, those of `data_of` when data is None.

    env: an environment, with its settings, that plays the episodes in the place of data.
    Raises InputError for a run that is not one, and for data or an environment that is missing or does not fit.
    """
    checkpoint = resolve(run)
    model = load_video_model(run, device) if has_dynamics(checkpoint) else load_model(run, device)
    stride = model.cfg.stride if isinstance(model, VideoModel) else 1
    if env is None:
        source = open_source(checkpoint, data_of(checkpoint) if data is None else data, model, part, stride)
    elif data is not None:
        raise InputError(f"{data}, {env}: episodes come from a file or from an environment: give one of them")
    else:
        cfg = model.cfg.image if isinstance(model, VideoModel) else model.cfg
        source = StageSource(env, cfg.image_size, stride, settings)
        if isinstance(model, VideoModel) and model.cfg.dynamics.action_dim:
            check_actions(model, source.space())
    return Studio(model, source, Path(run).resolve().name)


def listen(host: str, port: int) -> socket.socket:
    """A socket that waits for the page. port: 0 for any that is free. Raises InputError when it cannot be had."""
    if not 0 <= port <= 65535:
        raise InputError(f"port {port}: give 0 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"port {port}: in use; give another, or 0 for any that is free") from None
        raise InputError(f"host {host}, port {port}: cannot listen there ({error.strerror})") from None


def address(waiting: socket.socket, host: str) -> str:
    """What to type into a browser."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{waiting.getsockname()[1]}/"


def serve(studio: Studio, waiting: socket.socket, host: str) -> None:
    """Answer until Ctrl-C."""
    torch.set_num_threads(1)  # requests come side by side, and pictures are small
    hosts = [*LOCAL, "[::1]"] if host in LOCAL else ["*"]
    app = application(studio, hosts)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[waiting])
