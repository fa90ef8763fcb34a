"""The figures of the 2022 report, with the digits that it prints."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One of its experiments.

    title: as the report calls it. raw, faces: images collected, and what its preprocessing left of them before any was
    picked or added by hand; rough: both are about. images: of the training set; photo_share: of these, None = not
    verified. epochs: of 1000 images each. fid: None = not evaluated.
    """

    title: str
    raw: int
    faces: int
    rough: bool
    images: int
    photo_share: float | None
    epochs: int
    inception_score: float
    fid: float | None


REPORT = {
    "geralt": Published("Geralt", 200, 20, True, 58, 0.5, 52, 1.6042732, None),
    "wonder_woman": Published("Wonder Woman", 1071, 129, False, 200, 0.36, 28, 1.2491823, 80.38091),
    "elf": Published("elves", 6777, 1212, False, 1212, None, 108, 1.2523042, 73.80367),
}
