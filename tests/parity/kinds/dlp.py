"""DLPv2 (`ObjectDLP` of ddlp) and DLPv3 (the image part of lpwm)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from bundles import Bundle
from torch import Tensor
from torch.distributions import Normal

from dlp_dyn import official
from dlp_dyn.image.attributes import Attributes
from dlp_dyn.image.decoder import SceneDecoder
from dlp_dyn.image.encoder import Encoding, Located, Placed, SceneEncoder
from dlp_dyn.image.model import DLP
from dlp_dyn.image.proposals import gather
from dlp_dyn.objectives.image_elbo import image_terms
from dlp_dyn.particles import Particles, Scene, beta, normal

CONVERTS = True
LEFT_OUT = {"*_rgb": "the same before a normalisation of colours that is not used"}
_CONFIDENCE = 15.0  # the official score is the confidence, in these units, minus 1
_SCORE_LOG_VARIANCE = -3.218876  # of N(., 0.2²), which nothing reads


def holds(bundle: Bundle) -> bool:
    keys = bundle.state_dict
    image = any(key.startswith(("fg_module.", "encoder_module.particle_enc.")) for key in keys)
    return image and not any(key.startswith(("dyn_module.", "ctx_module.")) for key in keys)


@torch.no_grad()
def outputs(bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    model, weights = official.load(bundle.state_dict, bundle.hparams)
    assert isinstance(model, DLP)
    model.to(torch.get_default_dtype())
    images, theirs = bundle.inputs["x"], Official(bundle)
    yield from proposed(model.encoder.locate(images))
    read = two_looks(model.encoder, images, theirs)
    yield from read_off(read)
    yield from confidence(model.encoder, images, read, theirs)
    yield from described(model.encoder, images, theirs)
    yield from drawn(model.decoder, theirs)
    yield from constants(theirs)
    encoding = model.encoder(images)
    decoded = model.decode(encoding.scene)
    terms = {k: v.mean() for k, v in image_terms(model, images, encoding, decoded).items()}
    yield "loss/psnr", psnr(images, decoded.image)
    yield from loss_terms(terms, weights, encoding, bundle.hparams["kl_balance"])
    yield from absent(bundle)


def swap(x: Tensor) -> Tensor:
    """From (y, x) to (x, y) and back."""
    return x.flip(-1)


@dataclass(frozen=True)
class Official:
    """The official outputs in our order, as a batch of frames."""

    bundle: Bundle

    @property
    def n_frames(self) -> int:
        return len(self.bundle.outputs["rec"])

    def __getitem__(self, name: str) -> Tensor:
        x = self.bundle.outputs[name]
        return x.reshape(self.n_frames, -1) if "bg" in name else x.reshape(self.n_frames, -1, self.width(x))

    def width(self, x: Tensor) -> int:
        n = self.bundle.outputs["z_features"].shape[-2]
        return x.numel() // self.n_frames // n

    @property
    def background(self) -> str:
        return "bg_features" if "mu_bg_features" in self.bundle.outputs else "bg"

    @property
    def anchors(self) -> Tensor:
        return swap(self["z_base"])

    @property
    def crops(self) -> Tensor:
        crops = self.bundle.outputs["cropped_objects_original"]
        return crops.reshape(self.n_frames, -1, *crops.shape[-3:])

    @property
    def attributes(self) -> Attributes:
        return Attributes(
            normal(swap(self["mu_offset"]), swap(self["logvar_offset"])),
            normal(swap(self["mu_scale"]), swap(self["logvar_scale"])),
            beta(self["obj_on_a"], self["obj_on_b"]),
            normal(self["mu_depth"], self["logvar_depth"]),
        )

    @property
    def located(self) -> Located:
        outputs = self.bundle.outputs
        confidence = _CONFIDENCE * (self["mu_score"] + 1) if "mu_score" in outputs else None
        return Located(self.anchors, self.attributes, confidence, swap(outputs["kp_p"]))

    @property
    def scene(self) -> Scene:
        particles = Particles(
            swap(self["z"]), swap(self["z_scale"]), self["z_depth"], self["obj_on"], self["z_features"]
        )
        return Scene(particles, self[f"z_{self.background}"])


def statistics(name: str, q: Normal, order=lambda x: x) -> Iterator[tuple[str, Tensor]]:
    """Mean and log-variance under their official names."""
    yield f"mu_{name}", order(q.loc)
    yield f"logvar_{name}", order(2 * q.scale.log())


def two_looks(encoder: SceneEncoder, images: Tensor, theirs: Official) -> Attributes:
    """Attributes at the official anchors; DLPv2 reads them a second time, as large as the first look saw."""
    cfg = encoder.cfg
    if cfg.encoder.passes == 1:
        return encoder.track(images, theirs.anchors, None, None)
    proposals = swap(theirs.bundle.outputs["kp_p"].reshape(len(images), -1, 2))
    mixer = encoder.mixer
    start = proposals[:, : cfg.n_particles] if mixer is None else mixer(images, proposals)
    first = encoder.track(images, start, None, None)
    return encoder.track(images, theirs.anchors, first.scale.loc, None)


def proposed(located: Located | Encoding) -> Iterator[tuple[str, Tensor]]:
    """Proposals, and where the particles are anchored."""
    yield "kp_p", swap(located.proposals)
    yield "z_base", swap(located.anchors)


def read_off(read: Attributes) -> Iterator[tuple[str, Tensor]]:
    """What is read off glimpses at the official anchors."""
    yield from statistics("offset", read.offset, swap)
    yield from statistics("scale", read.scale, swap)
    yield "obj_on_a", read.transparency.concentration1
    yield "obj_on_b", read.transparency.concentration0
    if read.depth is not None:
        yield from statistics("depth", read.depth)


def confidence(
    encoder: SceneEncoder, images: Tensor, read: Attributes, theirs: Official
) -> Iterator[tuple[str, Tensor]]:
    """DLPv3's order of proposals: how wide a heat map is, and how unsure the offset read there."""
    if "z_base_var" not in theirs.bundle.outputs:
        return
    proposals = encoder.proposals(encoder.trunk(images))
    chosen = torch.cdist(theirs.anchors, proposals.position).argmin(-1)
    var_x, var_y, cov = gather(proposals.moments, chosen).unbind(-1)
    log_x, log_y = (2 * read.offset.scale.log()).unbind(-1)
    spread = torch.stack([var_y, var_x, cov, log_y, log_x], -1)
    yield "z_base_var", spread
    for name in ("mu_score", "z_score"):
        yield name, spread.sum(-1, keepdim=True) / _CONFIDENCE - 1


