"""What a run wrote down, read again: what a kill or an edit by hand damaged is left out, and told."""

import sys
from pathlib import Path
from typing import Any

from dlp_dyn.settings import parse_json

_TOLD = {"started", "gpu", "cpu", "threads", "versions"}  # of a session, at least: what a model card says


def rows(file: Path) -> list[tuple[bytes, int]]:
    """The rows of a log, as they are and with their step."""
    found: list[tuple[bytes, int]] = []
    damaged = 0
    for line in file.read_bytes().splitlines(keepends=True):
        try:
            step = parse_json(line)["step"]
            if not line.endswith(b"\n") or not isinstance(step, int):
                raise ValueError("cut short")
            found.append((line, step))
        except (ValueError, KeyError, TypeError):
            damaged += 1
    if damaged:
        print(f"{file}: {damaged} damaged lines left out", file=sys.stderr)
    return found


def session(file: Path) -> dict[str, Any] | None:
    """The newest session of an environment.json, with the ones before it under `earlier`; None for a damaged file."""
    try:
        found = parse_json(file.read_bytes())
    except ValueError:
        found = None
    if isinstance(found, dict) and found.keys() >= _TOLD and isinstance(found.get("earlier", []), list):
        return found
    print(f"{file}: damaged, left out", file=sys.stderr)
    return None
