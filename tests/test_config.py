from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import yaml

from agents.config import AgentConfig
from dlp_dyn import config, settings
from dlp_dyn.config import TrainConfig
from dlp_dyn.errors import InputError


@pytest.mark.parametrize("name", settings.names())
def test_saved_config_loads_back_equal(name: str, tmp_path: Path) -> None:
    cfg = config.load(name, ["data.path=x.h5", "lr=3e-4", "data.workers=2"])
    config.save(cfg, tmp_path / "config.yaml")
    assert config.read(tmp_path / "config.yaml") == cfg
    assert cfg.lr == 3e-4
    assert cfg.data.workers == 2


def test_saved_config_spells_out_every_value(tmp_path: Path) -> None:
    cfg = config.load("tiny", ["data.path=x.h5"])
    config.save(cfg, tmp_path / "config.yaml")
    text = (tmp_path / "config.yaml").read_text()
    assert all(f"{name}:" in text for name in ("seed", "max_grad_norm", "warm_up_steps", "patch_size"))


def test_growing_rollouts_of_an_earlier_version_still_grow(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("stage: dynamics\ndata: {path: x}\nphases: {later_frames_steps: 500}\n")
    assert config.read(file).phases.longer_rollouts_steps == 500
    file.write_text("data: {path: x}\nphases: {later_frames_steps: 500}\n")
    assert config.read(file).phases.longer_rollouts_steps == 0


def test_a_named_config_gets_a_run_folder_of_its_name() -> None:
    assert config.load("tiny", ["data.path=x"]).out == "runs/tiny"
    assert config.load("tiny", ["data.path=x", "out=elsewhere"]).out == "elsewhere"


def test_defaults_names_the_config_to_build_on(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text("lr: 0.5\nsteps: 7\noptimizer: {betas: [0.5, 0.6]}\n")
    (tmp_path / "child.yaml").write_text("defaults: parent\nsteps: 8\n")
    cfg = config.load(tmp_path / "child.yaml", ["data.path=x"])
    assert (cfg.lr, cfg.steps, cfg.optimizer.betas) == (0.5, 8, (0.5, 0.6))
    (tmp_path / "parent.yaml").write_text("defaults: child\n")
    with pytest.raises(InputError, match="circle"):
        config.load(tmp_path / "child.yaml", ["data.path=x"])


@pytest.mark.parametrize(
    ("overrides", "needles"),
    [
        (["stepz=3"], ["unknown key 'stepz'", "did you mean 'steps'?"]),
        (["model.n_particle=3"], ["unknown key 'model.n_particle'", "'n_particles'"]),
        (["steps=many"], ["steps is 'many'", "a whole number, 1 or more"]),
        (["steps=1.5"], ["steps is 1.5", "a whole number"]),
        (["optimizer.schedule=linear"], ["optimizer.schedule", "cosine"]),
        (["model=3"], ["overrides", "3"]),
        (["steps=0"], ["steps is 0", "1 or more"]),
        (["lr=-1"], ["lr is -1", "above 0"]),
        (["optimizer.betas=[0.1]"], ["overrides"]),
        (["data.stride=0"], ["data.stride is 0"]),
        (["optimizer.ema_decay=2"], ["optimizer.ema_decay is 2"]),
        (["ramps.kl_depth=[5, 2]"], ["ramps.kl_depth is [5, 2]", "first < last"]),
        (["ramps.nothing=[1, 2]"], ["ramps.nothing is no loss term"]),
        (["steps"], ["override 'steps'", "key=value"]),
        (["steps=[1"], ["steps=[1", "not readable"]),
        (["=3"], ["override '=3'"]),
    ],
)
def test_bad_overrides_are_named_in_one_line(overrides: list[str], needles: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        config.load("tiny", ["data.path=x", *overrides])
    message = str(caught.value)
    assert "\n" not in message
    for needle in needles:
        assert needle in message


def test_missing_data_path_says_what_to_add() -> None:
    with pytest.raises(InputError, match=r"data\.path is missing; add data\.path=VALUE"):
        config.load("pusht")
    with pytest.raises(InputError, match=r"data\.path is missing"):
        config.load("pusht", ["data.stride=2"])


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'tiny'"):
        config.load("tinyy")
    with pytest.raises(InputError, match=r"gone\.yaml: no such config file"):
        config.load(tmp_path / "gone.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("steps: [1\n")
    with pytest.raises(InputError, match=r"broken\.yaml: not readable as YAML"):
        config.load(broken)
    broken.write_text("- 1\n- 2\n")
    with pytest.raises(InputError, match="expected `key: value` lines"):
        config.load(broken)
    broken.write_text("model: {patch: 4}\n")
    with pytest.raises(InputError, match=r"broken\.yaml: unknown key 'model\.patch'"):
        config.load(broken)


def choices(cls: type) -> Iterator[tuple[str, object]]:
    """Every fixed choice of a config and of the configs inside it."""
    for name, kind in get_type_hints(cls).items():
        for part in (kind, *get_args(kind)):
            if is_dataclass(part):
                assert isinstance(part, type)
                yield from ((f"{name}.{inner}", choice) for inner, choice in choices(part))
            elif get_origin(part) is Literal:
                yield from ((name, choice) for choice in get_args(part))


@pytest.mark.parametrize(("name", "choice"), [*choices(TrainConfig), *choices(AgentConfig)])
def test_choices_may_be_typed_as_they_are(name: str, choice: object) -> None:
    """YAML takes `no`, `off` and `1e3` for other things than text."""
    assert yaml.safe_load(f"{name}: {choice}") == {name: choice}
