"""Whether a picture was made by a machine, as far as its site or its file says so. Nothing is guessed from pixels.

A word counts where it stands for that alone: a whole tag, a field that names a program, a block of settings. What it
would be wrong to count is in tests/collect/test_made.py; what is recognised and what cannot be, in docs/collecting.md.
"""

import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from semireal import text
from semireal.collect import blocks
from semireal.collect.blocks import Block

REASON = "made by a machine"
LONGEST = 100_000  # characters of a text in which settings are looked for
DEEPEST = 3  # lists in lists of tags

# --- what a list says -----------------------------------------------------------------------------------------------

_FLAGS = ("is_ai_generated", "isAiGenerated", "is_ai", "isAI", "ai_generated", "aiGenerated", "made_with_ai")
_PIXIV, _PIXIV_MADE = ("illust_ai_type", "ai_type", "aiType"), 2  # 1: not by a machine, 0: older than the question
_SITES = ("aibooru", "civitai", "lexica", "tungsten")  # by gallery-dl's names: they have nothing else
_TAG_FIELDS = ("tags", "tag_string", "tags_meta", "tags_metadata", "hashtags", "keywords")
_WORDS = ("title", "description", "content", "caption", "text")  # may have hashtags
_HASHTAG = re.compile(r"(?<![\w&/#])#(\w{2,60})")

# Whole tags without spaces and signs. Not among them: `ai` and what begins with it, a first name; `firefly`, a series;
# `flux`, `imagen` and `dalle`, words and names; upscaling, which makes no picture.
_TAGS = frozenset(
    (
        *("aigenerated", "aigeneratedart", "aigeneratedartwork", "aigeneratedcontent", "aigeneratedimage"),
        *("aigeneratedimages", "generatedbyai", "generatedwithai", "artificialintelligenceart"),
        *(
            "aiassisted",
            "aiassistedart",
            "aiart",
            "aiarts",
            "aiartwork",
            "aiartworks",
            "aiartcommunity",
            "aiartgallery",
        ),
        *("aicreated", "aicontent", "aicomposed", "aicomposition", "aigc", "aiimage", "aiimages", "aiillustration"),
        *("aiillust", "aiphotography", "aipainting", "aidrawing", "aigallery", "createdwithai", "createdbyai"),
        *("createdusingai", "createdusingaitools", "madewithai", "madebyai", "generativeai", "genai", "aiイラスト"),
        *("ai生成", "ai生成作品", "ai绘画", "ai繪圖", "ai絵", "ai그림", "machinelearninggenerated", "syntheticmedia"),
        *(
            "midjourney",
            "midjourneyai",
            "midjourneyart",
            "midjourneyartwork",
            "midjourneycommunity",
            "madewithmidjourney",
        ),
        *(
            "midjourneyv3",
            "midjourneyv4",
            "midjourneyv5",
            "midjourneyv6",
            "midjourneyv7",
            "nijijourney",
            "nijidiffusion",
        ),
        *("stablediffusion", "stablediffusionai", "stablediffusionart", "stablediffusionxl", "stablediffusion15"),
        *(
            "stablediffusion3",
            "sdxl",
            "novelai",
            "novelaidiffusion",
            "waifudiffusion",
            "comfyui",
            "fooocus",
            "invokeai",
        ),
        *("dalle2", "dalle3", "dallemini", "craiyon", "leonardoai", "bingimagecreator", "bingai", "adobefirefly"),
        *("nightcafe", "nightcafestudio", "wombodream", "dreambywombo", "artbreeder", "ideogramai", "playgroundai"),
        *("seaart", "seaartai", "pixai", "dreamup", "dreamstudio", "googleimagen", "fluxai", "fluxdev"),
    )
)
# What contradicts them: that no machine did it, or that somebody is against it. `noai` alone is about training.
_NO_TRAINING = "noai"
_DENIAL = re.compile(r"(?:not?|non|anti|(?:say)?noto|stop|against|without|not\w{4,7}(?:by|with))(?:generative|gen)?ai")
_DALL_E = re.compile(r"\s*dall[\W_]e(?:[\W_]?[23])?\s*", re.IGNORECASE)  # as one word it is a surname
_GENERATOR = re.compile(r"generator:.", re.IGNORECASE)  # of Philomena

# --- names of programs ----------------------------------------------------------------------------------------------

