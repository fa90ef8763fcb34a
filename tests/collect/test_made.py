"""What says that a machine made a picture: lists and files that do, those that only look like it, and nonsense."""

import io
import json
import shutil
import struct
import subprocess
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin

from conftest import ROOT, texture
from hostile import png
from semireal.collect import blocks, made

C2PA = ROOT / "tests" / "data" / "c2pa"
A1111 = "an elf\nNegative prompt: bad\nSteps: 25, Sampler: Euler a, CFG scale: 7, Seed: 99, Size: 512x768"
FORGE = "an elf\nSteps: 20, Schedule type: Simple, CFG scale: 1, Distilled CFG Scale: 3.5, Seed: 1, Size: 8x8"
COMFY = json.dumps({"3": {"inputs": {"seed": 5, "model": ["4", 0]}, "class_type": "KSampler"}})
PAGE = json.dumps({"last_node_id": 9, "last_link_id": 9, "nodes": [], "links": []})
NOVELAI = json.dumps({"prompt": "an elf", "steps": 28, "sampler": "k_euler", "seed": 1, "uc": "bad"})
FOOOCUS = json.dumps({"prompt": "an elf", "negative_prompt": "", "base_model": "x", "steps": 30})
JOB = "an elf --v 5 --ar 2:3 Job ID: 1b4f0a3e-8c2d-4f6b-9a7e-0123456789ab"
LABEL = json.dumps({"Label": "1", "ContentProducer": "0011", "ProduceID": "7"})
TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def xmp(attributes: str = "", inside: str = "") -> bytes:
    spaces = "".join(
        f' xmlns:{short}="{name}"'
        for short, name in {
            "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
            "photoshop": "http://ns.adobe.com/photoshop/1.0/",
            "xmp": "http://ns.adobe.com/xap/1.0/",
            "dc": "http://purl.org/dc/elements/1.1/",
            "TC260": "http://www.tc260.org.cn/ns/AIGC/1.0/",
        }.items()
    )
    body = f'<rdf:Description rdf:about=""{spaces} {attributes}>{inside}</rdf:Description>'
    rdf = f'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">{body}</rdf:RDF>'
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{rdf}</x:xmpmeta>'.encode()


