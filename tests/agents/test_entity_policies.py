"""Entity policies inside Stable-Baselines3: sets in, actions out, saved and loaded; what GoalTD3 adds to TD3."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC, TD3, HerReplayBuffer
from stable_baselines3.common.buffers import DictReplayBuffer
from torch import Tensor
from torch.testing import assert_close
from two_movers import HORIZON, TwoMovers

from agents.extractor import EntityExtractor
from agents.networks import EntityConfig
from agents.policies import EntityCritic, EntitySACPolicy, EntityTD3Policy
from agents.replay import GoalSamples
from agents.td3 import Exploration, GoalTD3
from dlp_dyn.errors import InputError

NETWORK = EntityConfig(dim=16, n_heads=2, hidden=(16,), head=(16,))
PAIRS = replace(NETWORK, interaction="pairs")
KINDS = [(GoalTD3, EntityTD3Policy), (SAC, EntitySACPolicy)]


def agent(kind: type, policy: type, **settings: Any) -> Any:
    return kind(
        policy, TwoMovers(), policy_kwargs={"network": NETWORK}, replay_buffer_class=HerReplayBuffer,
        learning_starts=2 * HORIZON, batch_size=16, buffer_size=500, train_freq=4, gradient_steps=1, seed=0,
        device="cpu", **settings,
    )  # fmt: skip


def observation(n: int = 8, m: int = 8, seed: int = 0, batch: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"observation": n, "achieved_goal": n, "desired_goal": m}
    return {key: rng.uniform(-1, 1, (batch, rows, 4)).astype(np.float32) for key, rows in shapes.items()}


def box(*shape: int) -> gym.spaces.Box:
    return gym.spaces.Box(-1, 1, shape, np.float32)


def tensors(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {key: torch.as_tensor(array) for key, array in arrays.items()}


@pytest.mark.parametrize(("kind", "policy"), KINDS)
def test_a_saved_agent_acts_the_same(kind: type, policy: type, tmp_path: Path) -> None:
    trained = agent(kind, policy).learn(4 * HORIZON)
    trained.save(tmp_path / "agent.zip")
    loaded = kind.load(tmp_path / "agent.zip", env=TwoMovers(), device="cpu")
    for seed in range(3):
        seen = observation(seed=seed)
        want, _ = trained.predict(seen, deterministic=True)
        assert_close(loaded.predict(seen, deterministic=True)[0], want, atol=0, rtol=0)
    for before, after in zip(trained.critic.parameters(), loaded.critic.parameters(), strict=True):
        assert_close(after, before, atol=0, rtol=0)
    before = loaded.num_timesteps
    loaded.set_env(TwoMovers())
    loaded.learning_starts = before + 2 * HORIZON  # the buffer was not saved
    loaded.learn(3 * HORIZON, reset_num_timesteps=False)
    assert loaded.num_timesteps > before


@pytest.mark.parametrize(("kind", "policy"), KINDS)
def test_a_policy_saved_alone_acts_the_same(kind: type, policy: type, tmp_path: Path) -> None:
    made = agent(kind, policy).policy
    made.save(tmp_path / "policy.pt")
    loaded = policy.load(tmp_path / "policy.pt", device="cpu")
    assert_close(
        loaded.predict(observation(), deterministic=True)[0],
        made.predict(observation(), deterministic=True)[0],
        atol=0, rtol=0,
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "policy"), KINDS)
def test_order_has_no_meaning_to_actor_and_critic(kind: type, policy: type) -> None:
    made = agent(kind, policy)
    rng = np.random.default_rng(5)
    seen = observation()
    dealt = {key: rows[:, rng.permutation(8)] for key, rows in seen.items()}
    want, _ = made.predict(seen, deterministic=True)
    assert_close(made.predict(dealt, deterministic=True)[0], want, atol=1e-5, rtol=0)
    actions = torch.rand(4, 4)
    for before, after in zip(
        made.critic(tensors(seen), actions), made.critic(tensors(dealt), actions), strict=True
    ):
        assert_close(after, before, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kind", "policy"), KINDS)
def test_more_entities_and_goals_than_trained_with(kind: type, policy: type, tmp_path: Path) -> None:
    """The sets of the observation space are larger, the weights the same; what is added is not there."""
    network = EntityConfig(dim=16, n_heads=2, hidden=(16,), head=(16,), mask_column=2)
    made = kind(policy, TwoMovers(), policy_kwargs={"network": network}, buffer_size=10, seed=0, device="cpu")
    made.save(tmp_path / "agent.zip")
    sizes = {"observation": 11, "achieved_goal": 11, "desired_goal": 9}
    larger = gym.spaces.Dict(
        {key: gym.spaces.Box(-1, 1, (rows, 4), np.float32) for key, rows in sizes.items()}
    )
    loaded = kind.load(tmp_path / "agent.zip", device="cpu", custom_objects={"observation_space": larger})
    few, many = observation(), observation(11, 9, seed=1)
    for key, rows in few.items():
        many[key][:, 8:, 2] = 0
        many[key][:, :8] = rows
    want, _ = made.predict(few, deterministic=True)
    assert_close(loaded.predict(many, deterministic=True)[0], want, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kind", "policy"), KINDS)
def test_critics_share_no_weight_with_each_other_or_the_actor(kind: type, policy: type) -> None:
    made = agent(kind, policy)
    made.critic.q1_forward(tensors(observation()), torch.rand(4, 4)).sum().backward()
    first = [*made.critic.transformers[0].parameters(), *made.critic.heads[0].parameters()]
    assert all(weight.grad is not None for weight in first)
    others = {id(w) for net in (made.actor, made.critic) for w in net.parameters()} - {id(w) for w in first}
    assert all(
        w.grad is None for net in (made.actor, made.critic) for w in net.parameters() if id(w) in others
    )
    values = made.critic(tensors(observation()), torch.rand(4, 4))
    assert len(values) == 2
    assert not torch.allclose(*values)


@pytest.mark.parametrize("flat", [False, True])
def test_features_for_ppo(flat: bool, tmp_path: Path) -> None:
    env = gym.wrappers.TransformObservation(
        TwoMovers(), lambda seen: seen["observation"], box(8, 4)
    ) if flat else TwoMovers()  # fmt: skip
    settings = {
        "features_extractor_class": EntityExtractor,
        "features_extractor_kwargs": {"network": NETWORK},
    }
    trained = PPO(
        "MlpPolicy" if flat else "MultiInputPolicy", env, n_steps=16, batch_size=16, n_epochs=1,
        policy_kwargs=settings, seed=0, device="cpu",
    ).learn(32)  # fmt: skip
    trained.save(tmp_path / "ppo.zip")
    seen = observation()["observation"] if flat else observation()
    want, _ = trained.predict(seen, deterministic=True)
    loaded = PPO.load(tmp_path / "ppo.zip", device="cpu")
    assert_close(loaded.predict(seen, deterministic=True)[0], want, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (box(12), r"the observation is \(12,\), not a set of entities"),
        (gym.spaces.Discrete(3), "the observation is Discrete, not a set"),
        (gym.spaces.Dict(pixels=box(3, 8, 8)), "has keys pixels; the set is looked for in 'observation'"),
        (gym.spaces.Dict(observation=box(3, 8, 8)), r"'observation' is \(3, 8, 8\), not a set"),
        (gym.spaces.Dict(observation=box(8, 4), desired_goal=box(3)), r"'desired_goal' is \(3,\), not a set"),
        (
            gym.spaces.Dict(observation=box(8, 4), desired_goal=box(8, 5)),
            "have 4 columns, those of 'desired_goal' 5",
        ),
    ],
)
def test_spaces_without_sets_are_refused(space: gym.Space, message: str) -> None:
    with pytest.raises(InputError, match=message):
        EntityExtractor(space, NETWORK)


def buffer_of(env: TwoMovers, rows: int, kind: type[DictReplayBuffer] = DictReplayBuffer) -> DictReplayBuffer:
    """A buffer filled at random, whose draws come from numpy's global generator."""
    assert isinstance(env.observation_space, gym.spaces.Dict)
    buffer = kind(rows, env.observation_space, env.action_space, device="cpu")
    rng = np.random.default_rng(0)
    for row in range(rows):
        actions, rewards = rng.uniform(-1, 1, (1, 4)), -rng.random(1)
        seen, later = observation(seed=row, batch=1), observation(seed=row + 1, batch=1)
        buffer.add(seen, later, actions, rewards, np.zeros(1), [{}])
    return buffer


