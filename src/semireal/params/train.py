"""The section `train` of params.yaml."""

from dataclasses import dataclass

from semireal.errors import UserError
from semireal.schema import param

PRECISIONS = ("float32", "bfloat16", "float16")
MONITORS = ("looks", "inception")
BALANCES = ("artist", "cluster")
GROUP = 4  # images of which the discriminator compares the statistics (minibatch standard deviation)


@dataclass(frozen=True)
class Train:
    """StyleGAN2 and its training."""

    epochs: int = param(low=1)
    """how long to train; one epoch = 1000 images shown"""
    photo_ratio: float | None = param(low=0, high=1)
    """share of photos in the training mixture; null = as found"""
    balance: str | None = param(choices=BALANCES)
    """what is shown as often as any other, in photos and in portraits: null = each picture; artist = each artist;
    cluster = each kind of look, which it finds. No picture is shown more than four times as often as with null"""
    resolution: int = param(low=8, high=1024)
    """side of the generated images, px; a power of two"""
    z_dim: int = param(low=1)
    """size of the latent z"""
    w_dim: int = param(low=1)
    """size of the intermediate latent w"""
    mapping_layers: int = param(low=1, high=16)
    """layers of the mapping network"""
    channel_base: int = param(low=16)
    """channels at a resolution = channel_base / resolution ..."""
    channel_max: int = param(low=1)
    """... but at most so many"""
    batch: int = param(low=1)
    """images per step"""
    lr: float = param(low=1e-08, high=1)
    """learning rate of both networks"""
    r1_gamma: float = param(low=0)
    """weight of the R1 penalty"""
    r1_interval: int = param(low=1)
    """steps between R1 penalties"""
    pl_weight: float = param(low=0)
    """weight of the path length penalty"""
    pl_interval: int = param(low=1)
    """steps between path length penalties"""
    ema_kimg: float = param(low=0)
    """half-life of the averaged generator, thousands of images"""
    ema_rampup: float | None = param(low=0)
    """half-life is at most this share of the images seen; null = off, as always with a network to start from"""
    style_mixing: float = param(low=0, high=1)
    """probability of mixing two latents"""
    mirror: bool = param()
    """show images mirrored half of the time"""
    ada_target: float | None = param(low=-1, high=1)
    """augmentation (ADA): wanted mean sign of the discriminator on real images; null = off"""
    ada_kimg: float = param(low=0.001)
    """ADA: thousands of images from probability 0 to 1 at the fastest"""
    ada_transforms: str = param(choices=("b", "bg", "bgc"))
    """ADA: blit, geometric and colour transforms"""
    ada_rotate90: bool = param()
    """ADA: also turn by 90 degrees; not for faces"""
    snapshot_epochs: int = param(low=1)
    """epochs between sample grids and measurements"""
    monitor: str = param(choices=MONITORS)
    """what chooses the best snapshot: looks = whole, layout and eyes, with what comes with the installation; inception
    = the kernel distance on the 2015 Inception, whose weights are found as by evaluate.inception = download"""
    patience: int | None = param(low=1)
    """stop after so many measurements without a better one; null = never"""
    init: str = param()
    """file to start from: a .safetensors of ours, a .pkl of stylegan2-ada-pytorch or stylegan3, or
    experiments/noise.init = random networks"""
    freeze_d: int = param(low=0)
    """first layers of the discriminator that stay as they start (freeze-D)"""
    conv_clamp: float | None = param(low=1)
    """activations are clamped to +- this; null = not; float16 needs 256"""
    precision: str = param(choices=PRECISIONS)
    """of the features at high resolutions"""
    low_precision_res: int = param(low=0, high=9)
    """so many of the highest resolutions use `precision`"""
    channels_last: bool = param()
    """memory format of the features; faster on CPUs and for 16 bits"""
    tf32: bool = param()
    """faster, rougher float32 on GPUs"""

    def __post_init__(self) -> None:
        for key in ("resolution", "channel_base", "batch", "init", "freeze_d", "conv_clamp"):
            need = self._need(key)
            if need:
                raise UserError(f"train.{key}: found {getattr(self, key)!r}, need {need}")

    @property
    def group(self) -> int:
        """Images in a group of the minibatch standard deviation."""
        return min(self.batch, GROUP)

    def _need(self, key: str) -> str | None:
        """What a value needs beyond its own range, where it has not got that."""
        if key == "resolution" and self.resolution & (self.resolution - 1):
            return "a power of two (64, 128, 256, 512, ...)"
        if key == "channel_base" and self.channel_base < self.resolution:
            return f"at least train.resolution = {self.resolution}"
        if key == "batch" and self.batch % self.group:
            return f"a multiple of {self.group}"
        layers = 3 * (self.resolution.bit_length() - 3) + 1  # three at each resolution above 4, and the one that reads
        if key == "freeze_d" and self.freeze_d > layers:
            return f"at most {layers}, the layers of the discriminator at {self.resolution} px"
        if key == "init" and (not self.init or "://" in self.init):
            return "the path of a file; `semireal fetch URL FILE` makes one of a URL"
        if key == "conv_clamp" and self.precision == "float16" and self.conv_clamp is None:
            return "a number (256) for train.precision = float16, whose largest number is exceeded without"
        return None
