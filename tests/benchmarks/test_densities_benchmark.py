"""Which runs of Soft-IntroVAE on the plane are compared."""

from benchmarks.densities import PUBLISHED, VARIANTS, experiments
from dlp_dyn.config import load


def test_every_set_is_trained_in_all_variants_that_differ_in_the_game_alone() -> None:
    runs = {name: load("soft_intro_2d", settings) for name, settings in experiments()}
    assert len(runs) == (len(PUBLISHED) + 2) * len(VARIANTS)
    for name, cfg in runs.items():
        data, variant, seed = name.split("-")
        assert (cfg.data.path, cfg.seed) == (data, int(seed))
        assert cfg.soft_intro is not None
        plays = cfg.soft_intro.game.fakes != "none"
        assert plays == (variant != "plain")
        assert cfg.soft_intro.game.attached_target == (variant != "detached")
        if plays:
            assert (cfg.soft_intro.game.kl, cfg.soft_intro.game.negative) == PUBLISHED[data]
        first = runs["8gaussians-attached-0"].soft_intro
        assert first is not None
        assert cfg.soft_intro.densities == first.densities