class Moved(DictReplayBuffer):
    """Goals in which things have gone elsewhere; the first half of a sample has them in the rows of the things."""

    def sample(self, *args: Any, **kwargs: Any) -> Any:
        batch = super().sample(*args, **kwargs)
        seen = batch.observations["observation"]
        goal = torch.cat([2 * torch.rand_like(seen[..., :2]) - 1, seen[..., 2:]], -1)
        half = torch.arange(len(seen)) < len(seen) // 2
        goal = torch.where(half[:, None, None], goal, goal.flip(1))
        now, later = ({**x, "desired_goal": goal} for x in (batch.observations, batch.next_observations))
        unknown = torch.full_like(batch.rewards, torch.inf)
        return GoalSamples(now, batch.actions, later, batch.dones, batch.rewards, unknown, half)


def trained_on_random(
    kind: type,
    steps: int,
    calls: int = 1,
    network: EntityConfig = NETWORK,
    buffer: type[DictReplayBuffer] = DictReplayBuffer,
    **settings: Any,
) -> Any:
    env = TwoMovers()
    made = kind(
        EntityTD3Policy,
        env,
        policy_kwargs={"network": network},
        buffer_size=10,
        seed=0,
        device="cpu",
        **settings,
    )
    made.set_logger(made_logger())
    made.replay_buffer = buffer_of(env, 64, buffer)
    np.random.seed(0)
    torch.manual_seed(0)
    for _ in range(calls):
        made.train(steps, 16)
    return made


