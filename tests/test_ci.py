import re

import yaml

from tiny import ROOT


def test_actions_are_pinned_by_hash_and_run_what_the_readme_names() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    actions = [step["uses"] for step in steps if "uses" in step]
    assert actions
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in actions)
    assert workflow["permissions"] == {"contents": "read"}
    assert {".ci/run", "make repro", "make verify"} <= {step.get("run") for step in steps}
