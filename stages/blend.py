"""Stage blend: the network that is sampled and measured, between the base and the trained one."""

from semireal import params, paths, stage
from semireal.training import blend


def main() -> None:
    """models/generator.safetensors or best.safetensors, and the base -> models/network.safetensors."""
    blend.make(paths.MODELS, paths.NETWORK, params.load(blend.Given))


if __name__ == "__main__":
    stage.run(main)