def described(encoder: SceneEncoder, images: Tensor, theirs: Official) -> Iterator[tuple[str, Tensor]]:
    """Draws, glimpses, appearance, background, and what the particles' interaction adds."""
    placed = encoder.place(images, theirs.located)
    yield "z", swap(placed.position)
    yield "z_scale", swap(placed.scale)
    yield "obj_on", placed.transparency
    yield "cropped_objects_original", placed.glimpses
    p, given = theirs.scene.particles, theirs.located
    placed = Placed(given, p.position, p.scale, p.transparency, theirs.crops)
    encoding = encoder.describe(images, placed)
    q = encoding.posterior
    if encoder.interaction is not None:
        yield from statistics("depth", q.particles.depth)
    yield from statistics("features", q.particles.features)
    yield from statistics(theirs.background, q.background)
    yield "z_depth", encoding.scene.particles.depth
    yield "z_features", encoding.scene.particles.features
    yield f"z_{theirs.background}", encoding.scene.background


def drawn(decoder: SceneDecoder, theirs: Official) -> Iterator[tuple[str, Tensor]]:
    """The official scene, drawn."""
    decoded = decoder(theirs.scene)
    yield "dec_objects_original", decoded.glimpses[:, :, [3, 0, 1, 2]]
    yield "alpha_masks", decoder.masks(theirs.scene, decoded.glimpses)
    yield "dec_objects", decoded.foreground
    yield "bg", decoded.background
    yield "rec", decoded.image


def constants(theirs: Official) -> Iterator[tuple[str, Tensor]]:
    """Outputs that repeat others, or are the same in every model."""
    given = theirs.bundle.outputs
    anchors, log_variance = given["z_base"], torch.zeros_like(given["z_base"])
    repeated = {
        "mu": anchors,
        "logvar": log_variance,
        "mu_anchor": anchors,
        "logvar_anchor": log_variance,
        "mu_tot": given["z"],
        "z_offset": given["mu_offset"],
        "mu_obj_on": given["obj_on"],
        "logvar_score": torch.full_like(anchors[..., :1], _SCORE_LOG_VARIANCE),
    }
    yield from ((name, x) for name, x in repeated.items() if name in given)
    if "z_kp_bg" in given:
        yield "z_kp_bg", torch.zeros_like(given["z_kp_bg"])


def psnr(images: Tensor, drawn: Tensor) -> Tensor:
    """In dB, of the mean error of all images."""
    return -10 * (images - drawn).square().mean().log10()


def loss_terms(
    terms: dict[str, Tensor], weights: dict[str, float], encoding: Encoding, balance: float
) -> Iterator[tuple[str, Tensor]]:
    """Terms under their official names; `kl` is in the units of the position's."""
    kls = [name for name in terms if name.startswith("kl_")]
    yield "loss/loss", torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    yield (
        "loss/kl",
        sum((weights[name] / weights["kl_position"] * terms[name] for name in kls), torch.zeros(())),
    )
    yield "loss/loss_rec", terms["reconstruction"]
    yield "loss/loss_kl_kp", 0.5 * balance * terms["kl_anchor"] + terms["kl_position"]
    yield "loss/loss_kl_scale", terms["kl_scale"]
    yield "loss/loss_kl_depth", terms["kl_depth"]
    yield "loss/loss_kl_obj_on", terms["kl_transparency"]
    yield "loss/loss_kl_feat", terms["kl_features"] + terms["kl_background"]
    yield "loss/obj_on_l1", encoding.scene.particles.transparency.sum((-1, -2)).mean()


def absent(bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    """Terms that only one of the two has, or that are 0 without dynamics."""
    if "loss/loss_obj_reg" in bundle.outputs:
        on = bundle.outputs["obj_on"].flatten(1)
        yield "loss/loss_obj_reg", on.sum(1).square().mean()
    for name in ("loss/kl_dyn", "loss/loss_kl_context"):
        if name in bundle.outputs:
            yield name, torch.zeros(())