def made_logger() -> Any:
    return SimpleNamespace(record=lambda *_args, **_kwargs: None)


def weights(agent: Any) -> list[Tensor]:
    nets = (agent.actor, agent.critic, agent.actor_target, agent.critic_target)
    return [weight.detach() for net in nets for weight in net.parameters()]


def test_without_its_extras_goal_td3_is_td3() -> None:
    ours, theirs = trained_on_random(GoalTD3, 4), trained_on_random(TD3, 4)
    for mine, other in zip(weights(ours), weights(theirs), strict=True):
        assert_close(mine, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("extra", [{"action_l2": 1.0}, {"q_range": (-0.1, 0.0)}, {"imitation": 1.0}], ids=str)
def test_every_extra_changes_what_is_learnt(extra: dict[str, Any]) -> None:
    plain, changed = trained_on_random(GoalTD3, 4), trained_on_random(GoalTD3, 4, **extra)
    assert any(
        not torch.allclose(a, b, atol=1e-5) for a, b in zip(weights(plain), weights(changed), strict=True)
    )


def test_targets_move_once_a_cycle() -> None:
    """As far as tau takes them, from where they were to where the networks have got."""
    fresh = trained_on_random(GoalTD3, 0)
    after = trained_on_random(GoalTD3, 6, target_update="cycle", tau=0.25)
    for net in ("critic", "actor"):
        start, now = getattr(fresh, net).parameters(), getattr(after, net).parameters()
        target = getattr(after, f"{net}_target").parameters()
        for a, b, c in zip(start, now, target, strict=True):
            assert_close(c, 0.75 * a + 0.25 * b)


def test_target_values_stay_in_their_range() -> None:
    made = trained_on_random(GoalTD3, 0, q_range=(-0.3, -0.1))
    batch = made.replay_buffer.sample(64)
    target = made._target(batch._replace(rewards=100 * batch.rewards + 50))
    assert target.min().item() == pytest.approx(-0.3)
    assert target.max().item() == pytest.approx(-0.1)


def test_values_are_no_less_than_what_the_episode_went_on_to_get() -> None:
    """Three steps to a goal cost two rewards of -1; a goal that was never reached bounds nothing."""
    made = trained_on_random(GoalTD3, 0, lower_bound=True, gamma=0.9)
    batch = made.replay_buffer.sample(3)
    steps = torch.tensor([[1.0], [3.0], [torch.inf]])
    low = torch.full((3, 1), -50.0)
    worst = GoalSamples(
        batch.observations, batch.actions, batch.next_observations, batch.dones, low, steps, steps[:, 0] > 0
    )
    target = made._target(worst)
    assert target[:2, 0].tolist() == pytest.approx([0.0, -1.9])
    assert target[2, 0] == pytest.approx(-10.0)  # the least that is possible
    good = made._target(worst._replace(rewards=torch.full((3, 1), 50.0)))
    assert good.min() > 40


@pytest.mark.parametrize("interaction", ["attention", "pairs"])
def test_each_object_has_a_value_that_goes_with_it(interaction: Any) -> None:
    """Eight things, of which the last three have goals: in another order their values are in that order."""
    network = replace(NETWORK, interaction=interaction, values="each")
    space = gym.spaces.Dict({"observation": box(8, 4), "desired_goal": box(3, 4)})
    critic = EntityTD3Policy(space, box(4), lambda _: 1e-3, network).critic
    assert isinstance(critic, EntityCritic)
    seen, actions = tensors(observation(m=3)), torch.zeros(4, 4)
    values = critic(seen, actions)
    assert [tuple(v.shape) for v in values] == [(4, 3), (4, 3)]
    assert_close(critic.q1_forward(seen, actions), values[0].mean(1, keepdim=True))
    order = torch.tensor([2, 0, 1])
    turned = {
        "observation": torch.cat([seen["observation"][:, :5], seen["observation"][:, 5:][:, order]], 1),
        "desired_goal": seen["desired_goal"][:, order],
    }
    for now, then in zip(values, critic(turned, actions), strict=True):
        assert_close(then, now[:, order])
    assert values[0].std(1).min() > 1e-4  # and they are not all alike
    assert len(critic({**seen, "desired_goal": seen["desired_goal"][:, :2]}, actions)[0][0]) == 2


def test_each_value_learns_from_its_own_object() -> None:
    """Targets have the reward of the object, and are no less than what the episode went on to get for it."""
    network = replace(NETWORK, interaction="pairs", values="each")
    space = gym.spaces.Dict({"observation": box(8, 4), "desired_goal": box(2, 4)})
    made = trained_on_random(GoalTD3, 0, lower_bound=True, gamma=0.9)
    made.policy = EntityTD3Policy(space, box(4), lambda _: 1e-3, network)
    made.actor_target, made.critic_target = made.policy.actor_target, made.policy.critic_target
    seen, rewards = tensors(observation(m=2)), torch.tensor([[0.0, -1.0]] * 4)
    del seen["achieved_goal"]
    ended, unknown = torch.ones(4, 1), torch.full((4, 1), torch.inf)
    batch = GoalSamples(
        seen, torch.zeros(4, 4), seen, ended, rewards, unknown, torch.ones(4, dtype=torch.bool)
    )
    assert_close(made._target(batch), rewards)
    steps = torch.tensor([[1.0], [1.0], [2.0], [torch.inf]])
    raised = made._target(batch._replace(steps=steps, rewards=rewards - 1))  # (-1, -2)
    wanted = torch.tensor([[0.0, 0.0], [0.0, 0.0], [-1.0, -1.0], [-1.0, -2.0]])
    assert_close(raised, wanted)


@pytest.mark.parametrize(
    ("goal", "message"), [(None, "there are no goals"), (box(9, 4), "9 goals, but 8 entities")]
)
def test_values_of_each_need_an_entity_for_every_goal(goal: Any, message: str) -> None:
    goals = {} if goal is None else {"desired_goal": goal}
    space = gym.spaces.Dict({"observation": box(8, 4), **goals})
    with pytest.raises(InputError, match=message):
        EntityTD3Policy(space, box(4), lambda _: 1e-3, replace(NETWORK, values="each"))


def test_what_is_known_of_identity_is_learned_by_actor_and_critic() -> None:
    """Errors of matching fall with it in all three networks; goals whose rows say nothing are not asked for."""
    plain, told = (
        trained_on_random(
            GoalTD3, 60, identity=weight, policy_delay=1, learning_rate=5e-3, network=PAIRS, buffer=Moved
        )
        for weight in (0.0, 1.0)
    )
    errors = []
    batch = told.replay_buffer.sample(64)
    for made in (plain, told):
        seen, goal = (batch.observations[key][batch.same_rows] for key in ("observation", "desired_goal"))
        networks = [made.actor.features_extractor.transformer, *made.critic.transformers]
        errors.append([net.matching_error(seen, goal).mean().item() for net in networks])
    assert all(new < old - 0.25 for old, new in zip(*errors, strict=True))
    unknown = batch._replace(same_rows=torch.zeros(64, dtype=torch.bool))
    assert told._mismatch(told.critic, unknown) == 0
    assert told._mismatch(told.critic, batch) > 0


def test_the_penalty_keeps_actions_small() -> None:
    """With a weight that outweighs every value, actions go to zero."""
    plain, penalised = (
        trained_on_random(GoalTD3, 20, action_l2=weight, policy_delay=1, learning_rate=3e-3)
        for weight in (0.0, 100.0)
    )
    size = [np.abs(made.predict(observation(batch=32))[0]).mean() for made in (plain, penalised)]
    assert size[1] < 0.02 < size[0]


def test_the_actor_leaves_the_critic_alone() -> None:
    made = trained_on_random(GoalTD3, 0)
    before = [weight.clone() for weight in made.critic.parameters()]
    batch = made.replay_buffer.sample(16)
    made._improve_actor(batch)
    for weight, old in zip(made.critic.parameters(), before, strict=True):
        assert weight.requires_grad
        assert weight.grad is None
        assert_close(weight, old, atol=0, rtol=0)


@pytest.mark.parametrize(("step", "factor"), [(0, 1.0), (100, 1.0), (150, 0.75), (200, 0.5), (900, 0.5)])
def test_exploration_falls_to_its_final_part(step: int, factor: float) -> None:
    assert Exploration(final=0.5, decay_from=100, decay_to=200).factor(step) == pytest.approx(factor)
    assert Exploration().factor(step) == 1.0


def explored(exploration: Exploration, n_envs: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Actions of a policy in many environments that see the same, and the action without noise."""
    made = agent(GoalTD3, EntityTD3Policy, exploration=exploration)
    made.num_timesteps = 1000
    made._last_obs = {key: np.repeat(rows, n_envs, 0) for key, rows in observation(batch=1).items()}
    _, scaled = made._sample_action(0, None, n_envs)
    # Of as many: to the last bit, what a batch gives depends on its size.
    return scaled, made.predict(made._last_obs)[0][0]


def test_exploration_draws_what_it_says() -> None:
    noisy, action = explored(Exploration(epsilon=0.0, sigma=0.1))
    assert_close(noisy.mean(0), action, atol=0.01, rtol=0)
    assert_close(noisy.std(0), np.full(4, 0.1, np.float32), atol=0.01, rtol=0)
    mixed, _ = explored(Exploration(epsilon=0.3, sigma=0.0))
    assert (mixed != action).any(1).mean() == pytest.approx(0.3, abs=0.03)
    uniform, _ = explored(Exploration(epsilon=1.0))
    assert_close(uniform.std(0), np.full(4, 3**-0.5, np.float32), atol=0.02, rtol=0)
    assert np.abs(uniform).max() <= 1


@pytest.mark.parametrize("settings", [{"epsilon": 1.5}, {"sigma": -0.1}])
def test_bad_exploration(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"exploration\.(epsilon|sigma) is"):
        Exploration(**settings)
