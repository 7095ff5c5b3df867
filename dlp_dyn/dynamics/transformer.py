"""TransformerDynamics: attention over particles and time, jointly (DDLP's PINT) or one after the other (LPWM)."""

from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn.dynamics.actions import ActionInput
from dlp_dyn.dynamics.base import NOTHING, Conditions, Dynamics, Prediction, Step
from dlp_dyn.dynamics.blocks import Block, Past, RelativeBias, init_linear
from dlp_dyn.dynamics.config import DynamicsConfig
from dlp_dyn.dynamics.factorised import FactorisedTrunk
from dlp_dyn.dynamics.memory import Memory
from dlp_dyn.dynamics.tokens import SceneHeads, SceneTokens
from dlp_dyn.errors import InputError
from dlp_dyn.particles import Draw, Scene, mean, rsample


class JointTrunk(nn.Module):
    """All tokens of a window attend to those of their own and earlier frames (PINT)."""

    def __init__(self, cfg: DynamicsConfig, n_tokens: int) -> None:
        super().__init__()
        t = cfg.transformer
        self.window = cfg.window
        self.blocks = nn.ModuleList(Block(t.dim, t.n_heads, t.dropout, False) for _ in range(t.n_layers))
        self.biases = nn.ModuleList(RelativeBias(cfg.window, n_tokens, t.n_heads) for _ in range(t.n_layers))
        self.norm = nn.LayerNorm(t.dim)
        self.out = nn.Linear(t.dim, t.dim, bias=False)
        init_linear(self.out)

    def forward(
        self, x: Float[Tensor, "B T N D"], action: Float[Tensor, "B T 1 D"] | None
    ) -> Float[Tensor, "B T N D"]:
        """Outputs for all frames."""
        n_tokens = x.shape[2]
        x = (x if action is None else x + action).flatten(1, 2)[:, None]
        n = x.shape[2]
        for block, bias in zip(self.blocks, self.biases, strict=True):
            x = block(x, bias(self.window, n_tokens)[:, :, :n, :n])
        return self.out(self.norm(x)).unflatten(2, (-1, n_tokens))[:, 0]

    def resume(
        self, x: Float[Tensor, "B T N D"], action: Float[Tensor, "B T 1 D"] | None, memory: Memory
    ) -> Float[Tensor, "B 1 N D"]:
        """The output for the last frame; the states of the frames that memory knows are not made again."""
        n_frames, n_tokens = x.shape[1:3]
        n_run = memory.n_run
        x = (x if action is None else x + action)[:, n_frames - n_run :].flatten(1, 2)[:, None]
        if not memory.constants:
            memory.constants = [bias(self.window, n_tokens) for bias in self.biases]
            memory.pasts = [Past() for _ in self.blocks]
        if memory.slid:  # the first keys and values are made of the tokens alone, which are as they were
            memory.pasts[0].forget(n_tokens)
            memory.pasts[1:] = [Past() for _ in self.blocks[1:]]
        n_known = (n_run - memory.n_new) * n_tokens
        for i, block in enumerate(self.blocks):
            n_queries = n_tokens if i == len(self.blocks) - 1 else n_run * n_tokens
            end = n_frames * n_tokens
            bias = memory.constants[i][:, :, end - n_queries : end, :end]
            x = block(x, bias, None, memory.pasts[i], 0 if i else n_known, n_queries, memory.linear)
        return self.out(self.norm(x)).unflatten(2, (-1, n_tokens))[:, 0]


class TransformerDynamics(Dynamics):
    """DDLP's PINT (arXiv 2306.05957, section 4.2) or LPWM's factorised transformer (arXiv 2603.04553).

    Not equivariant to the order of particles: biases and embeddings belong to slots. The distribution for time t + 1
    sees frames up to t.
    """

    def __init__(self, cfg: DynamicsConfig, n_particles: int, feature_dim: int, background_dim: int) -> None:
        super().__init__()
        t = cfg.transformer
        self.window, self.n_slots = cfg.window, t.n_slots or n_particles
        self.tokens = SceneTokens(feature_dim, background_dim, t.dim)
        self.action = ActionInput(cfg.action_dim, t.dim) if cfg.action_dim else None
        n_tokens = self.n_slots + 1
        if t.attention == "joint":
            self.trunk: JointTrunk | FactorisedTrunk = JointTrunk(cfg, n_tokens)
        else:
            self.trunk = FactorisedTrunk(t.dim, t.n_layers, t.n_heads, t.dropout, cfg.window, n_tokens)
        self.heads = SceneHeads(feature_dim, background_dim, t.dim, t.depth_logvar_is_delta)

    def forward(
        self,
        scenes: Scene,
        conditions: Conditions = NOTHING,
        sample: Draw = rsample,  # noqa: ARG002 - nothing here is latent
    ) -> Prediction:
        """Of frames 0 .. U, distributions of frames 1 .. U; U is at most `window`.

        Raises InputError for more particles than the model has slots.
        """
        history = scenes[:, :-1]
        actions = conditions.between(0, history.background.shape[1]).actions
        return Prediction(self.heads(self.trunk(self._embed(history), self._actions(actions)), history))

    def start(
        self,
        scenes: Scene,
        conditions: Conditions = NOTHING,
        latent: Float[Tensor, "B K N Z"] | None = None,
    ) -> Memory:
        """The first step makes the keys and values of all frames that it sees."""
        super().start(scenes, conditions, latent)
        return Memory()

    def step(self, scenes: Scene, conditions: Conditions, state: Memory, sample: Draw = mean) -> Step:
        """Of the frame after the last.

        Keys and values are reused while the window grows. When it slides, the states of all its frames change, because
        those that they had seen left: then only tokens and the first layer's keys and values are (joint attention).
        """
        n_frames = scenes.background.shape[1]
        tokens = state.extend(self._embed(scenes[:, -state.missing(n_frames) :]), n_frames)
        x = self.trunk.resume(tokens, self._actions(conditions.actions), state)
        following = self.heads(x[:, 0], scenes[:, -1])
        return Step(following, drawn=following.draw(sample))

    def _embed(self, scene: Scene) -> Float[Tensor, "B T N D"]:
        n_frames, n = scene.particles.position.shape[1:3]
        if n != self.n_slots:
            raise InputError(
                f"{n} particles, the transformer was made for {self.n_slots}: use graph dynamics, which take any number"
            )
        assert n_frames <= self.window, f"{n_frames} frames, the window has {self.window}"
        return self.tokens(scene)

    def _actions(self, actions: Float[Tensor, "B T A"] | None) -> Float[Tensor, "B T 1 D"] | None:
        if self.action is None:
            return None
        assert actions is not None
        return self.action(actions)[:, :, None]
