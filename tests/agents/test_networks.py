"""Laws of networks on entities: sets without order, absent entities, the action among them, ECRL's sizes."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from agents import config
from agents.attention import Attention, attend
from agents.extractor import entity_network
from agents.networks import EntityConfig, EntityTransformer, present_rows
from agents.pairs import EntityPairs
from dlp_dyn.errors import InputError

DIM, MASK = 7, 5
SMALL = EntityConfig(dim=16, n_heads=2, hidden=(24,), mask_column=MASK)
KINDS = (SMALL, replace(SMALL, interaction="pairs"))


def transformer(
    cfg: EntityConfig = SMALL, action_dim: int | None = None, has_goal: bool = True
) -> EntityTransformer | EntityPairs:
    torch.manual_seed(0)
    network = entity_network(cfg, DIM, has_goal=has_goal, action_dim=action_dim)
    with torch.no_grad():  # nothing that a fresh network hides by being nearly zero
        for weight in network.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return network


def entities(batch: int, n: int, seed: int = 1, on: float = 0.7) -> Tensor:
    """Random ones, of which the share `on` is present; the first always is."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, n, DIM, generator=generator)
    x[..., MASK] = (torch.rand(batch, n, generator=generator) < on).float()
    x[:, 0, MASK] = 1.0
    return x


def shuffled(x: Tensor) -> Tensor:
    return torch.stack([row[torch.randperm(len(row))] for row in x])


ACTIONS = 2 * torch.rand(6, 3, generator=torch.Generator().manual_seed(2)) - 1


@pytest.fixture(
    params=[(cfg, role) for cfg in KINDS for role in ("actor", "critic")],
    ids=lambda p: f"{p[0].interaction}-{p[1]}",
)
def network(request: pytest.FixtureRequest):
    """A function of (entities, goal), with or without an action."""
    cfg, role = request.param
    action_dim = 3 if role == "critic" else None
    action = ACTIONS if action_dim else None
    net = transformer(cfg, action_dim=action_dim)
    return lambda x, goal: net(x, goal, action)


def test_order_of_entities_and_goals_has_no_meaning(network) -> None:
    x, goal = entities(6, 8), entities(6, 5, seed=3)
    assert_close(network(shuffled(x), shuffled(goal)), network(x, goal), atol=1e-5, rtol=0)


def test_absent_entities_have_no_influence(network) -> None:
    x, goal = entities(6, 8), entities(6, 5, seed=3)
    for which in (x, goal):
        before = network(x, goal)
        absent = which[..., MASK] < 0.5
        which[absent] = 100 * torch.randn_like(which[absent])
        which[..., MASK] = torch.where(absent, 0.0, which[..., MASK])
        assert_close(network(x, goal), before, atol=1e-5, rtol=0)


def test_rows_of_absent_entities_are_left_out_and_change_nothing(network, monkeypatch) -> None:
    """Sets of two at most among eight rows, in any of them."""
    x, goal = entities(6, 8, on=0.0), entities(6, 5, seed=3, on=0.0)
    x[1, 6, MASK] = goal[2, 3, MASK] = 1.0
    x, goal = shuffled(x), shuffled(goal)
    kept = present_rows(x, MASK)
    assert kept.shape == (6, 2, DIM)
    assert_close(kept[..., MASK].sum(1), x[..., MASK].sum(1))
    assert present_rows(x, None) is x
    short = network(x, goal)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert present_rows(x, MASK) is x
    assert_close(network(x, goal), short, atol=1e-5, rtol=0)


def test_entities_that_were_cut_off_are_as_good_as_absent(network) -> None:
    x, goal = entities(6, 8), entities(6, 5, seed=3)
    x[:, 6:, MASK] = goal[:, 3:, MASK] = 0
    assert_close(network(x[:, :6], goal[:, :3]), network(x, goal), atol=1e-5, rtol=0)


def test_present_entities_and_goals_have_influence(network) -> None:
    x, goal = entities(6, 8), entities(6, 5, seed=3)
    before = network(x, goal)
    for moved in ((x + 0.5 * _first(x), goal), (x, goal + 0.5 * _first(goal))):
        assert ((network(*moved) - before).abs().amax(1) > 1e-3).all()


def _first(x: Tensor) -> Tensor:
    """One in the first column of the first entity."""
    return F.one_hot(torch.zeros(x.shape[:2], dtype=torch.long), DIM) * F.one_hot(
        torch.zeros(x.shape[0], dtype=torch.long), x.shape[1]
    ).unsqueeze(-1)


