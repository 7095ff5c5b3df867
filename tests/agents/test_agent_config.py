"""Configs of agents: presets load and learn, mistakes are answered with what was meant."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agents import config, train
from agents.config import AgentConfig
from dlp_dyn.errors import InputError
from dlp_dyn.settings import names, to_yaml

ON_PUSH = [name for name in names(config.FOLDER) if name not in ("pusht", "pong")]


@pytest.mark.parametrize("name", names(config.FOLDER))
def test_presets_load_and_survive_being_written(name: str, tmp_path: Path) -> None:
    cfg = config.load(name, ["observation.encoder=runs/any"])
    assert cfg.out == f"runs/{name}"
    (tmp_path / "config.yaml").write_text(to_yaml(cfg))
    assert config.read(tmp_path / "config.yaml") == cfg


@pytest.mark.parametrize(
    "name", [n for n in ON_PUSH if n not in ("push2_chamfer", "push1_offline", "push2_offline")]
)
def test_presets_learn_a_few_steps(name: str, push: Callable[..., AgentConfig]) -> None:
    cfg = push("algorithm.train_every=4", kind="state", preset=name)
    assert (train.train(cfg) / "checkpoints" / "best" / "agent.safetensors").is_file()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["observation.kin=state"], "did you mean 'kind'"),
        (["algorithm.td3.explorration.sigma=1"], "did you mean 'exploration'"),
        (["observation.kind=sate"], "observation.kind is 'sate'; give one of particles"),
        (["steps=many"], "steps"),
        (["algorithm.gamma=1.5"], "algorithm.gamma is 1.5"),
        (["env.n_envs=0"], "env.n_envs is 0"),
        (["replay.dtype=int8"], "replay.dtype"),
        (["network.entity.dim=30", "network.entity.n_heads=4"], "dim is 30 with 4 heads"),
        (["observation.kind=pixels"], "give network.kind=cnn"),
        (["network.kind=cnn"], "give network.kind=entity or flat"),
        (["reward.kind=chamfer"], "of particles"),
        (["network.entity.values=each", "algorithm.kind=sac"], "values=each is of TD3 on states"),
        (
            ["algorithm.td3.identity=1", "network.entity.interaction=attention"],
            "identity is of TD3 with pairs",
        ),
        (["algorithm.td3.identity=1", "algorithm.kind=sac"], "identity is of TD3 with pairs"),
        (
            ["algorithm.td3.identity=1", "observation.kind=particles", "observation.encoder=run"],
            "observation.track=true",
        ),
        (["observation.kind=particles"], "observation.encoder=RUN"),
        (["warm_up.random=2"], "warm_up.random is 2"),
    ],
)
def test_mistakes_are_answered_in_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        config.load("push1", ["observation.kind=state", *overrides])
    assert "\n" not in str(caught.value)


def test_an_environment_is_missing(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("observation:\n  kind: state\n")
    with pytest.raises(InputError, match=r"env\.id is missing"):
        config.load(tmp_path / "x.yaml")
    with pytest.raises(InputError, match=r"did you mean 'push1'.*push2"):
        config.load("pus1")
