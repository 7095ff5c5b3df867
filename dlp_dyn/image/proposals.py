"""Where things may be: one keypoint for every patch, and the choice among them before anything else is known."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dlp_dyn import geometry
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.networks.base import Networks
from dlp_dyn.nn import mlp


@dataclass(frozen=True)
class Proposals:
    """Keypoints of the patches of an image.

    position: in the image. moments: (var_x, var_y, cov_xy) of the patch's heat map, in half patches squared.
    """

    position: Float[Tensor, "B M 2"]
    moments: Float[Tensor, "B M 3"]
    centre: Float[Tensor, "P 2"]

    def take(self, index: Int[Tensor, "B K"]) -> "Proposals":
        return Proposals(gather(self.position, index), gather(self.moments, index), self.centre)


def gather(x: Float[Tensor, "B M D"], index: Int[Tensor, "B K"]) -> Float[Tensor, "B K D"]:
    """The chosen rows of every batch element."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))


class ProposalNetwork(nn.Module):
    """Every patch gets a heat map, and a spatial softmax its keypoint (DLP, arXiv 2205.15821).

    How the heat is made is a matter of style (`Networks.heat`).
    """

    def __init__(self, cfg: DLPConfig, networks: Networks) -> None:
        super().__init__()
        self.patch_size, self.image_size = cfg.patch_size, cfg.image_size
        self.networks = networks
        self.cnn = networks.proposal_network()

    def forward(self, source: Float[Tensor, "B C h w"]) -> Proposals:
        """`source`: the image, or the trunk's features."""
        heat = self.networks.heat(self.cnn, source)
        local, moments = geometry.spatial_softmax(heat)
        centre = geometry.patch_to_image(torch.zeros_like(local[:1]), self.patch_size, self.image_size)
        position = geometry.patch_to_image(local, self.patch_size, self.image_size)
        return Proposals(position, moments, centre[0])


def select_early(proposals: Proposals, how: str, n: int) -> Proposals:
    """Keep n proposals, the first being the most likely ones.

    `variance`: the n most compact heat maps. `distance`: the n farthest from their patch's centre. `random`: the
    same n for the whole batch.
    """
    batch, available = proposals.moments.shape[:2]
    if how == "variance":
        index = proposals.moments.sum(-1).topk(n, dim=-1, largest=False).indices
    elif how == "distance":
        distance = (proposals.position - proposals.centre).square().sum(-1)
        index = distance.topk(n, dim=-1).indices
    else:
        order = torch.randperm(available, device=proposals.moments.device)[:n]
        index = order.expand(batch, n)
    return proposals.take(index)


def select_late(
    spread: Float[Tensor, "B M"], traits: Float[Tensor, "B M D"], n: int, min_distance: float
) -> Int[Tensor, "B K"]:
    """The n proposals of least spread, the surest first (DLPv3).

    min_distance: a proposal loses its rank while its traits lie within this distance of those of one already chosen, so
    that two particles do not share an object; 0 is DLPv3's plain order. traits: positions in [-1, 1], and what else
    tells two things apart, in units of distance.
    """
    if min_distance == 0:
        return spread.topk(n, dim=-1, largest=False).indices
    far = spread.detach().clone()
    step = far.max() - far.min() + 1
    chosen = []
    for _ in range(n):
        best = far.argmin(-1, keepdim=True)
        chosen.append(best)
        near = (traits - gather(traits, best)).square().sum(-1) < min_distance**2
        far = (far + step * near).scatter(1, best, torch.inf)
    return torch.cat(chosen, 1)


class Mixer(nn.Module):
    """K anchors as learned convex combinations of all M proposals (DLPv2's heuristic `none`).

    An MLP-mixer block over (glimpse, position) tokens gives the weights; it ties the model to its M and K.
    """

    def __init__(self, cfg: DLPConfig, networks: Networks) -> None:
        super().__init__()
        self.glimpse_size, self.fraction = cfg.glimpse_size, cfg.glimpse_size / cfg.image_size
        self.glimpses = networks.glimpse_encoder()
        self.project_glimpse = nn.Linear(self.glimpses.out_dim, 64)
        self.project_position = nn.Linear(2, 64)
        self.norm_tokens, self.norm_channels, self.norm_out = (nn.LayerNorm(128) for _ in range(3))
        self.over_tokens = mlp([cfg.n_patches, 128, cfg.n_patches], nn.ReLU)
        self.over_channels = mlp([128, 128, 128], nn.ReLU)
        self.out = nn.Linear(128, cfg.n_particles)

    def forward(
        self, images: Float[Tensor, "B C H W"], position: Float[Tensor, "B M 2"]
    ) -> Float[Tensor, "B K 2"]:
        size = torch.full_like(position, self.fraction)
        glimpses = geometry.crop_glimpses(images, position.detach(), size, self.glimpse_size)
        appearance = self.glimpses(glimpses.flatten(0, 1)).unflatten(0, glimpses.shape[:2])
        x = torch.cat([self.project_glimpse(appearance), self.project_position(position.detach())], dim=-1)
        x = x + self.over_tokens(self.norm_tokens(x).mT).mT
        x = x + self.over_channels(self.norm_channels(x))
        weights = self.out(self.norm_out(x)).softmax(dim=1)
        return weights.mT @ position
