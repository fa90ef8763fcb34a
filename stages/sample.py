"""Stage sample: pictures of the network that stage blend leaves."""

from dataclasses import dataclass

from semireal import params, paths, stage
from semireal.params.sample import Sample
from semireal.training import sample


@dataclass(frozen=True)
class Given:
    """What it takes of params.yaml."""

    sample: Sample


def main() -> None:
    """models/network.safetensors -> results/samples."""
    given = params.load(Given).sample
    with stage.output(paths.SAMPLES) as out:
        sample.run(paths.NETWORK, out, given)


if __name__ == "__main__":
    stage.run(main)
