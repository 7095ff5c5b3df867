"""One mean and one spread for each column of packed particles, shared by slots, states and goals."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dlp_dyn.errors import InputError
from dlp_dyn.folders import write_file
from dlp_dyn.particles import ParticleLayout
from dlp_dyn.settings import parse_json

_LEAST_STD = 0.01  # differences below it are noise, which is not to be blown up
_FEWEST = 2.0  # visible particles that a mean and a spread can be taken of


@dataclass(frozen=True)
class Normalizer:
    """(packed - mean) / std by column, clipped to +-`clip`. Transparency stays as it is, so that masks keep their
    threshold.

    Fitted once and then frozen: an agent that has learned with it sees the same numbers ever after. Separate scales
    for slots or for states and goals would hide that they are about the same things.

    encoder: content hash of the checkpoint whose particles it was fitted to, or "" where there is none.
    """

    layout: ParticleLayout
    mean: Float[np.ndarray, " D"]
    std: Float[np.ndarray, " D"]
    encoder: str = ""
    clip: float = 5.0

    @classmethod
    def fit(
        cls,
        packed: Float[np.ndarray, "M N D"],
        layout: ParticleLayout,
        encoder: str = "",
        clip: float = 5.0,
    ) -> "Normalizer":
        """Of the particles of M frames, each counting as much as it is visible.

        Raises InputError when the columns do not fit the layout, values are not finite or nothing is visible.
        """
        if packed.shape[-1] != layout.dim or layout.extra:
            raise InputError(
                f"normalizer: {packed.shape[-1]} columns, the particles of an encoder have {6 + layout.feature_dim}: "
                "fit it before time, view or other columns are added"
            )
        rows = packed.reshape(-1, layout.dim).astype(np.float64)
        if not np.isfinite(rows).all():
            raise InputError("normalizer: the particles have NaN or infinite values; check the encoder")
        transparency = layout.columns.index("transparency")
        weight = rows[:, transparency].clip(0)
        total = weight.sum()
        if total < _FEWEST:
            raise InputError(
                f"normalizer: {total:.1f} particles are visible in {len(packed)} frames; give more frames, or an "
                "encoder that sees something in them"
            )
        mean = weight @ rows / total
        std = np.sqrt(weight @ np.square(rows - mean) / total).clip(_LEAST_STD)
        mean[transparency], std[transparency] = 0.0, 1.0
        return cls(layout, mean.astype(np.float32), std.astype(np.float32), encoder, clip)

    def __call__(self, packed: Float[np.ndarray, "*B N D"]) -> Float[np.ndarray, "*B N D"]:
        return ((packed - self.mean) / self.std).clip(-self.clip, self.clip).astype(np.float32)

    def inverse(self, packed: Float[np.ndarray, "*B N D"]) -> Float[np.ndarray, "*B N D"]:
        """Back to the encoder's units; what was clipped stays clipped."""
        return (packed * self.std + self.mean).astype(np.float32)

    @property
    def hash(self) -> str:
        """SHA-256 of all that decides what it does."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def save(self, path: str | Path) -> None:
        write_file(Path(path), (self.to_json() + "\n").encode())

    def to_json(self) -> str:
        fields = {
            "columns": list(self.layout.columns),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "clip": float(self.clip),
            "encoder": self.encoder,
        }
        return json.dumps(fields, indent=2)

    @classmethod
    def load(cls, path: str | Path) -> "Normalizer":
        """What `save` wrote. Raises InputError for anything else."""
        try:
            raw = parse_json(Path(path).read_text())
            layout = ParticleLayout(len(raw["columns"]) - 6)
            mean, std = (np.array(raw[name], np.float32) for name in ("mean", "std"))
            whole = tuple(raw["columns"]) == layout.columns and mean.shape == std.shape == (layout.dim,)
            if not whole or not (std > 0).all() or not np.isfinite([mean, std]).all() or not raw["clip"] > 0:
                raise ValueError("columns and numbers do not fit each other")
            return cls(layout, mean, std, str(raw["encoder"]), float(raw["clip"]))
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; fit a normalizer and save it there") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: no normalizer ({type(error).__name__}: {error}); fit one and save it again"
            ) from None
