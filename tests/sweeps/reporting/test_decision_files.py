from sweeps.decisions.acts import Act
from sweeps.reporting import decision_files
from sweeps.reporting.decision_files import MOST_BYTES, read, write

MADE = {
    "find": [
        {"decision": "first", "number": 0, "values": {"training.lr": 0.1}, "runs_on_to": 1},
        {"decision": "note", "number": 0, "epoch": 1, "score": 0.25, "runs_on_to": None},
    ],
    "again": [{"decision": "resumed"}],
}


def test_decisions_come_back_as_they_were_made(tmp_path):
    write(tmp_path, MADE)
    said = []
    assert read(tmp_path, MADE, said.append) == MADE
    assert read(tmp_path, ["other"], said.append) == {"other": []}
    assert said == []
    assert (tmp_path / "find-decisions.jsonl").read_text().count("\n") == 2


def test_what_is_damaged_is_left_out_and_said(tmp_path):
    write(tmp_path, MADE)
    place = tmp_path / "find-decisions.jsonl"
    whole = place.read_bytes()
    first, second = whole.splitlines()
    for damaged, left in (
        (whole[:-20], MADE["find"][:1]),
        (b"\xff\xfe" + whole, MADE["find"][1:]),
        (first + b"\n[1]\n" + second, MADE["find"]),
        (first + b'\n{"decision": 1}\n', MADE["find"][:1]),
        (b"[" * 100_000 + b"\n" + second, MADE["find"][1:]),
    ):
        said = []
        place.write_bytes(damaged)
        assert read(tmp_path, ["find"], said.append) == {"find": left}
        lines = len(damaged.splitlines())
        assert said == [f"warning: {place}: 1 of {lines} lines are damaged, and are left out"]


def test_what_cannot_be_read_at_all_is_said_and_begun_anew(tmp_path):
    place = tmp_path / "find-decisions.jsonl"
    with place.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    said = []
    assert read(tmp_path, ["find"], said.append) == {}
    place.unlink()
    place.mkdir()
    assert read(tmp_path, ["find"], said.append) == {}
    why = ["it has 268,435,457 bytes, but may have 268,435,456 at most", f"[Errno 21] Is a directory: '{place}'"]
    assert said == [f"warning: {place} cannot be read, and is begun anew: {each}" for each in why]


def test_what_was_asked_for_is_a_line_each_and_no_file_where_that_is_nothing(tmp_path):
    decision_files.write_acts(tmp_path, [])
    assert not list(tmp_path.iterdir())
    acts = [Act("stop", "", "maria").answered("it ends", {}), Act("drop", "abcd", "jo").answered("dropped", {})]
    decision_files.write_acts(tmp_path, acts)
    assert [Act.from_json(line) for line in (tmp_path / "acts.jsonl").read_text().splitlines()] == acts
