"""Settings of the dynamics models."""

from dataclasses import dataclass, field

from dlp_dyn.errors import InputError


@dataclass(frozen=True)
class GraphConfig:
    """An interaction network over particles.

    rounds: of message passing. neighbours: messages come from so many nearest particles, 0 is all of them.
    radius: and from no farther than this, in [-1, 1] units, fading out towards it; 0 is any distance. With a radius,
    crowds look like the small groups that were trained on. motion_scale: a typical motion from one frame to the
    next, in [-1, 1] units, which motions are measured in.
    """

    hidden_dim: int = 64
    rounds: int = 2
    neighbours: int = 0
    radius: float = 0.0
    motion_scale: float = 0.1


@dataclass(frozen=True)
class TransformerConfig:
    """A transformer over particles and time.

    attention: `joint`, every token attends to all tokens of its own and earlier frames, with biases that depend on
    the distance in time and in particle number (DDLP's PINT); or `factorised`, over particles and then over time,
    with patch and time embeddings in adaptive norms (LPWM, without latent actions).
    n_slots: particles that position biases and embeddings are learned for; 0 takes the image model's number.
    depth_logvar_is_delta: the spread of depth is read off the change of depth, as the official DDLP does.
    """

    attention: str = "joint"
    dim: int = 256
    n_layers: int = 6
    n_heads: int = 8
    dropout: float = 0.1
    n_slots: int = 0
    depth_logvar_is_delta: bool = False


@dataclass(frozen=True)
class DynamicsConfig:
    """How particles move.

    kind: `graph`, `transformer`, or `none` for a model of single images. window: frames that a step looks back on.
    action_dim: width of the actions between frames, 0 for none; an action may be one-hot.
    rollout_steps: in the second stage, steps that each training clip is rolled out for, after `window` frames.
    """

    kind: str = "none"
    window: int = 10
    action_dim: int = 0
    rollout_steps: int = 10
    graph: GraphConfig = field(default_factory=GraphConfig)
    transformer: TransformerConfig = field(default_factory=TransformerConfig)

    def check(self) -> None:
        """Raise InputError for values that no model can be built from."""
        if self.kind not in ("none", "graph", "transformer"):
            raise InputError(f"dynamics.kind={self.kind!r} is unknown: use one of none, graph, transformer")
        if self.window < 2:
            raise InputError(f"dynamics.window={self.window}: motion shows in 2 frames or more")
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
