"""`semireal convert IN OUT.safetensors`: a public network pickle, or a training state, as a file to start from."""

from pathlib import Path

from semireal.errors import UserError
from semireal.files import sha256_of
from semireal.stylegan2.checkpoint import save_networks
from semireal.stylegan2.load import load_networks


def convert(source: Path, target: Path, half: bool = False) -> str:
    """Read networks, without running what is in a pickle, and write target; gives a line that says what it was.

    half: as float16. An existing target is replaced. UserError where source cannot be read or target not be written.
    """
    check_target(target, ".safetensors")
    found = load_networks(source)
    origin = {"source": source.name, "sha256": sha256_of(source)}
    try:
        save_networks(target, found.config, found.generator, found.discriminator, origin, half)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror}). Name another output") from error
    counts = [sum(tensor.numel() for tensor in part.values()) for part in (found.generator, found.discriminator or {})]
    size = found.config.img_resolution
    D = f"a discriminator of {counts[1]:,}" if found.discriminator else "no discriminator"
    return f"{target}: {size}x{size} pixels, a generator of {counts[0]:,} numbers, {D}"


def check_target(target: Path, suffix: str) -> None:
    """Raise UserError where a file of this suffix could not be written, before any work is done."""
    if target.suffix != suffix:
        raise UserError(f"{target}: found the suffix {target.suffix!r}, need {suffix}. Name the output so")
    if not target.parent.is_dir():
        raise UserError(f"{target}: no folder {target.parent}. Make it first")
    if target.is_dir():
        raise UserError(f"{target}: is a folder. Name a file")