# at the start of a field that names a program, or who made it
_PROGRAMS = re.compile(
    r"\s*(midjourney|niji ?journey|novelai|comfyui|invokeai|automatic1111|stable[ -]?diffusion|stability\.? ?ai"
    r"|dreamstudio|(?:ruined)?fooocus|(?:stable)?swarmui|draw things|dall[-\u00b7\u2022\u2219\u22c5]e|dall ?e[ -]?[23]"
    r"|gpt-image|openai|firefly image|adobe firefly|bing image creator|leonardo\.? ?ai|ideogram(?=(?:[ .]ai)?\s*$)"
    r"|nightcafe|craiyon|artbreeder|easy ?diffusion|diffusionbee|mochi diffusion|sd\.next|playground ai|civitai"
    r"|tensor\.art|seaart|pixai|google imagen|(?:made|edited|created|generated) with google ai)(?!\w)",
    re.IGNORECASE,
)
_PROGRAM_FIELDS = frozenset(
    (
        *("software", "source", "generator", "creatortool", "originatingprogram", "make", "model"),
        *("credit", "artist", "author", "by-line"),
    )
)
# of Wikimedia Commons, where a category is a phrase
_CATEGORY = re.compile(
    r"ai[- ]generated\b|pd[- ]algorithm$|artificial intelligence generated\b"
    r"|(?:.* )?(?:generated|created|made) (?:by|with|using) (?:an? )?(?:ai|artificial intelligence|generative ai)\b"
    r"|(?:.* )?(?:generated|created|made) (?:by|with|using) (?=(?P<program>.*))",
    re.IGNORECASE,
)

# --- what a file says -----------------------------------------------------------------------------------------------

# https://cv.iptc.org/newscodes/digitalsourcetype: made by a model, or with parts that one made. Not
# algorithmicallyEnhanced (sharpened, freed of noise: the picture of a phone), nor algorithmicMedia (a fractal: nothing
# was learnt).
_TERM = r"(trainedAlgorithmicMedia|compositeWithTrainedAlgorithmicMedia|compositeSynthetic|trainedAlgorithmicData)\b"
_XMP_TERM = re.compile(
    rf"DigitalSource(?:File)?Type\s*(?:=|>|\s+rdf:resource\s*=)\s*[\"']?[^\"'<>\s]{{0,200}}?\b{_TERM}", re.IGNORECASE
)
# texts lie in CBOR and JSON as they are
_C2PA_TERM = re.compile(rf"digitalsourcetype\\?/{_TERM}|(com\.adobe\.generative-ai)", re.IGNORECASE)
_XMP_FIELD = re.compile(r"\b(CreatorTool|Credit)\s*(?:=\s*[\"']|>)([^\"'<>]{1,200})")
_XMP_SYSTEM = re.compile(r"\b(AISystemUsed|AIPromptInformation)\s*(?:=\s*[\"']|>(?:\s*<[^>]{1,80}>){0,3})\s*[^\"'<>\s]")

_CHUNKS = ("invokeai_metadata", "invokeai_graph", "sd-metadata", "fooocus_scheme", "use_stable_diffusion_model")
_DREAM = re.compile(r"\s-S ?\d+\b.*\s-[WH] ?\d+\b", re.DOTALL)  # of InvokeAI's ancestor: seed and size
_SETTINGS = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"\bSteps: \d+, (?=.{0,1000}?\b(?:Sampler|CFG scale): )(?=.{0,1000}?\bSeed: \d)",  # AUTOMATIC1111 and its kin
        r'"class_type"\s*:\s*"',  # ComfyUI: nodes, and the page on which they were drawn
        r'"last_node_id"\s*:\s*\d',
        r'"sui_image_params"\s*:',  # SwarmUI
        r'^(?=.*"uc"\s*:)(?=.*"sampler"\s*:)(?=.*"steps"\s*:)',  # NovelAI
        r'^(?=.*"negative_prompt"\s*:)(?=.*"base_model"\s*:)(?=.*"steps"\s*:)',  # Fooocus
        r"\bJob ID: [0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b",  # Midjourney
        # GB 45438-2025 (TC260): 1 is made; 2 and 3 are suspicions
        r"\bAIGC\b[\"'=>:\s]{1,8}\{[^{}]{0,2000}?[\"']Label[\"']\s*:\s*[\"']?(?:1|AIGC)[\"']?\s*[,}]",
    )
)


def of_list(meta: Mapping[str, Any]) -> str:
    """What in gallery-dl's data tells that a machine made the picture, e.g. "tag ai_generated"; "" if nothing does."""
    found = _site(meta) or _flag(meta) or _tag(meta) or _category(meta) or _software(meta)
    return text.line(found)


def _site(meta: Mapping[str, Any]) -> str:
    return f"site {meta['category']}" if meta.get("category") in _SITES else ""


