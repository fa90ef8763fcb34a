"""The embedded gallery: what it lists, what its files are, and that gallery-dl can scrape it."""

import hashlib
import io
import itertools
import json
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from PIL import Image

from semireal.collect import made
from semireal.collect.gallery import Gallery, catalogue, server
from semireal.collect.gallery import faces as drawn
from semireal.collect.gallery.catalogue import TAGS, Post, posts, render, shown, truth
from semireal.collect.gallery.faces import ANYBODY
from semireal.vision import weights

CHARACTERS = ("elf", "geralt", "wonder_woman")
STYLES = ("photo", "portrait")


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        data = answer.read()
    assert isinstance(data, bytes)
    return data


def page(gallery: Gallery, query: str) -> list[dict[str, Any]]:
    listed = json.loads(fetch(f"{gallery.url}/post.json?{query}"))
    assert isinstance(listed, list)
    return listed


@pytest.fixture(scope="module")
def gallery() -> Iterator[Gallery]:
    with Gallery(seed=0) as opened:
        yield opened


def first(character: str, kind: str = "good", encoding: str = "jpeg", style: str | None = None) -> Post:
    return next(
        post
        for post in posts(character)
        if post.kind == kind and post.encoding == encoding and style in (None, post.style)
    )


def opened(post: Post) -> Image.Image:
    return Image.open(io.BytesIO(render(post)))


# --- determinism -------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_in_another_process() -> None:
    chosen = [first("elf"), first("geralt", style="portrait"), first("wonder_woman", "sketch")]
    code = (
        "import hashlib, sys; from semireal.collect.gallery.catalogue import posts, render\n"
        "for name, number in zip(sys.argv[1::2], sys.argv[2::2]):\n"
        "    post = next(p for p in posts(name) if p.id == int(number))\n"
        "    print(hashlib.sha256(render(post)).hexdigest())"
    )
    arguments = [str(value) for post in chosen for value in (post.character, post.id)]
    there = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert there.stdout.split() == [hashlib.sha256(render(post)).hexdigest() for post in chosen]


def test_another_seed_gives_other_bytes() -> None:
    one, other = (next(p for p in posts("elf", seed) if p.kind == "good" and p.number == 0) for seed in (0, 1))
    assert render(one) != render(other)


# --- the catalogue -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("character", CHARACTERS)
def test_every_list_has_enough_good_posts_and_a_third_of_others(character: str) -> None:
    listed = posts(character)
    kinds = Counter(post.kind for post in listed)
    assert kinds["good"] >= 160
    assert set(kinds) == {
        "good",
        "noface",
        "sketch",
        "anime",
        "duplicate",
        "tiny",
        "blurred",
        "truncated",
        "html",
        "intruder",
        "made",
    }
    assert kinds["intruder"] / len(listed) == pytest.approx(0.08, abs=0.005)
    assert 0.2 < 1 - kinds["good"] / len(listed) < 0.35
    for style in STYLES:
        assert sum(post.kind == "good" and style in post.tags for post in listed) >= 80
    assert len({post.id for post in listed}) == len(listed)
    encodings = {post.encoding for post in listed}
    assert encodings >= {
        "jpeg",
        "png",
        "webp",
        "cmyk",
        "deep",
        "palette",
        "alpha",
        "turned",
        "gif",
        "apng",
        "moving_webp",
    }


@pytest.mark.parametrize("character", CHARACTERS)
def test_what_a_machine_made_is_marked_and_at_the_end(character: str, tmp_path: Path) -> None:
    listed = posts(character)
    found = [post for post in listed if post.kind == "made"]
    assert found == listed[-6:]
    assert not any(made.of_list({"tags": " ".join(post.tags)}) for post in listed[:-6])
    marks = []
    for post in found[:3]:
        assert truth(post).box is not None
        (tmp_path / "file").write_bytes(render(post))
        marks.append(made.of_list({"tags": " ".join(post.tags)}) or made.of_file(tmp_path / "file"))
    assert marks == ["tag ai_generated", "IPTC trainedAlgorithmicMedia", "PNG chunk parameters"]


