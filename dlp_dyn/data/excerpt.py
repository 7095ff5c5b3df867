"""A few clips of a rollout file as a small file of their own, to give away with a model."""

from pathlib import Path

from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import Part, RolloutWriter
from dlp_dyn.errors import InputError


def excerpt(
    source: str | Path, out: str | Path, part: Part = "test", episodes: int = 8, length: int = 60
) -> None:
    """Write the first `length` frames of the first `episodes` long enough of a part, compressed.

    Raises InputError where no episode is.
    """
    rollouts = Rollouts(source)
    index = rollouts.part(part)
    index = index[rollouts.episode_lengths[index] >= length][:episodes]
    if not len(index):
        raise InputError(f"{source}: no episode of {length} frames in the {part} part; ask for shorter ones")
    kept = {k: v for k, v in rollouts.attributes.items() if k != "format_version"}
    with RolloutWriter(out, attributes=kept, compress=True) as writer:
        for i in index:
            writer.append(rollouts.read(int(rollouts.episode_starts[i]), length), part)
