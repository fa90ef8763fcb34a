"""Losses and regularisers of StyleGAN2 as pure functions of logits, images and styles."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def g_main(fake_logits: Tensor) -> Tensor:
    """Non-saturating logistic loss of the generator (arXiv:1406.2661, section 3): mean softplus(-D(G(z)))."""
    return F.softplus(-fake_logits).mean()


def d_main(fake_logits: Tensor, real_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logistic loss of the discriminator: mean softplus(D(G(z))) and mean softplus(-D(x)), to be added."""
    return F.softplus(fake_logits).mean(), F.softplus(-real_logits).mean()


def r1_penalty(real_logits: Tensor, images: Tensor) -> Tensor:
    """Squared gradient of the logits with respect to real images (arXiv:1801.04406, eq. 9, without gamma/2).

    real_logits: [N,1], computed from images [N,3,H,W], which must require a gradient. Gives [N].
    """
    (grads,) = torch.autograd.grad(real_logits.sum(), images, create_graph=True)
    return grads.square().sum(dim=[1, 2, 3])


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor, create_graph: bool = True) -> Tensor:
    """How much the images change with the styles (arXiv:1912.04958, eq. 4, the norm).

    images: [N,3,H,W], computed from ws [N,num_ws,w_dim]; noise: standard normal, shaped as images. Gives [N],
    the root of the mean over num_ws of the squared norm over w_dim.
    """
    weighted = (images * noise).sum() / math.sqrt(images.shape[2] * images.shape[3])
    (grads,) = torch.autograd.grad(weighted, ws, create_graph=create_graph)
    return grads.square().sum(dim=2).mean(dim=1).sqrt()


def path_penalty(lengths: Tensor, mean: Tensor, decay: float = 0.01) -> tuple[Tensor, Tensor]:
    """Path length penalty (arXiv:1912.04958, eq. 4): squared distance of lengths [N] from their running mean [].

    decay: weight of this batch in the mean. Gives the penalty [N] and the new mean, which the penalty is
    measured from; gradients flow through both.
    """
    new_mean = mean.lerp(lengths.mean(), decay)
    return (lengths - new_mean).square(), new_mean


def mixing_cutoff(num_ws: int, probability: float, generator: torch.Generator) -> int:
    """Draw the first layer that takes its style from a second latent (arXiv:1812.04948, section 3.1).

    Uniform in 1..num_ws-1 with a probability, else num_ws: no mixing.
    """
    chance = torch.rand([], generator=generator, device=generator.device).item()
    cutoff = int(torch.randint(1, num_ws, [], generator=generator, device=generator.device))
    return cutoff if chance < probability else num_ws
