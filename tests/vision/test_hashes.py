import imagehash
import numpy as np
from PIL import Image

from conftest import texture
from semireal.vision import hashes


def test_text_is_that_of_imagehash() -> None:
    """As manifests have it: what one hashes there with imagehash can be looked up."""
    for n in range(20):
        img = texture(n, 64 + n, 64)
        assert hashes.text(hashes.of(img)) == str(imagehash.phash(Image.fromarray(img), hash_size=16))


def test_hashes_stay_as_they_are() -> None:
    """Another version of a library that hashes otherwise would make other datasets."""
    assert (
        hashes.text(hashes.of(texture(0, 64, 64))) == "8e28c8d23913db454404a5f564d4dedad1f8d756f8e69c09a9db145a95c33af4"
    )
    assert (
        hashes.text(hashes.of(texture(1, 48, 40)[:, ::-1]))
        == "fec581489bdc1896a524f4b64c93f350f0f9512233f916f1a81ab789b73a31cd"
    )


def test_hamming_counts_bits() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((5, 256)) < 0.5, rng.random((7, 256)) < 0.3
    assert np.array_equal(hashes.hamming(a, b), (a[:, None] != b[None]).sum(axis=2))


def test_mirrored_heads_are_those_of_the_mirror_image() -> None:
    for n in range(5):
        img = texture(n, 128, 128)
        back = hashes.mirrored(hashes.heads(np.ascontiguousarray(img[:, ::-1]), None))
        assert (hashes.heads(img, None)[0] != back[0]).sum() <= 2


def test_landmarks_that_are_one_point_are_none() -> None:
    img = texture(0, 128, 128)
    assert np.array_equal(hashes.heads(img, np.full((5, 2), 0.4)), hashes.heads(img, None))


def test_packed_hashes_differ_in_as_many_bits() -> None:
    rng = np.random.default_rng(0)
    for bits in (hashes.BITS, hashes.HEAD_BITS):
        a, b = rng.random((2, bits)) < 0.5
        assert np.bitwise_count(hashes.packed(a) ^ hashes.packed(b)).sum() == (a != b).sum()