@pytest.mark.parametrize("cfg", KINDS, ids=lambda cfg: cfg.interaction)
@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize("action_dim", [None, 3])
def test_a_set_without_anything_is_the_empty_set(
    cfg: EntityConfig, batch: int, action_dim: int | None
) -> None:
    net = transformer(cfg, action_dim=action_dim)
    nothing, goal = entities(batch, 8), entities(batch, 5, seed=3)
    nothing[..., MASK] = 0
    goal[-1, :, MASK] = 0  # a batch in which only some have no goal
    outs = []
    for scale in (1, 100):
        x = (scale * nothing).requires_grad_()
        out = net(x, goal, ACTIONS[:batch] if action_dim else None)
        out.sum().backward()
        assert out.isfinite().all()
        assert x.grad is not None
        assert not x.grad.any()
        assert all(weight.grad is None or weight.grad.isfinite().all() for weight in net.parameters())
        outs.append(out.detach())
    assert_close(outs[0], outs[1], atol=0, rtol=0)


@pytest.mark.parametrize("n", [1, 3, 20])
def test_any_number_of_entities_and_goals(n: int) -> None:
    net = transformer(action_dim=3)
    assert net(entities(6, n), entities(6, 2 * n), ACTIONS).shape == (6, 2 * SMALL.dim)


def test_a_third_entity_like_the_second_changes_nothing_of_pairs() -> None:
    """The strongest answer counts, not a mean or a sum: what was learnt of two holds for more."""
    net = transformer(replace(KINDS[1], n_heads=1))
    assert isinstance(net, EntityPairs)
    with torch.no_grad():
        net.score.weight.zero_()  # a mean over entities: the only thing that could tell
    x = entities(6, 1, seed=5)
    assert_close(net(x.expand(-1, 3, -1), x), net(x, x), atol=1e-5, rtol=0)


def test_a_row_does_not_see_its_neighbours(network) -> None:
    """Sets go through the attention in pairs."""
    x, goal = entities(6, 8), entities(6, 5, seed=3)
    before = network(x, goal)
    x[3:], goal[3:] = entities(3, 8, seed=7), entities(3, 5, seed=8)
    assert_close(network(x, goal)[:3], before[:3], atol=1e-6, rtol=0)


def test_the_action_reaches_the_set_through_attention() -> None:
    """Read from the set's own query alone, and not from the action's: gone when tokens cannot look at the action."""
    net = transformer(action_dim=3)
    x, goal = entities(6, 8), entities(6, 5, seed=3)
    action = ACTIONS.clone().requires_grad_()
    net(x, goal, action)[:, : SMALL.dim].square().sum().backward()
    assert action.grad is not None
    assert (action.grad.abs().amax(1) > 1e-4).all()


def test_the_goal_is_looked_at_by_entities_only_through_attention() -> None:
    """Without keys in the goal it is as if every entity had seen nothing."""
    net = transformer()
    x, goal = entities(6, 8), entities(6, 5, seed=3)
    goal[..., MASK] = 0
    assert_close(
        net(x, goal), net(x, goal + torch.randn(6, 5, 1) * (torch.arange(DIM) != MASK)), atol=0, rtol=0
    )


@pytest.mark.parametrize(("n_queries", "n_keys"), [(9, 9), (9, 4), (1, 8)])
@pytest.mark.parametrize("batch", [4, 5])  # in pairs, and one by one
def test_attention_is_the_textbook_formula(n_queries: int, n_keys: int, batch: int) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(batch, n, 12, dtype=torch.float64) for n in (n_queries, n_keys, n_keys))
    mask = torch.rand(batch, n_keys) < 0.6
    mask[:, 0], mask[1] = True, False
    heads = []
    for h in range(3):
        part = slice(4 * h, 4 * h + 4)
        weights = (q[..., part] @ k[..., part].mT / 2).exp() * mask[:, None]
        heads.append((weights / weights.sum(-1, keepdim=True).clamp_min(1e-300)) @ v[..., part])
    assert_close(attend(q, k, v, mask, 3), torch.cat(heads, -1))


def test_attention_to_oneself_is_attention_to_a_context_that_is_oneself() -> None:
    attention, x = Attention(12, 3), torch.randn(4, 5, 12)
    assert_close(attention(x), attention(x, x))


def test_ecrls_numbers_of_parameters() -> None:
    """0.617 and 0.650 million: 9 columns, 3 actions, behind which a perceptron of three layers."""
    ecrl = config.load("ecrl", ["observation.encoder=runs/any"]).network.entity
    actor = EntityTransformer(ecrl, 9, has_goal=True)
    critic = EntityTransformer(ecrl, 9, has_goal=True, action_dim=3)
    for net, inputs, outputs, millions in ((actor, 64, 3, 0.617), (critic, 128, 1, 0.650)):
        sizes = [inputs, *ecrl.head, outputs]
        head = sum((before + 1) * after for before, after in pairwise(sizes))
        assert round((sum(weight.numel() for weight in net.parameters()) + head) / 1e6, 3) == millions