def saved(kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(texture(0)).resize((16, 16)).save(out, kind, **options)
    return out.getvalue()


def exif(**fields: str | bytes) -> Image.Exif:
    found = Image.Exif()
    for name, value in fields.items():
        tag = ExifTags.Base[name]
        (found.get_ifd(ExifTags.IFD.Exif) if name == "UserComment" else found)[tag] = value
    return found


@pytest.fixture
def told(tmp_path: Path) -> Callable[[bytes], str]:
    """What the bytes of a file tell."""

    def of(data: bytes) -> str:
        path = tmp_path / "file"
        path.write_bytes(data)
        return made.of_file(path)

    return of


# --- lists ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ({"category": "pixiv", "illust_ai_type": 2}, "flag illust_ai_type"),
        ({"category": "civitai"}, "site civitai"),
        ({"category": "aibooru", "tags": ["1girl"]}, "site aibooru"),
        ({"isAiGenerated": True}, "flag isAiGenerated"),
        ({"tags": "elf ai_generated portrait"}, "tag ai_generated"),  # moebooru, gelbooru
        ({"tags": ["elf", "ai-generated"]}, "tag ai-generated"),  # danbooru
        ({"tags": ["elf", "ai-assisted"]}, "tag ai-assisted"),
        ({"tags": ["elf", "AI Generated"]}, "tag AI Generated"),  # a list keeps the words of a tag together
        ({"tags": "elf, ai generated, fantasy"}, "tag ai generated"),
        ({"tags": ["elf", "#MidJourney"]}, "tag MidJourney"),
        ({"tags": ["CreatedWithAI"]}, "tag CreatedWithAI"),  # ArtStation
        ({"tags": [{"name": "AIイラスト", "translated_name": "AI-generated"}]}, "tag AIイラスト"),
        ({"tags": [{"name": "x", "translated_name": "AI-generated"}]}, "tag AI-generated"),
        ({"tags": ["stable_diffusion_(medium)"]}, "tag stable_diffusion_(medium)"),
        ({"tags": ["meta:ai generated"]}, "tag meta:ai generated"),
        ({"tags": ["safe", "generator:anything v4"]}, "tag generator:anything v4"),  # Philomena
        ({"tags": ["DALL·E 3"]}, "tag DALL·E 3"),
        ({"tags_meta": ["ai-generated"]}, "tag ai-generated"),
        ({"hashtags": ["aiart"]}, "tag aiart"),
        ({"tags": ["noai", "aiart"]}, "tag aiart"),  # noai is about training
        ({"description": "My elf! #fantasy #aiart"}, "tag aiart"),  # Pinterest, Flickr
        ({"software_items": [{"name": "Photoshop"}, {"name": "Midjourney"}]}, "software Midjourney"),  # ArtStation
        (
            {"extmetadata": {"Categories": {"value": "Elves|AI-generated images by Midjourney|CC-Zero"}}},
            "category AI-generated images by Midjourney",
        ),
        ({"extmetadata": {"Categories": {"value": "Elves|PD_Algorithm"}}}, "category PD Algorithm"),
        (
            {"extmetadata": {"Categories": {"value": "Portraits created with DALL-E"}}},
            "category Portraits created with DALL-E",
        ),
    ],
)
def test_what_a_list_says_is_told(meta: dict[str, Any], expected: str) -> None:
    assert made.of_list(meta) == expected


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"tags": "noai"},
        {"tags": ["NoAI", "no ai"]},
        {"tags": ["not ai", "not_ai_generated", "non-ai", "human made"]},
        {"tags": ["aiart", "not ai generated"]},  # who contradicts himself tells nothing
        {"tags": ["#noaiart", "#aiart"]},
        {"description": "Say no to #aiart! #NoToAIArt"},
        {"tags": ["hoshino_ai", "ai", "Ai", "ai_(oshi_no_ko)", "ai hoshino"]},
        {"tags": "ai hoshino generated art"},  # words of a text are tags of their own
        {"tags": ["firefly", "flux", "imagen", "Dalle", "Béatrice Dalle", "lora", "prompt", "diffusion"]},
        {"tags": ["ai_upscaled", "upscaled"]},
        {"tags": ["aigeneratedx", "xaiart", "bonsaiart", "samuraiart"]},  # whole tags alone
        {"title": "AI generated", "description": "not ai generated; aiart is a word here"},
        {"description": "see https://example.org/page#aiart"},
        {"search_tags": "ai_generated"},  # what was asked for, which one may exclude: -ai_generated
        {"illust_ai_type": 1},
        {"illust_ai_type": 0},
        {"is_ai_generated": False},
        {"isAiGenerated": "no"},
        {"category": "demo"},
        {"software_items": [{"name": "Photoshop"}, {"name": "Krita"}, {"name": "Midjourneys"}, "Midjourney", {}]},
        {"extmetadata": {"Categories": {"value": "Ai Weiwei|Created with GIMP|Photographs taken with Canon"}}},
        {"extmetadata": {"Categories": {"value": "Images enlarged using artificial intelligence|Midjourney logos"}}},
    ],
)
def test_what_only_looks_like_it_is_not_told(meta: dict[str, Any]) -> None:
    assert made.of_list(meta) == ""


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = [*made._TAG_FIELDS, *made._WORDS, *made._FLAGS, *made._PIXIV, "category", "software_items", "extmetadata"]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_any_list_is_read(meta: dict[str, Any]) -> None:
    found = made.of_list(meta)
    assert found.splitlines() in ([], [found])


# --- files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "gif", "avif"])
def test_c2pa_of_another_program_is_read(suffix: str) -> None:
    assert made.of_file(C2PA / f"made.{suffix}") == "C2PA trainedAlgorithmicMedia"


def test_c2pa_of_a_photo_tells_nothing() -> None:
    assert [block.kind for block in blocks.blocks(C2PA / "taken.jpg")] == [blocks.C2PA]
    assert made.of_file(C2PA / "taken.jpg") == ""