def test_anybody_is_never_one_of_the_characters() -> None:
    listed = posts(ANYBODY)
    assert sum(post.kind == "good" for post in listed) == 1500
    every = [post.id for tag in TAGS for post in posts(tag)]
    assert len(set(every)) == len(every)
    looks = [drawn._anybody(np.random.default_rng(n)) for n in range(300)]
    assert not any(look.scar or look.tiara for look in looks)
    assert not any(look.beard and look.masculine < 0.5 for look in looks)
    # each feature of each character with each of every other: what is known of one says nothing about the rest
    features = [[look.ear_tip > 0, look.masculine == 1, look.tied, look.outfit == "armour"] for look in looks]
    for one, other in itertools.combinations(np.array(features).T, 2):
        assert set(zip(one, other, strict=True)) == set(itertools.product((False, True), repeat=2))


@pytest.mark.parametrize("character", CHARACTERS)
def test_an_intruder_is_somebody_else_without_the_mark_of_the_character(character: str) -> None:
    strangers = [post for post in posts(character) if post.kind == "intruder"]
    assert all(character in post.tags for post in strangers)
    assert {shown(post) for post in strangers} == {ANYBODY, *CHARACTERS} - {character}
    mark = {"elf": "ear_tip", "geralt": "scar", "wonder_woman": "tiara"}[character]
    for post in strangers:
        assert not getattr(drawn._CAST[shown(post)](catalogue._picture_rng(post)), mark)
    assert not any(post.kind == "intruder" for post in posts(ANYBODY))


def test_an_unknown_character_is_refused() -> None:
    with pytest.raises(ValueError, match="yoda"):
        posts("yoda")


def test_near_duplicates_share_a_group_with_a_good_post_of_their_style() -> None:
    listed = posts("elf")
    good = {(post.style, post.number) for post in listed if post.kind == "good"}
    copies = [post for post in listed if post.kind == "duplicate"]
    assert copies
    assert all((post.style, post.number) in good for post in copies)
    copy = copies[0]
    original = next(p for p in listed if p.kind == "good" and (p.style, p.number) == (copy.style, copy.number))
    assert truth(copy).group == truth(original).group is not None
    assert render(copy) != render(original)


# --- odd encodings and things to reject are what they claim ------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "kind", "mode"),
    [
        ("cmyk", "JPEG", "CMYK"),
        ("palette", "PNG", "P"),
        ("alpha", "PNG", "RGBA"),
        ("png", "PNG", "RGB"),
        ("webp", "WEBP", "RGB"),
    ],
)
def test_encodings_have_their_mode(encoding: str, kind: str, mode: str) -> None:
    picture = opened(first("elf", encoding=encoding))
    assert (picture.format, picture.mode) == (kind, mode)


def test_the_deep_png_has_sixteen_bits() -> None:
    raw = np.frombuffer(render(first("geralt", encoding="deep")), np.uint8)
    assert raw[24] == 16  # bit depth in the header of a PNG
    image = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED)
    assert image is not None
    assert image.dtype == np.uint16


@pytest.mark.parametrize("encoding", ["gif", "apng", "moving_webp"])
def test_moving_pictures_have_frames(encoding: str) -> None:
    assert opened(first("wonder_woman", encoding=encoding)).n_frames > 1  # type: ignore[attr-defined]


def test_turned_pictures_say_so() -> None:
    turned = [post for character in CHARACTERS for post in posts(character) if post.encoding == "turned"]
    assert {opened(post).getexif().get(0x0112) for post in turned[:6]} <= {3, 6, 8}


@pytest.mark.parametrize("character", CHARACTERS)
def test_truncated_files_cannot_be_decoded(character: str) -> None:
    picture = opened(first(character, "truncated"))
    with pytest.raises(OSError, match="truncated"):
        picture.load()


@pytest.mark.parametrize("character", CHARACTERS)
def test_the_other_kinds(character: str) -> None:
    assert max(opened(first(character, "tiny")).size) <= 140
    assert render(first(character, "html")).startswith(b"<!DOCTYPE html>")
    sketch = np.asarray(opened(first(character, "sketch")))
    assert np.ptp(sketch.astype(int), axis=2).mean() < 25  # nearly grey
    assert np.median(sketch) > 150  # mostly paper
    sharp, soft = (np.asarray(opened(first(character, kind)).convert("L")) for kind in ("good", "blurred"))
    assert cv2.Laplacian(soft, cv2.CV_64F).var() < cv2.Laplacian(sharp, cv2.CV_64F).var() / 10
    flat = np.asarray(opened(first(character, "anime")).convert("L"))
    assert np.sort(np.bincount(flat.ravel(), minlength=256))[-12:].sum() > 0.5 * flat.size


