"""Exported agents act as they did here, in batches of any size, from pictures where they see particles."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents import checkpoint, environments, export, train
from agents.config import AgentConfig
from dlp_dyn.data.collect import collect

Push = Callable[..., AgentConfig]


def shown(found: checkpoint.Checkpoint, encoder: Any, n: int) -> tuple[Any, list[np.ndarray]]:
    """What `n` environments show the agent, and the inputs of its exported form."""
    env = environments.make(found.cfg, n, encoder)
    env.seed(1)
    seen = env.reset()
    for _ in range(2):
        seen, *_ = env.step(np.stack([env.action_space.sample() for _ in range(n)]))
    keys = list(seen) if isinstance(seen, dict) else [""]
    if encoder is not None:
        names = found.cfg.observation.images
        return seen, [np.stack([raw[names[key]] for raw in env.raw]) for key in found.spaces[0].spaces]  # type: ignore[attr-defined]
    return seen, [seen[key] for key in found.spaces[0].spaces] if keys != [""] else [seen]  # type: ignore[attr-defined]


AGENTS = {
    "td3": ("state", []),
    "sac": ("state", ["algorithm.kind=sac"]),
    "ppo": ("state", ["algorithm.kind=ppo", "algorithm.ppo.n_steps=16"]),
    "flow": ("state", ["algorithm.kind=flow", "algorithm.flow.block=2", "algorithm.flow.steps=2"]),
    "particles": ("particles", []),
    "pixels": ("pixels", ["algorithm.buffer_size=90"]),
}
# Each takes many seconds; what another agent of the list shares with it is seen there.
DEAR = {("flow", ".onnx"), ("particles", ".onnx"), ("particles", ".pt2"), ("sac", ".onnx"), ("ppo", ".onnx")}


@pytest.fixture(scope="module")
def trained() -> dict[str, Path]:
    """Run folders by agent, trained once for both forms."""
    return {}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        pytest.param(name, suffix, marks=[pytest.mark.slow] if (name, suffix) in DEAR else [])
        for name in AGENTS
        for suffix in (".pt2", ".onnx")
    ],
)
def test_actions_are_those_of_the_agent(
    push: Push, trained: dict[str, Path], name: str, suffix: str, tmp_path: Path
) -> None:
    if name not in trained:
        kind, overrides = AGENTS[name]
        if name == "flow":
            collect("envs:Push-v0", tmp_path / "x.h5", episodes=3, max_steps=4)
            overrides = [*overrides, f"data.path={tmp_path / 'x.h5'}"]
        few = ["steps=60", "warm_up.steps=30", "eval_every=1000"]
        trained[name] = train.train(push(*few, *overrides, kind=kind))
    found = checkpoint.find(trained[name])
    encoder, out = found.load_encoder(), tmp_path / f"agent{suffix}"
    export.export(found, encoder, out)
    policy = checkpoint.load(found)
    for n in (1, 3):
        seen, inputs = shown(found, encoder, n)
        expected = policy.predict(seen, deterministic=True)[0]  # type: ignore[operator]
        if suffix == ".onnx":
            onnxruntime = pytest.importorskip("onnxruntime")
            session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
            names = [i.name for i in session.get_inputs()]
            assert names == (["desired_goal", "observation"] if len(inputs) == 2 else ["observation"])
            (found_action,) = session.run(["action"], dict(zip(names, inputs, strict=True)))
        else:
            program = torch.export.load(out)
            found_action = program.module()(*map(torch.as_tensor, inputs)).detach().numpy()
        np.testing.assert_allclose(found_action, expected, atol=1e-4)


def test_what_cannot_be_exported_is_one_line(push: Push, tmp_path: Path, capsys: Any) -> None:
    run = train.train(push("observation.track=true", "network.kind=flat", "steps=60", "warm_up.steps=60"))
    capsys.readouterr()
    for words, message in (
        ([str(run), "--out", "agent.pth"], "use one of .onnx, .pt2"),
        ([str(run), "--out", str(tmp_path / "agent.onnx")], "remembers earlier steps"),
        ([str(tmp_path), "--out", "x.onnx"], "holds no agent"),
    ):
        assert export.main(words) == 2
        said = capsys.readouterr().err.strip()
        assert message in said
        assert "\n" not in said
