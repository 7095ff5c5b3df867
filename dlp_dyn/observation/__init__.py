"""Environments observed as particles."""

from dlp_dyn.observation.encoder import ParticleEncoder, fit_normalizer
from dlp_dyn.observation.normalizer import Normalizer
from dlp_dyn.observation.novelty import NoveltyInfo
from dlp_dyn.observation.vector_wrapper import VectorParticleObservation
from dlp_dyn.observation.wrapper import ParticleObservation

__all__ = [
    "Normalizer",
    "NoveltyInfo",
    "ParticleEncoder",
    "ParticleObservation",
    "VectorParticleObservation",
    "fit_normalizer",
]