@pytest.mark.parametrize("part", [20, 97, 1000])
def test_c2pa_in_many_segments_is_put_together(told: Callable[[bytes], str], part: int) -> None:
    (whole,) = [block.text for block in blocks.blocks(C2PA / "made.jpg") if block.kind == blocks.C2PA]
    store = whole.encode("latin-1")
    assert int.from_bytes(store[:4]) == len(store)
    head, body = store[:8], store[8:]
    segments = b""
    for number, at in enumerate(range(0, len(body), part), 1):
        content = b"JP" + struct.pack(">HI", 1, number) + head + body[at : at + part]
        segments += b"\xff\xeb" + struct.pack(">H", len(content) + 2) + content
    assert told(b"\xff\xd8" + segments + saved("JPEG")[2:]) == "C2PA trainedAlgorithmicMedia"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"parameters": A1111}, "PNG chunk parameters"),
        ({"parameters": FORGE}, "PNG chunk parameters"),
        ({"parameters": json.dumps({"sui_image_params": {"prompt": "elf"}})}, "PNG chunk parameters"),  # SwarmUI
        ({"parameters": FOOOCUS}, "PNG chunk parameters"),
        ({"fooocus_scheme": "fooocus"}, "PNG chunk fooocus_scheme"),
        ({"prompt": COMFY}, "PNG chunk prompt"),
        ({"workflow": PAGE}, "PNG chunk workflow"),
        ({"invokeai_metadata": "{}"}, "PNG chunk invokeai_metadata"),
        ({"sd-metadata": "{}"}, "PNG chunk sd-metadata"),
        ({"Dream": '"an elf" -s 50 -S 1234 -W 512 -H 768 -C 7.5 -A k_lms'}, "PNG chunk Dream"),
        ({"Software": "NovelAI", "Source": "Stable Diffusion 1D44365E"}, "PNG chunk Software NovelAI"),
        ({"Comment": NOVELAI}, "PNG chunk Comment"),
        ({"use_stable_diffusion_model": "sd-v1-4"}, "PNG chunk use_stable_diffusion_model"),  # Easy Diffusion
        ({"Description": JOB, "Author": "somebody"}, "PNG chunk Description"),  # Midjourney
        ({"Credit": "Made with Google AI"}, "PNG chunk Credit Made with Google AI"),
        ({"AIGC": LABEL}, "PNG chunk AIGC"),
    ],
)
def test_texts_of_generators_in_a_png_are_told(
    texts: dict[str, str], expected: str, told: Callable[[bytes], str]
) -> None:
    assert told(png(**texts)) == expected


@pytest.mark.parametrize(
    "texts",
    [
        {"Title": "Steps: a prompt delivery", "Description": "my workflow, with parameters"},
        {"prompt": "What does the elf say?", "workflow": "sketch, ink, colour", "parameters": "gamma=2.2, steps=3"},
        {"Dream": "of a summer night"},
        {"invokeai_metadata": ""},
        {"Software": "Adobe Photoshop 26.0 (Windows)"},
        {"Software": "GIMP 2.10", "Source": "a firefly in the garden", "Author": "Béatrice Dalle"},
        {"Comment": "made without Midjourney, and without Stable Diffusion"},
        {"Artist": "Stefan Midjourneyman", "Title": "Midjourney"},
        {"Comment": "Steps: 20, then a rest. The seed: 1"},
        {"AIGC": json.dumps({"Label": "2"})},  # a suspicion
        {"Credit": "Photo: Google Images"},
        {"Author": "Dall E. Smith"},
    ],
)
def test_other_texts_of_a_png_are_not(texts: dict[str, str], told: Callable[[bytes], str]) -> None:
    assert told(png(**texts)) == ""


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


@pytest.mark.parametrize(
    "more",
    [
        chunk(b"tEXt", b"parameters\0" + A1111.encode()),
        chunk(b"zTXt", b"parameters\0\0" + zlib.compress(A1111.encode())),
        chunk(b"iTXt", b"parameters\0\1\0de\0Angaben\0" + zlib.compress(A1111.encode())),
        chunk(b"iTXt", b"parameters\0\0\0\0\0" + A1111.encode()),
        chunk(b"tEXt", b"parameters\0" + A1111.encode())[:-4] + b"CRC?",  # a wrong check sum
        chunk(b"tEXt", b"x\0" + bytes(3_000_000)) + chunk(b"tEXt", b"parameters\0" + A1111.encode()),
        chunk(b"zTXt", b"x\0\0broken") + chunk(b"tEXt", b"parameters\0" + A1111.encode()),
    ],
)
def test_a_text_behind_the_pixels_counts_however_it_is_written(more: bytes, told: Callable[[bytes], str]) -> None:
    whole = saved("PNG")
    assert told(whole[:-12] + more + whole[-12:]) == "PNG chunk parameters"