def test_hard_matching_takes_one_goal_as_it_is_and_learns_which() -> None:
    """A goal that nobody is matched with changes nothing; attention still gets a gradient. Nothing absent is chosen."""
    soft = transformer(replace(SMALL, interaction="pairs"))
    hard = transformer(replace(SMALL, interaction="pairs", matching="hard"))
    x, goal = entities(1, 3, on=1.0), entities(1, 6, seed=3, on=1.0)
    assert isinstance(hard, EntityPairs)
    assert isinstance(hard.query, torch.nn.Linear)
    assert hard.key is not None
    taken = (hard.query(x) @ hard.key(goal).mT).argmax(-1)[0].tolist()
    left = next(i for i in range(6) if i not in taken)
    other = goal.clone()
    other[0, left] *= 0.99
    assert torch.equal(hard(x, other), hard(x, goal))
    assert not torch.equal(soft(x, other), soft(x, goal))
    only = goal[:, taken[0] : taken[0] + 1]
    assert_close(hard(x[:, :1], goal), hard(x[:, :1], only))
    assert (soft(x[:, :1], goal) - soft(x[:, :1], only)).abs().max() > 1e-3
    hard(x, goal).square().sum().backward()
    assert hard.query.weight.grad is not None
    assert hard.query.weight.grad.abs().max() > 0
    absent = goal.clone()
    absent[..., MASK] = 0
    assert torch.equal(hard(x, absent), hard(x, 2 * absent))


def test_the_error_of_matching_counts_what_is_there() -> None:
    """The last five entities have goals; of those the absent ones, and entities that are absent, are not asked for."""
    net = transformer(replace(SMALL, interaction="pairs"))
    assert isinstance(net, EntityPairs)
    x, goal = entities(8, 7), entities(8, 5, seed=3)
    expected = []
    for seen, wanted in zip(x, goal, strict=True):
        there = wanted[:, MASK] > 0
        alike = net._alike(seen[None], wanted[None, there])[0].log_softmax(-1)
        own = [
            -alike[2 + row, place].item()
            for place, row in enumerate(there.nonzero()[:, 0].tolist())
            if seen[2 + row, MASK] > 0
        ]
        expected.append(sum(own) / max(1, len(own)))
    assert_close(net.matching_error(x, goal), torch.tensor(expected))
    nothing = goal.clone()
    nothing[..., MASK] = 0
    assert net.matching_error(x, nothing).tolist() == [0.0] * 8


def test_learns_from_rows_which_goal_belongs_to_whom() -> None:
    """From goals in the rows of their things, in colours; then in other rows the right ones are found."""
    torch.manual_seed(0)
    cfg = EntityConfig(dim=32, n_heads=2, interaction="pairs")
    net = EntityPairs(cfg, 5, has_goal=True)
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    colour = torch.eye(3).expand(256, -1, -1)

    def drawn() -> Tensor:
        return torch.cat([2 * torch.rand(256, 3, 2) - 1, colour], -1)

    for _ in range(150):
        loss = net.matching_error(drawn(), drawn()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    order = torch.tensor([2, 0, 1])
    found = net._alike(drawn(), drawn()[:, order]).argmax(-1)
    assert (order[found] == torch.arange(3)).float().mean() > 0.99


def test_learns_which_goal_belongs_to_whom() -> None:
    """Where the rightmost of three things has to go: guessing without the colours leaves a loss of 1/3 or more."""
    torch.manual_seed(0)
    net = EntityTransformer(EntityConfig(dim=32, n_heads=2, hidden=(32,)), 5, has_goal=True)
    read = torch.nn.Linear(32, 2)
    optimizer = torch.optim.Adam([*net.parameters(), *read.parameters()], 2e-3, fused=True)
    colour = torch.eye(3).expand(64, -1, -1)
    losses = []
    for _ in range(250):
        places, goals = 2 * torch.rand(2, 64, 3, 2) - 1
        order = torch.randperm(3)
        x, goal = torch.cat([places, colour], -1), torch.cat([goals, colour], -1)[:, order]
        offset = (goals - places)[torch.arange(64), places[..., 0].argmax(1)]
        loss = F.mse_loss(read(net(x, goal)), offset)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) / 20 < 0.1


def test_without_a_goal_entities_attend_to_one_another_only() -> None:
    net = transformer(replace(SMALL, mask_column=None), has_goal=False)
    x = entities(6, 8)
    assert_close(net(shuffled(x)), net(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 30, "n_heads": 4}, "network: dim is 30 with 4 heads"),
        ({"n_layers": 0}, "n_layers is 0"),
        ({"matching": "hard"}, "give interaction=pairs"),
        ({"mask_column": -1}, "mask_column is -1"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        EntityConfig(**settings)


@pytest.mark.parametrize("network", [EntityTransformer, EntityPairs])
def test_a_mask_column_that_is_not_there(network: type[EntityTransformer | EntityPairs]) -> None:
    with pytest.raises(InputError, match="mask_column is 5, entities have 4 columns"):
        network(SMALL, 4, has_goal=False)