def _flag(meta: Mapping[str, Any]) -> str:
    made = [flag for flag in _FLAGS if meta.get(flag) is True or meta.get(flag) == 1]
    made += [flag for flag in _PIXIV if meta.get(flag) == _PIXIV_MADE]
    return f"flag {made[0]}" if made else ""


def _tag(meta: Mapping[str, Any]) -> str:
    tags = [tag for field in _TAG_FIELDS for tag in _tags(meta.get(field), DEEPEST)]
    tags += [tag for field in _WORDS for tag in _HASHTAG.findall(_text(meta.get(field)))]
    if any(_DENIAL.match(word) and word != _NO_TRAINING for word in map(_squeezed, tags)):
        return ""
    return next((f"tag {tag}" for tag in tags if _tells(tag)), "")


def _tags(given: Any, depth: int) -> Iterator[str]:
    """The tags of a list or a text, each whole: words that a text separates by commas, else by spaces."""
    if isinstance(given, str):
        parts = given.split(",") if "," in given else given.split()
        yield from (part.strip().removeprefix("#") for part in parts)
    elif isinstance(given, dict):  # a tag with what else is known of it
        yield from (
            given[key] for key in ("name", "translated_name", "tag", "title") if isinstance(given.get(key), str)
        )
    elif isinstance(given, list) and depth:
        for one in given:
            yield from [one.removeprefix("#")] if isinstance(one, str) else _tags(one, depth - 1)


def _tells(tag: str) -> bool:
    """Whether a tag says it, also with its group before it (meta:ai-generated) or behind (midjourney_(medium))."""
    bare = re.sub(r"\s*[_ ]\([^()]*\)$", "", tag.rpartition(":")[2])
    return _squeezed(bare) in _TAGS or _DALL_E.fullmatch(bare) is not None or _GENERATOR.match(tag) is not None


def _squeezed(tag: str) -> str:
    return re.sub(r"[\W_]+", "", tag.casefold())


def _category(meta: Mapping[str, Any]) -> str:
    """Of a MediaWiki's extmetadata: names of categories between |."""
    found = meta.get("extmetadata")
    value = found.get("Categories") if isinstance(found, dict) else None
    given = value.get("value") if isinstance(value, dict) else value
    for name in _text(given).replace("_", " ").split("|"):
        match = _CATEGORY.match(name.strip())
        if match and (match["program"] is None or _PROGRAMS.match(match["program"])):
            return f"category {name.strip()}"
    return ""


def _software(meta: Mapping[str, Any]) -> str:
    """Of ArtStation: the programs that an artist names."""
    given = meta.get("software_items")
    names = [_text(one.get("name")) for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    return next((f"software {name}" for name in names if _PROGRAMS.match(name)), "")


def _text(given: Any) -> str:
    return given[:LONGEST] if isinstance(given, str) else ""


def of_file(path: Path) -> str:
    """What in a file tells that a machine made its picture, e.g. "PNG chunk parameters"; "" if nothing does."""
    return _first(_told(block) for block in blocks.blocks(path))


def _first(found: Iterable[str]) -> str:
    return text.line(next(filter(None, found), ""))


def _told(block: Block) -> str:
    return _READERS.get(block.kind, _field)(block)


def _c2pa(block: Block) -> str:
    found = _C2PA_TERM.search(block.text)
    return f"C2PA {found[1] or found[2]}" if found else ""


def _xmp(block: Block) -> str:
    said = html.unescape(block.text)
    if found := _XMP_TERM.search(said):
        return f"IPTC {found[1]}"
    if found := _XMP_SYSTEM.search(said):
        return f"IPTC {found[1]}"
    for name, value in _XMP_FIELD.findall(said):
        if found := _PROGRAMS.match(value):
            return f"XMP {name} {found[1]}"
    return "XMP settings" if _settings(said) else ""


def _field(block: Block) -> str:
    """A text that has a name: of EXIF, IPTC-IIM, a PNG, or a comment."""
    where = f"{block.kind} {block.name}".strip()
    name = block.name.casefold().replace(" ", "")
    if name in _PROGRAM_FIELDS and (found := _PROGRAMS.match(block.text)):
        return f"{where} {found[1]}"
    chunk = block.kind == blocks.PNG_TEXT and block.text
    if chunk and (block.name in _CHUNKS or (block.name == "Dream" and _DREAM.search(block.text[:LONGEST]))):
        return where
    return where if _settings(f'"{block.name}":{block.text}') else ""


def _settings(said: str) -> bool:
    """Whether a text has the settings of a generator, in the form of one that is known."""
    return any(form.search(said[:LONGEST]) for form in _SETTINGS)


_READERS: dict[str, Callable[[Block], str]] = {blocks.C2PA: _c2pa, blocks.XMP: _xmp}