EXIFS: list[tuple[dict[str, Any], str]] = [
    ({"UserComment": b"UNICODE\0" + A1111.encode("utf-16-be")}, "EXIF UserComment"),
    ({"UserComment": b"UNICODE\0" + A1111.encode("utf-16-le")}, "EXIF UserComment"),
    ({"UserComment": b"ASCII\0\0\0" + A1111.encode()}, "EXIF UserComment"),
    ({"UserComment": b"\0" * 8 + json.dumps({"AIGC": json.loads(LABEL)}).encode()}, "EXIF UserComment"),
    ({"Make": f"workflow:{PAGE}", "Model": f"prompt:{COMFY}"}, "EXIF Make"),  # ComfyUI, in a WebP
    ({"ImageDescription": JOB}, "EXIF ImageDescription"),
    ({"Software": "Midjourney"}, "EXIF Software Midjourney"),
    ({"Artist": "DALL-E 3"}, "EXIF Artist DALL-E"),
    ({"Software": "Adobe Photoshop 26.0", "Make": "Canon", "Model": "EOS R5", "Artist": "A. Firefly"}, ""),
    ({"ImageDescription": "Midjourney? No, painted by hand", "Software": "Procreate"}, ""),
]


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        (kind, {"Software": "x"} | fields, expected)
        for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
        for fields, expected in EXIFS
        if kind != "TIFF" or "UserComment" not in fields  # Pillow writes none; exiftool does, below
    ],
)
def test_exif_is_read_in_every_format(
    kind: str, fields: dict[str, Any], expected: str, told: Callable[[bytes], str]
) -> None:
    assert told(saved(kind, exif=exif(**fields))) == expected


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF"])
@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (
            xmp(f'Iptc4xmpExt:DigitalSourceType="{TERMS}trainedAlgorithmicMedia"'),
            "IPTC trainedAlgorithmicMedia",
        ),
        (
            xmp("", f"<Iptc4xmpExt:DigitalSourceType>{TERMS}compositeWithTrainedAlgorithmicMedia</...>"),
            "IPTC compositeWithTrainedAlgorithmicMedia",
        ),
        (
            xmp("", f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{TERMS}compositeSynthetic"/>'),
            "IPTC compositeSynthetic",
        ),
        (xmp("Iptc4xmpExt:DigitalSourceType='trainedAlgorithmicMedia'"), "IPTC trainedAlgorithmicMedia"),
        (xmp('Iptc4xmpExt:AISystemUsed="Some Model"'), "IPTC AISystemUsed"),
        (xmp('photoshop:Credit="Made with Google AI"'), "XMP Credit Made with Google AI"),
        (xmp("", "<xmp:CreatorTool>Draw Things</xmp:CreatorTool>"), "XMP CreatorTool Draw Things"),
        (xmp(f"TC260:AIGC='{LABEL.replace(chr(34), '&quot;')}'"), "XMP settings"),
        (xmp("", f"<dc:description><rdf:Alt><rdf:li>{JOB}</rdf:li></rdf:Alt></dc:description>"), "XMP settings"),
        (xmp(f'Iptc4xmpExt:DigitalSourceType="{TERMS}digitalCapture"'), ""),
        (xmp(f'Iptc4xmpExt:DigitalSourceType="{TERMS}algorithmicallyEnhanced"'), ""),
        (xmp(f'Iptc4xmpExt:DigitalSourceType="{TERMS}algorithmicMedia"'), ""),
        (
            xmp(f'Iptc4xmpExt:DigitalSourceType="{TERMS}digitalCreation" dc:title="On trainedAlgorithmicMedia"'),
            "",
        ),
        (xmp('xmp:CreatorTool="Adobe Photoshop 26.0" photoshop:Credit="Photo: Midjourney, no"'), ""),
        (xmp('Iptc4xmpExt:AISystemUsed=""'), ""),
    ],
)
def test_xmp_is_read_in_every_format(kind: str, packet: bytes, expected: str, told: Callable[[bytes], str]) -> None:
    options: dict[str, Any] = {"xmp": packet}
    if kind == "PNG":
        about = PngImagePlugin.PngInfo()
        about.add_itxt("XML:com.adobe.xmp", packet.decode())
        options = {"pnginfo": about}
    if kind == "TIFF":
        options = {"tiffinfo": {700: packet}}
    data = saved(kind) if kind == "GIF" else saved(kind, **options)
    if kind == "GIF":
        data = data[:-1] + b"!\xff\x0bXMP DataXMP" + packet + b"\1" + bytes(range(255, -1, -1)) + b"\0;"
    assert told(data) == expected


