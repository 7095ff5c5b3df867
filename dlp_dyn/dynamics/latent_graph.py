"""LatentGraphDynamics: tracked particles that a graph network moves by latent actions of their own."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal

from dlp_dyn.dynamics.base import NOTHING, Conditions, Dynamics, LatentActions, Prediction, Step
from dlp_dyn.dynamics.config import DynamicsConfig
from dlp_dyn.dynamics.graph import GraphDynamics
from dlp_dyn.dynamics.messages import MessagePassing, Nodes, nodes_of_all, nodes_of_last
from dlp_dyn.errors import InputError
from dlp_dyn.nn import mlp, zero_last
from dlp_dyn.particles import Draw, Scene, mean, normal, rsample
from dlp_dyn.tree import tree_map


class LatentContext(MessagePassing):
    """What led to a frame, and what may follow: the heads of LPWM (arXiv 2603.04553) on messages between particles."""

    def __init__(self, cfg: DynamicsConfig, feature_dim: int, background_dim: int) -> None:
        super().__init__(cfg, feature_dim, background_dim, cfg.action_dim)
        hidden, width = cfg.graph.hidden_dim, 2 * cfg.latent_actions.latent_dim
        self.posterior, self.policy = (
            zero_last(mlp([hidden, hidden, width]), [0.0] * width) for _ in range(2)
        )

    def forward(self, nodes: Nodes, action: Float[Tensor, "B A"] | None) -> tuple[Normal, Normal]:
        """Of every particle, and then of the background. action: that leaves the frame."""
        told = self.tell(nodes, action)
        tokens = torch.cat([told.particles, told.background[:, None]], 1)
        posterior, policy = (head(tokens).chunk(2, -1) for head in (self.posterior, self.policy))
        return normal(*posterior), normal(*policy)


@dataclass
class Ahead:
    """What the steps of a rollout hand on.

    latent: given latent actions, that leave the window's last frame and later ones; None for none. ask: the policy
    too, which stands in where they are NaN.
    """

    latent: Float[Tensor, "B K M L"] | None = None
    ask: bool = False


class LatentGraphDynamics(Dynamics):
    """A stochastic world model of tracked particles: latent actions as LPWM has them, graph networks as trunks.

    All that is random about a future are the latent actions, one for every particle and one for the background. Of a
    frame, the posterior tells from the motion that led to it which they were, the policy which may come. The
    environment's actions move particles as in a graph network, so that latent actions are left with what those do not
    tell (in LPWM itself, actions steer the policy alone). Equivariant to the order of particles, fit for any number.
    """

    any_number = True
    random = True

    def __init__(self, cfg: DynamicsConfig, feature_dim: int, background_dim: int) -> None:
        super().__init__()
        self.window, self.unit = cfg.window, cfg.graph.motion_scale
        self.context = LatentContext(cfg, feature_dim, background_dim)
        self.dynamics = GraphDynamics(cfg, feature_dim, background_dim, cfg.latent_actions.latent_dim)

    def heads(self, scenes: Scene, conditions: Conditions = NOTHING, first: int = 0) -> tuple[Normal, Normal]:
        """Posterior and policy of the frames from `first` on. An action that is missing counts as the mean one."""
        nodes = nodes_of_all(scenes, self.window, self.unit).map(lambda x: x[:, first:])
        b, t = nodes.background.shape[:2]
        actions = self._actions(conditions, b, first, first + t)
        both = self.context(nodes.map(lambda x: x.flatten(0, 1)), actions)
        posterior, policy = (tree_map(lambda x: x.unflatten(0, (b, t)), head) for head in both)
        return posterior, policy

    def forward(self, scenes: Scene, conditions: Conditions = NOTHING, sample: Draw = rsample) -> Prediction:
        """Of frames 0 .. U: distributions of frames 1 .. U, and the latent actions that lead there.

        sample: of the posterior, which sees the frame that a latent action leads to.
        """
        posterior, policy = self.heads(scenes, conditions)
        drawn = sample(posterior)[:, 1:]
        latent = LatentActions(
            drawn, tree_map(lambda x: x[:, :-1], policy), tree_map(lambda x: x[:, 1:], posterior)
        )
        nodes = nodes_of_all(scenes[:, :-1], self.window, self.unit)
        b, t = nodes.background.shape[:2]
        actions = self._actions(conditions, b, 0, t)
        following = self.dynamics.following(
            nodes.map(lambda x: x.flatten(0, 1)), actions, drawn.flatten(0, 1)
        )
        return Prediction(following.map(lambda x: x.unflatten(0, (b, t))), latent=latent)

    @torch.no_grad()
    def infer(self, scenes: Scene, conditions: Conditions = NOTHING) -> Float[Tensor, "B U M L"]:
        """The mean latent actions between the frames of a clip of any length; `[:, t]` leaves frame t."""
        return self.heads(scenes, conditions)[0].mean[:, 1:]

    def start(
        self,
        scenes: Scene,
        conditions: Conditions = NOTHING,
        latent: Float[Tensor, "B K M L"] | None = None,
    ) -> Ahead:
        """The state of a rollout that goes on from the last of these frames.

        latent: from the first frame on; those that reach beyond the last frame are used before the policy is asked,
        and where they are NaN it is asked too. Raises InputError for fewer than lead from frame to frame.
        """
        super().start(scenes, conditions)
        n_frames = scenes.background.shape[1]
        if latent is None:
            return Ahead()
        if latent.shape[1] < n_frames - 1:
            raise InputError(
                f"{latent.shape[1]} latent actions for {n_frames} frames: give the {n_frames - 1} between them, or more"
            )
        ahead = latent[:, n_frames - 1 :]
        return Ahead(ahead, bool(ahead.isnan().any()))

    def step(self, scenes: Scene, conditions: Conditions, state: Ahead, sample: Draw = mean) -> Step:
        """Of the frame after the last, moved by the latent actions in the state or, beyond them, by the policy's.

        sample: of the policy; given latent actions, the mean follows.
        """
        nodes = nodes_of_last(scenes, self.window, self.unit)
        given, policy = None, None
        if state.latent is not None and state.latent.shape[1]:
            given, state.latent = state.latent[:, 0], state.latent[:, 1:]
        latent, actions = given, conditions.actions
        action = None if actions is None else actions[:, -1]
        if given is None or state.ask:
            _, policy = self.context(nodes, action)
            latent = sample(policy)
            if given is not None:
                latent = torch.where(given.isnan(), latent, given)
        assert latent is not None
        following = self.dynamics.following(nodes, action, latent)
        return Step(following, LatentActions(latent[:, None], policy), drawn=following.mean)

    def _actions(self, conditions: Conditions, n: int, first: int, end: int) -> Float[Tensor, "K A"] | None:
        """Of the frames in between of n clips, a row each. The mean one stands where there are none: at the last frame
        of a clip, and in clips whose actions nobody knows.
        """
        layer = self.context.action
        if layer is None:
            return None
        actions = (
            layer.mean.new_zeros(n, 0, layer.mean.shape[0])
            if conditions.actions is None
            else conditions.actions
        )
        missing = layer.mean.expand(n, max(end - actions.shape[1], 0), -1)
        return torch.cat([actions, missing], 1)[:, first:end].flatten(0, 1)
