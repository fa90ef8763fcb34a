"""Where the files of an experiment are, from the root of the repository; dvc.yaml says the same to DVC."""

from pathlib import Path

EXPERIMENTS = Path("experiments")
SOURCES = EXPERIMENTS / "sources"
DECISIONS = EXPERIMENTS / "decisions"
TAKEDOWNS = EXPERIMENTS / "takedowns.csv"

RAW = Path("data/raw")  # / <kind> / <name>
CROPS = Path("data/crops")
RESIZED = Path("data/resized")
FILTERED = Path("data/filtered")
DATASET = Path("data/dataset")

MODELS = Path("models")
GENERATOR = MODELS / "generator.safetensors"
BEST = MODELS / "best.safetensors"
NETWORK = MODELS / "network.safetensors"  # what is sampled and measured

FUNNEL = Path("results/funnel")
TRAINING = Path("results/train")
SAMPLES = Path("results/samples")
EVALUATION = Path("results/evaluation")
HEADLINE = EVALUATION / "metrics.json"  # the few numbers that experiments are compared by
REPORT = Path("results/report.html")

# in git
METRICS = Path("results/metrics.json")  # HEADLINE again
PUBLISHED = Path("results/published")
MADE_ON = Path("results/machine.json")
