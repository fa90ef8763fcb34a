from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semireal.curate import decisions
from semireal.curate.decisions import Decision
from semireal.errors import UserError

HEAD = "id,decision,domain,reason\n"
made = st.builds(
    Decision,
    st.sampled_from(decisions.DECISIONS),
    st.sampled_from(decisions.DOMAINS),
    st.text(st.characters(exclude_categories=["Cs", "Cc"])),
)


def put(path: Path, changes: dict[str, Decision]) -> None:
    decisions.change(path, changes, lambda key, _: changes[key])


@given(content=st.dictionaries(st.text("0123456789abcdef-", min_size=1, max_size=20), made, max_size=20))
def test_what_is_written_is_read(content: dict[str, Decision], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("d") / "x.csv"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(path.parent))
        put(path, content)
        text = path.read_text()
        assert decisions.read(path) == {key: one for key, one in content.items() if one != decisions.NONE}
        put(path, dict(reversed(content.items())))
    assert path.read_text() == text  # sorted, and nothing in it depends on when


def test_change_gives_before_and_after_and_drops_empty_rows(work_root: Path) -> None:
    path = decisions.file_of("elf")
    put(path, {"b": Decision("keep"), "a": Decision("reject", "photo", 'two words, and "a quote"')})
    assert path.read_text() == f'{HEAD}a,reject,photo,"two words, and ""a quote"""\nb,keep,,\n'
    other = {"b": decisions.NONE, "c": Decision("keep")}
    before, after = decisions.change(path, ["b", "c"], lambda key, _: other[key])
    assert before == {"b": Decision("keep"), "c": decisions.NONE}
    assert after == other
    assert sorted(decisions.read(path)) == ["a", "c"]
    assert [file.name for file in path.parent.iterdir()] == ["elf.csv"]


def test_no_file_means_no_decisions() -> None:
    assert decisions.read(Path("no/such.csv")) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 must be id,decision,domain,reason"),
        ("id,decision\n", "line 1 must be"),
        (f"{HEAD}a,maybe,,\n", "line 2: decision: found 'maybe', need keep or reject or nothing"),
        (f"{HEAD}a,keep,anime,\n", "line 2: domain: found 'anime', need photo or portrait or nothing"),
        (f"{HEAD}a,keep,,\nb,keep\n", "line 3: found 'b,keep'"),
        (f"{HEAD}a,keep,,\na,reject,,\n", "line 3: a is here a second time"),
        (f"{HEAD}<<<<<<< HEAD\na,keep,,\n", "line 2: found '<<<<<<< HEAD'"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "elf.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=r"elf\.csv") as caught:
        decisions.read(path)
    assert message in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "elf.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        decisions.read(tmp_path / "elf.csv")


@pytest.mark.parametrize("name", ["", "../elf", "a/b", "a\0b"])
def test_a_name_that_is_no_file_name(name: str) -> None:
    with pytest.raises(UserError, match="name: found"):
        decisions.file_of(name)


def _write_some(first: int) -> None:
    for n in range(first, first + 30):
        put(Path("d.csv"), {f"{n:03}": Decision("keep")})


def test_writers_at_once_lose_nothing(work_root: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(_write_some, [0, 30, 60]))
    assert sorted(decisions.read(Path("d.csv"))) == [f"{n:03}" for n in range(90)]
