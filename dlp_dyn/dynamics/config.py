"""Settings of the dynamics models."""

from dataclasses import dataclass, field

from dlp_dyn.errors import InputError


@dataclass(frozen=True)
class GraphConfig:
    """An interaction network over particles."""

    hidden_dim: int = 64
    """1 or more: width of its perceptrons."""
    rounds: int = 2
    """1 or more: of message passing; more let effects travel through chains of particles within a frame."""
    neighbours: int = 0
    """0 or more: messages come from so many nearest particles; 0 is all of them. Saves time with many particles."""
    radius: float = 0.0
    """0 or more, in [-1, 1] units: messages come from no farther than this, fading out towards it, so that crowds look
    like the small groups that were trained on; 0 is any distance."""
    motion_scale: float = 0.1
    """above 0, in [-1, 1] units: a typical motion from one frame to the next, which motions are measured in."""


@dataclass(frozen=True)
class TransformerConfig:
    """A transformer over particles and time."""

    attention: str = "joint"
    """joint or factorised: every token attends to all tokens of its own and earlier frames, with biases that depend on
    the distance in time and in particle number (DDLP's PINT); or over particles and then over time, with patch and time
    embeddings in adaptive norms (LPWM, without latent actions)."""
    dim: int = 256
    """a multiple of n_heads: width of the tokens."""
    n_layers: int = 6
    """1 or more: depth."""
    n_heads: int = 8
    """1 or more: heads of attention."""
    dropout: float = 0.1
    """0 to 1: share of activations that are dropped in training."""
    n_slots: int = 0
    """0 or more: particles that position biases and embeddings are learned for; 0 takes the image model's number."""
    depth_logvar_is_delta: bool = False
    """The spread of depth is read off the change of depth, as the official DDLP does."""


@dataclass(frozen=True)
class LatentActionConfig:
    """LPWM: every patch is a particle, and moves as its latent action says."""

    dim: int = 256
    """a multiple of the numbers of heads: width of the tokens; 512 in the published models."""
    latent_dim: int = 7
    """1 or more: numbers of a latent action; about 6 + feature_dim carry all that can happen to a particle."""
    context_layers: int = 4
    """1 or more: depth of the trunk that infers latent actions and proposes them."""
    context_heads: int = 8
    """1 or more: its heads of attention."""
    dynamics_layers: int = 6
    """1 or more: depth of the trunk that predicts the next frame."""
    dynamics_heads: int = 8
    """1 or more: its heads of attention."""
    dropout: float = 0.1
    """0 to 1: share of activations that are dropped in training."""
    goal: bool = False
    """Latent actions are proposed toward a goal picture."""
    language_dim: int = 0
    """0 or more: width of a text's tokens, 1024 for T5-large; 0 is a model without texts."""
    language_length: int = 32
    """1 or more: tokens of a text at most."""
    null_action: bool = False
    """A learned action stands for those that are not known (NaN)."""


@dataclass(frozen=True)
class DynamicsConfig:
    """How particles move."""

    kind: str = "none"
    """none, graph, transformer or latent_actions: none is a model of single images; latent_actions is LPWM's, whose
    futures are random, with identity.kind=grid."""
    window: int = 10
    """2 or more frames: what a step looks back on."""
    action_dim: int = 0
    """0 or more: width of the actions between frames, one-hot for discrete ones; 0 uses none."""
    rollout_steps: int = 10
    """1 or more: steps that the second stage rolls each training clip out for, after `window` frames; more make long
    predictions better and training slower."""
    least_context: int = 0
    """0, or 1 to window frames: the second stage begins rollouts after this many to `window` of them, drawn anew for
    each batch; 0 is always `window`. What plans sees one frame at first: train it from 1."""
    graph: GraphConfig = field(default_factory=GraphConfig)
    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    latent_actions: LatentActionConfig = field(default_factory=LatentActionConfig)

    def check(self) -> None:
        """Raise InputError for values that no model can be built from."""
        kinds = ("none", "graph", "transformer", "latent_actions")
        if self.kind not in kinds:
            raise InputError(f"dynamics.kind={self.kind!r} is unknown: use one of {', '.join(kinds)}")
        if self.window < 2:
            raise InputError(f"dynamics.window={self.window}: motion shows in 2 frames or more")
        if not 0 <= self.least_context <= self.window:
            raise InputError(
                f"dynamics.least_context={self.least_context}: use 1 to dynamics.window={self.window}, or 0 for all"
            )
        if self.rollout_steps < 1:
            raise InputError(f"dynamics.rollout_steps={self.rollout_steps}: the least is 1")
        t = self.transformer
        if t.attention not in ("joint", "factorised"):
            raise InputError(
                f"dynamics.transformer.attention={t.attention!r} is unknown: use joint or factorised"
            )
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
        if latent.null_action and not self.action_dim:
            raise InputError(
                "dynamics.latent_actions.null_action=true stands for unknown actions, and dynamics.action_dim is 0: "
                "set the width of the actions"
            )
