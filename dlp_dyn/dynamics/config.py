"""Settings of the dynamics models."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from dlp_dyn.errors import InputError
from dlp_dyn.settings import Count, Fraction, Natural, above, at_least, check


@dataclass(frozen=True)
class GraphConfig:
    """An interaction network over particles."""

    hidden_dim: Count = 64
    """Width of its perceptrons."""
    rounds: Count = 2
    """Of message passing; more let effects travel through chains of particles within a frame."""
    neighbours: Natural = 0
    """Messages come from so many nearest particles; 0 is all of them. Saves time with many particles."""
    radius: Annotated[float, at_least(0, "in [-1, 1] units")] = 0.0
    """Messages come from no farther than this, fading out towards it, so that crowds look
    like the small groups that were trained on; 0 is any distance."""
    motion_scale: Annotated[float, above(0, "in [-1, 1] units")] = 0.1
    """A typical motion from one frame to the next, which motions are measured in."""


@dataclass(frozen=True)
class TransformerConfig:
    """A transformer over particles and time."""

    attention: Literal["joint", "factorised"] = "joint"
    """joint: every token attends to all tokens of its own and earlier frames, with biases that depend on the distance
    in time and in particle number (DDLP's PINT); factorised: over particles and then over time, with patch and time
    embeddings in adaptive norms (LPWM, without latent actions)."""
    dim: Count = 256
    """Width of the tokens, a multiple of n_heads."""
    n_layers: Count = 6
    """Depth."""
    n_heads: Count = 8
    """Heads of attention."""
    dropout: Fraction = 0.1
    """Share of activations that are dropped in training."""
    n_slots: Natural = 0
    """Particles that position biases and embeddings are learned for; 0 takes the image model's number."""
    depth_logvar_is_delta: bool = False
    """The spread of depth is read off the change of depth, as the official DDLP does."""


@dataclass(frozen=True)
class LatentActionConfig:
    """LPWM: every patch is a particle, and moves as its latent action says."""

    dim: Count = 256
    """Width of the tokens, a multiple of the numbers of heads; 512 in the published models."""
    latent_dim: Count = 7
    """Numbers of a latent action; about 6 + feature_dim carry all that can happen to a particle."""
    context_layers: Count = 4
    """Depth of the trunk that infers latent actions and proposes them."""
    context_heads: Count = 8
    """Its heads of attention."""
    dynamics_layers: Count = 6
    """Depth of the trunk that predicts the next frame."""
    dynamics_heads: Count = 8
    """Its heads of attention."""
    dropout: Fraction = 0.1
    """Share of activations that are dropped in training."""
    goal: bool = False
    """Latent actions are proposed toward a goal picture."""
    language_dim: Natural = 0
    """Width of a text's tokens, 1024 for T5-large; 0 is a model without texts."""
    language_length: Count = 32
    """Tokens of a text at most."""
    null_action: bool = False
    """A learned action stands for those that are not known (NaN)."""


@dataclass(frozen=True)
class DynamicsConfig:
    """How particles move."""

    kind: Literal["none", "graph", "transformer", "latent_actions", "latent_graph"] = "none"
    """none is a model of single images; latent_actions is LPWM's, whose
    futures are random, with tracking.kind=grid; latent_graph has latent
    actions too, of tracked particles, moved by a graph network."""
    window: Annotated[int, at_least(2, "frames")] = 10
    """What a step looks back on."""
    action_dim: Natural = 0
    """Width of the actions between frames, one-hot for discrete ones; 0 uses none."""
    rollout_steps: Count = 10
    """Steps that the second stage rolls each training clip out for, after `window` frames; more make long
    predictions better and training slower."""
    least_context: Annotated[int, at_least(0, "frames")] = 0
    """1 to `window`, or 0: the second stage begins rollouts after this many to `window` of them, drawn anew for
    each batch; 0 is always `window`. What plans sees one frame at first: train it from 1."""
    graph: GraphConfig = field(default_factory=GraphConfig)
    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    latent_actions: LatentActionConfig = field(default_factory=LatentActionConfig)

    def check(self) -> None:
        """Raise InputError for values that no model can be built from."""
        check(self, "dynamics")
        if self.least_context > self.window:
            raise InputError(
                f"dynamics.least_context={self.least_context}: use 1 to dynamics.window={self.window}, or 0 for all"
            )
        t = self.transformer
        if t.dim % t.n_heads:
            raise InputError(
                f"dynamics.transformer.dim={t.dim} is not a multiple of n_heads={t.n_heads}: change one of them"
            )
        latent = self.latent_actions
        for heads in ("context_heads", "dynamics_heads"):
            if latent.dim % getattr(latent, heads):
                raise InputError(
                    f"dynamics.latent_actions.dim={latent.dim} is not a multiple of {heads}="
                    f"{getattr(latent, heads)}: change one of them"
                )
        if self.kind not in ("none", "latent_actions") and (latent.goal or latent.language_dim):
            name = "goal" if latent.goal else "language_dim"
            raise InputError(
                f"dynamics.latent_actions.{name}={getattr(latent, name)} steers dynamics.kind=latent_actions, kind is "
                f"{self.kind}: leave it out"
            )
        if latent.null_action and not self.action_dim:
            raise InputError(
                "dynamics.latent_actions.null_action=true stands for unknown actions, and dynamics.action_dim is 0: "
                "set the width of the actions"
            )