def test_a_comment_of_a_jpeg_is_read(told: Callable[[bytes], str]) -> None:
    assert told(saved("JPEG", comment=A1111)) == "JPEG comment"
    assert told(saved("JPEG", comment="CREATOR: gd-jpeg v1.0, Midjourney")) == ""


def test_xmp_that_needs_several_segments_is_put_together(told: Callable[[bytes], str]) -> None:
    whole = xmp(f'Iptc4xmpExt:DigitalSourceType="{TERMS}trainedAlgorithmicMedia"')
    cut = whole.index(b"Algorithmic")
    main, more = blocks._XMP + xmp(), blocks._MORE_XMP + bytes(40)
    segments = b"".join(
        b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content
        for content in (main, more + whole[:cut], more + whole[cut:])
    )
    assert told(b"\xff\xd8" + segments + saved("JPEG")[2:]) == "IPTC trainedAlgorithmicMedia"


ALL, WITH_EXIF = "jpg png webp tif gif avif", "jpg png webp tif avif"
EXIFTOOL = [
    (f"-XMP-iptcExt:DigitalSourceType={TERMS}trainedAlgorithmicMedia", ALL, "IPTC trainedAlgorithmicMedia"),
    ("-XMP-photoshop:Credit=Made with Google AI", ALL, "XMP Credit Made with Google AI"),
    ("-XMP-xmp:CreatorTool=Midjourney", ALL, "XMP CreatorTool Midjourney"),
    (f"-XMP-iptcExt:DigitalSourceType={TERMS}digitalCapture", ALL, ""),
    (f"-EXIF:UserComment={A1111}", WITH_EXIF, "EXIF UserComment"),
    ("-EXIF:Software=ComfyUI", WITH_EXIF, "EXIF Software ComfyUI"),
    (f"-EXIF:XPComment={JOB}", WITH_EXIF, "EXIF XPComment"),
    ("-EXIF:Software=Photoshop", WITH_EXIF, ""),
    ("-IPTC:Credit=Edited with Google AI", "jpg tif", "IPTC Credit Edited with Google AI"),
    (f"-PNG:Comment={NOVELAI}", "png", "PNG chunk Comment"),
    (f"-File:Comment={A1111}", "jpg", "JPEG comment"),
]


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool (Debian: libimage-exiftool-perl)")
@pytest.mark.parametrize(
    ("argument", "suffix", "expected"),
    [(argument, one, expected) for argument, suffixes, expected in EXIFTOOL for one in suffixes.split()],
)
def test_what_exiftool_writes_is_read(
    argument: str, suffix: str, expected: str, tmp_path: Path, told: Callable[[bytes], str]
) -> None:
    file = tmp_path / f"a.{suffix}"
    file.write_bytes(saved({"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix)))
    subprocess.run(["exiftool", "-q", "-overwrite_original", argument, str(file)], check=True, capture_output=True)
    assert told(file.read_bytes()) == expected


# --- nonsense ------------------------------------------------------------------------------------------------

BEGINNINGS = [
    b"",
    *(b"\xff\xd8" + more for more in (b"\xff\xe1", b"\xff\xeb", b"\xff\xed", b"\xff\xfe")),
    b"\xff\xd8\xff\xe1\x40\x00Exif\0\0II*\0\x08\0\0\0",
    b"\xff\xd8\xff\xeb\x40\x00JP\0\1",
    b"\x89PNG\r\n\x1a\n",
    *(b"\x89PNG\r\n\x1a\n\x7f\xff\xff\xff" + name for name in (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"caBX")),
    *(b"RIFF\xff\xff\xff\xffWEBP" + name + b"\xff\xff\xff\xff" for name in (b"EXIF", b"XMP ", b"C2PA")),
    b"II*\0\x08\0\0\0\xff\xff",
    b"MM\0*\0\0\0\x08\xff\xff",
    b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0",  # its EXIF is itself
    b"GIF89a!\xff\x0bC2PA_GIF\1\0\0",
    b"\0\0\0\x18ftypavif\0\0\0\1uuid" + blocks._BOX,
    b"<x:xmpmeta",
]


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(begin=st.sampled_from(BEGINNINGS), rest=st.binary(max_size=400))
@example(begin=b"II*\0\xff\xff\xff\xff", rest=b"")
def test_any_bytes_are_read(begin: bytes, rest: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(begin + rest)
    assert isinstance(made.of_file(path), str)


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["made.jpg", "made.png", "made.webp", "made.tif", "made.gif", "made.avif"]),
    end=st.integers(0, 5000),
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=8),
)
def test_damaged_files_are_read(name: str, end: int, changes: list[tuple[int, int]], tmp_path: Path) -> None:
    data = bytearray((C2PA / name).read_bytes()[:end])
    for at, byte in changes:
        if at < len(data):
            data[at] = byte
    path = tmp_path / "file"
    path.write_bytes(data)
    assert made.of_file(path) in ("", "C2PA trainedAlgorithmicMedia")


def test_what_is_no_file_tells_nothing(tmp_path: Path) -> None:
    assert made.of_file(tmp_path) == made.of_file(tmp_path / "none") == ""


def tiff_of(entries: list[tuple[int, int, int, int]]) -> bytes:
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4)


