"""What robots.txt says about training is heeded; its rules for crawlers are not ours."""

import pytest

from semireal.collect.robots import refuses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("User-agent: *\nContent-Signal: search=yes, ai-train=no\nAllow: /\n", True),
        ("User-agent: *\nContent-signal: ai-train = no # ours\n", True),
        ("User-Agent: semireal\nContent-Signal: ai-train=no", True),
        ("User-Agent: semireal\nDisallow: /", True),
        ("User-agent: other\nUser-agent: semireal\nDisallow: /", True),
        ("User-agent: *\nDisallow: /\n", False),  # for crawlers
        ("User-agent: *\nDisallow: /w/\n", False),
        ("User-agent: GPTBot\nContent-Signal: ai-train=no\nDisallow: /\n", False),
        ("User-agent: *\nContent-Signal: ai-train=yes, ai-input=no\n", False),
        ("User-agent: semireal\nDisallow:\n", False),
        ("", False),
        ("<html>not found</html>", False),
    ],
)
def test_only_what_is_about_training_counts(text: str, expected: bool) -> None:
    assert refuses(text) == expected