# --- faces -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def detector() -> cv2.FaceDetectorYN:
    return cv2.FaceDetectorYN.create(str(weights.find(weights.YUNET)), "", (640, 640), 0.8)


def faces(detector: cv2.FaceDetectorYN, data: bytes) -> list[tuple[float, float, float, float]]:
    """Boxes of the faces in a file, its longest side brought to 640 px."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    factor = 640 / max(image.shape[:2])
    image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    detector.setInputSize((image.shape[1], image.shape[0]))
    found = detector.detect(image)[1]
    boxes = [] if found is None else found[:, :4] / factor
    return [(x, y, x + w, y + h) for x, y, w, h in boxes]


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (areas - width * height)


@pytest.mark.parametrize("style", STYLES)
def test_faces_are_found_where_they_are(style: str, detector: cv2.FaceDetectorYN) -> None:
    chosen = [
        post
        for character in CHARACTERS
        for post in [p for p in posts(character) if p.kind == "good" and p.style == style and p.encoding == "jpeg"][:8]
    ]
    hits = 0
    for post in chosen:
        box = truth(post).box
        assert box is not None
        hits += any(iou(box, face) >= 0.4 for face in faces(detector, render(post)))
    assert hits / len(chosen) >= 0.95


def test_pictures_without_a_face_have_none(detector: cv2.FaceDetectorYN) -> None:
    chosen = [post for post in posts("elf") if post.kind == "noface"][:8]
    assert sum(bool(faces(detector, render(post))) for post in chosen) <= 1


# --- the server --------------------------------------------------------------------------------------------


def test_pages_are_full_until_the_last(gallery: Gallery) -> None:
    expected = [post for post in posts("elf") if "photo" in post.tags]
    pages = [page(gallery, f"tags=elf+photo&page={number}&limit=100") for number in (1, 2, 3)]
    assert [len(listed) for listed in pages] == [100, len(expected) - 100, 0]
    assert [entry["id"] for listed in pages for entry in listed] == [post.id for post in expected]
    assert all({"elf", "photo"} <= set(entry["tags"].split()) for listed in pages for entry in listed)


def test_every_listed_file_is_served_as_listed(gallery: Gallery) -> None:
    for entry in page(gallery, "tags=elf+photo&page=1&limit=100"):
        data = fetch(entry["file_url"])
        assert hashlib.md5(data).hexdigest() == entry["md5"]
        assert len(data) == entry["file_size"]


def test_the_listing_does_not_tell_the_truth(gallery: Gallery) -> None:
    words = {"good", "noface", "sketch", "anime", "duplicate", "tiny", "blurred", "truncated", "html"}
    for entry in page(gallery, "tags=elf+photo&page=1&limit=100"):
        assert not words & set(json.dumps(entry).replace(".", " ").replace('"', " ").split())
        assert set(entry) >= {
            "id",
            "md5",
            "tags",
            "created_at",
            "author",
            "source",
            "rating",
            "width",
            "height",
            "file_url",
        }


def test_tags_are_combined_and_unknown_ones_find_nothing(gallery: Gallery) -> None:
    assert page(gallery, "tags=elf+yoda") == []
    assert page(gallery, "tags=elf+limit:2") == page(gallery, "tags=elf&limit=2")
    assert [entry["id"] for entry in page(gallery, "tags=geralt&limit=3")] == [post.id for post in posts("geralt")[:3]]


@pytest.mark.parametrize("path", ["/", "/image/1.jpg", "/image/x.jpg", "/image/", "/post"])
def test_unknown_addresses_are_not_found(gallery: Gallery, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(gallery.url + path)


@pytest.mark.parametrize("number", ["9" * 5000, "\u00b2", "-1", "x", "1e9"])
def test_numbers_that_are_none_get_an_answer(gallery: Gallery, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    written = quote(number)
    for path in (f"/image/{written}.jpg", f"/post.json?page={written}", f"/post.json?limit={written}"):
        with pytest.raises(urllib.error.HTTPError, match=r"400|404"):
            fetch(gallery.url + path)
    assert page(gallery, f"tags=elf+limit:{written}") == []
    assert "Traceback" not in capsys.readouterr().err


def test_a_closed_gallery_answers_no_more() -> None:
    with Gallery() as gallery:
        assert page(gallery, "tags=elf&limit=1&page=400") == []
    with pytest.raises(urllib.error.URLError):
        fetch(f"{gallery.url}/post.json")


END = "Host: 127.0.0.1\r\nConnection: close\r\n\r\n"
NONSENSE = {
    f"GET http://[ HTTP/1.1\r\n{END}": "404",
    f"GET //evil.example/post.json HTTP/1.1\r\n{END}": "404",
    f"GET /image/../../../etc/passwd HTTP/1.1\r\n{END}": "404",
    f"GET /image/%2e%2e%2f1.jpg HTTP/1.1\r\n{END}": "404",
    f"GET /image/..\\1.jpg HTTP/1.1\r\n{END}": "404",
    f"GET /image/1\0.jpg HTTP/1.1\r\n{END}": "404",
    f"GET /post.json?{'a=1&' * 9000}limit=0 HTTP/1.1\r\n{END}": "400",
    f"GET /{'x' * 70_000} HTTP/1.1\r\n{END}": "414",
    f"GET / HTTP/1.1\r\nA: {'x' * 70_000}\r\n{END}": "431",
    f"GET / HTTP/1.1\r\n{'A: b' * 1000}\r\n{END}": "404",
    "GET / HTTP/1.1\r\n" + "A: b\r\n" * 1000 + END: "431",
    f"POST /post.json HTTP/1.1\r\n{END}": "501",
    f"<script> / HTTP/1.1\r\n{END}": "501",
    f"CONNECT 127.0.0.1:1 HTTP/1.1\r\n{END}": "501",
    f"GET / HTTP/9.9\r\n{END}": "505",
}


@pytest.mark.parametrize("sent", NONSENSE)
def test_nonsense_gets_an_answer_and_is_no_news(
    gallery: Gallery, sent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(("127.0.0.1", int(gallery.url.rpartition(":")[2])), timeout=20) as raw:
        with suppress(ConnectionError):
            raw.sendall(sent.encode("latin-1"))
        assert NONSENSE[sent] in raw.recv(2000).decode()
    assert capsys.readouterr().err == ""


def test_silent_clients_are_let_go_and_do_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = Gallery().__enter__()
    with ExitStack() as stack:
        address = "127.0.0.1", int(gallery.url.rpartition(":")[2])
        held = [stack.enter_context(socket.create_connection(address, timeout=20)) for _ in range(20)]
        for n, one in enumerate(held):
            one.sendall(b"GET /post.json"[: n % 3 * 6])
        monkeypatch.setattr(server._Handler, "timeout", server._Handler.timeout / 300)
        with socket.create_connection(address, timeout=20) as one:
            one.sendall(b"GET /post")
            assert one.recv(100) == b""
        assert page(gallery, "tags=none") == []
        ended = threading.Thread(target=gallery.__exit__, args=(None, None, None))
        ended.start()
        ended.join(20)
        assert not ended.is_alive()


def test_gallery_dl_downloads_a_range(gallery: Gallery, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "gallery_dl",
        "--config-ignore",
        "--range",
        "1-8",
        "--write-metadata",
        "-D",
        str(tmp_path),
    ]
    command += ["-o", "filename={id}.{extension}", f"moebooru:{gallery.url}/post?tags=elf+photo"]
    subprocess.run(command, check=False, capture_output=True, timeout=60)
    expected = [post for post in posts("elf") if "photo" in post.tags][:8]
    for post in expected:
        if post.kind == "html":  # gallery-dl refuses these
            continue
        file = tmp_path / f"{post.id}.{post.extension}"
        assert file.read_bytes() == render(post)
        assert json.loads(file.with_name(file.name + ".json").read_text())["author"] == post.author