HUGE = {
    "a PNG's chunk": b"\x89PNG\r\n\x1a\n\x7f\xff\xff\xfftEXtparameters\0",
    "a WebP's chunk": b"RIFF\xff\xff\xff\xffWEBPXMP \xff\xff\xff\xff",
    "a TIFF's texts": tiff_of([(tag, 2, 0xFFFFFFFF, 8) for tag in blocks._TEXTS]),
    "a TIFF's texts, one tag again and again": tiff_of([(0x0131, 2, 0xFFFFFFFF, 8)] * 60_000),
    "what has no structure": b"\0\0\0\x18ftypavif" + bytes(8),
    "a box": b"\0\0\0\1uuid" + blocks._BOX,
}


@pytest.mark.parametrize("what", HUGE)
def test_a_large_file_takes_little_memory_and_time(what: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.write(HUGE[what])
        file.truncate(2_000_000_000)  # most of it is a hole
    tracemalloc.start()
    began = time.monotonic()
    assert made.of_file(path) == ""
    took, (_, most) = time.monotonic() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 120_000_000
    assert took < 20


BOMBS = {
    "parts of a JPEG": b"\xff\xd8" + (b"\xff\xeb\0\x0cJP\0\1" + bytes(6)) * 300_000,
    "boxes of a JPEG": b"\xff\xd8"
    + b"".join(b"\xff\xeb\0\x0cJP" + struct.pack(">H", n % 65_536) + bytes(6) for n in range(300_000)),
    "packets without an end": b"GIF89a" + b"<x:xmpmeta " * 700_000,
    "packets": b"GIF89a" + b"<x:xmpmeta></x:xmpmeta>" * 300_000,
    "EXIF": b"GIF89a" + b"Exif\0\0II*\0\x08\0\0\0" * 300_000,
    "datasets": b"\xff\xd8" + (b"\xff\xed\xff\xff" + b"\x1c\x02\x6e\x7f\xff" * 13_106 + b"xxx") * 100,
    "words of a packet": saved("WEBP", xmp=b"DigitalSourceType='" * 300_000),
    "settings": png(parameters="Steps: 1, " * 50_000),
    "labels": png(parameters="AIGC:{" * 50_000),
    "packed texts": b"\x89PNG\r\n\x1a\n" + chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(20_000_000))) * 2000,
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_takes_little_time(what: str, told: Callable[[bytes], str]) -> None:
    began = time.monotonic()
    assert told(BOMBS[what]) == ""
    assert time.monotonic() - began < 20
