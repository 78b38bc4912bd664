import json
from dataclasses import asdict, replace
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save

from tests.conftest import with_several_labels
from tests.damage import any_of, flipped, foreign, make_huge, survey, swapped, truncated
from trainables.checkpoint import CheckpointError, history, load, pack, pack_records, size, unpack
from trainables.config import CNN, Training, Trial
from trainables.devices import random_numbers_after
from trainables.errors import UserError
from trainables.files import unsealed, unzipped, zipped
from trainables.history import History
from trainables.replicate import replicate
from trainables.snapshot import CURVES, PER_CLASS, STATE, TRIAL, WEIGHTS
from trainables.train import evaluate, train

CPU = torch.device("cpu")


def trial(epochs=4, optimizer="sgd"):
    model = CNN(conv_layers=1, channels=4, batch_norm=True, fc_layers=2, fc_widths=8, fc_dropout=0.3)
    return Trial(
        model=model,
        training=Training(epochs=epochs, batch_size=16, optimizer=optimizer, lr=0.01, schedule="exponential"),
    )


def run(spec, data, members):
    for _ in train(spec, data, members, CPU):
        pass
    return pack(spec, data, members)


def untimed(files):
    form = unsealed(files[CURVES])
    for rows in form["seeds"].values():
        for row in rows:
            del row["seconds"], row["images_per_second"]
    return form


def described(files, **changes):
    """Return the files as an earlier version wrote them, without checksums, and with changes of the description."""
    info = unsealed(files[TRIAL]) | changes
    del info["weights_sha256"]
    return files | {TRIAL: json.dumps(info).encode()}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_trial_that_goes_on_from_its_snapshot_equals_an_undisturbed_one(tiny, optimizer):
    undisturbed = run(trial(4, optimizer), tiny, [replicate(trial(4, optimizer), tiny, seed, CPU) for seed in (0, 1)])
    half = run(trial(2, optimizer), tiny, [replicate(trial(2, optimizer), tiny, seed, CPU) for seed in (0, 1)])
    whole = run(trial(4, optimizer), tiny, unpack(half[STATE], trial(4, optimizer), tiny, (0, 1), CPU))
    assert untimed(whole) == untimed(undisturbed)
    went_on, went_through = unzipped(whole[STATE]), unzipped(undisturbed[STATE])
    assert (
        went_on.keys()
        == went_through.keys()
        == {CURVES, TRIAL, WEIGHTS, "state/seed-0.safetensors", "state/seed-1.safetensors"}
    )
    for name in (WEIGHTS, "state/seed-0.safetensors", "state/seed-1.safetensors"):
        assert went_on[name] == went_through[name]
    assert whole[WEIGHTS] == undisturbed[WEIGHTS]


def test_on_another_kind_of_device_random_numbers_begin_anew_and_it_is_said(tiny):
    """A GPU's are 16 bytes of state; all else goes on as it was."""
    spec, said, first = trial(3), [], replicate(trial(1), tiny, 4, CPU)
    state = unzipped(run(trial(1), tiny, [first])[STATE])
    tensors = load_tensors(state["state/seed-4.safetensors"])
    there = save(tensors | {"rng": torch.arange(16, dtype=torch.uint8)})
    moved = zipped(state | {"state/seed-4.safetensors": there})
    one, other = (unpack(moved, spec, tiny, (4,), CPU, say=said.append)[0] for _ in range(2))
    line = "seed 4 was trained on another kind of device up to epoch 1: its random numbers begin anew on cpu"
    assert said == [line, line]
    assert torch.equal(one.rng, random_numbers_after(4, 1, CPU))
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(one.model.state_dict()[name], tensor)
    assert untimed(run(spec, tiny, [one])) == untimed(run(spec, tiny, [other]))
    (same,) = unpack(zipped(state), spec, tiny, (4,), CPU, say=pytest.fail)
    assert torch.equal(same.rng, first.rng)


def test_a_state_that_is_not_whole_is_not_used(tiny):
    state = run(trial(1), tiny, [replicate(trial(1), tiny, 0, CPU)])[STATE]
    with pytest.raises(CheckpointError, match=r"state\.zip is not whole: its checksum differs"):
        unpack(state[: len(state) // 2], trial(1), tiny, (0,), CPU)


def test_seeds_added_later_equal_seeds_from_the_start(tiny):
    both = run(trial(), tiny, [replicate(trial(), tiny, seed, CPU) for seed in (0, 1)])
    first = run(trial(), tiny, [replicate(trial(), tiny, 0, CPU)])
    grown = run(trial(), tiny, unpack(first[STATE], trial(), tiny, (0, 1), CPU))
    assert untimed(grown) == untimed(both)
    assert grown[WEIGHTS] == both[WEIGHTS]


def test_what_the_snapshot_has_beside_the_seeds_asked_for_is_not_lost(tiny):
    files = run(trial(1), tiny, [replicate(trial(1), tiny, seed, CPU) for seed in (0, 1)])
    assert [member.seed for member in unpack(files[STATE], trial(2), tiny, (0,), CPU)] == [0, 1]


def test_load_gives_the_best_networks_with_what_they_need(tiny, tmp_path):
    files = run(trial(), tiny, [replicate(trial(), tiny, seed, CPU) for seed in (0, 7)])
    for name in (WEIGHTS, TRIAL):
        (tmp_path / name.rpartition("/")[2]).write_bytes(files[name])
    loaded = load(tmp_path)
    assert loaded.trial == trial()
    assert loaded.class_names == tiny.class_names
    assert [entry["seed"] for entry in loaded.info["replicates"]] == [0, 7]
    images, labels = torch.from_numpy(tiny.val.images), torch.from_numpy(tiny.val.labels)
    for model, chosen in zip(loaded.models, history(files).chosen(), strict=True):
        assert evaluate(model, images, labels, "11-point")[0].value == chosen.val_score


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (
            lambda files: files.pop(WEIGHTS),
            r"the checkpoint has no checkpoint/weights.safetensors; it has .*trial.json",
        ),
        (lambda files: files.update({WEIGHTS: files[WEIGHTS][:-9]}), r"checkpoint/weights.safetensors is not whole: "),
        (lambda files: files.update({TRIAL: files[TRIAL][:-9]}), r"checkpoint/trial.json is not whole: "),
        (
            lambda files: files.update({WEIGHTS: save({"head.weight": torch.zeros(1, 3, 9), "foot": torch.zeros(1)})}),
            r"the weights do not fit: missing .*head.bias.*; unexpected foot; misshapen head.weight$",
        ),
    ],
)
def test_a_broken_checkpoint_says_what_is_wrong(tiny, break_it, message):
    files = run(trial(1), tiny, [replicate(trial(1), tiny, 0, CPU)])
    break_it(files)
    with pytest.raises(CheckpointError, match=message):
        load(files)


@pytest.mark.parametrize(
    "changes",
    [
        {"class_names": 3},
        {"image_shape": [3]},
        {"mean": None},
        {"replicates": [{}, {}, {}, {}]},
        {"config": {"model": []}},
        {"config": 7},
    ],
)
def test_a_description_that_cannot_be_is_one_line(tiny, changes):
    files = run(trial(1), tiny, [replicate(trial(1), tiny, 0, CPU)])
    with pytest.raises(CheckpointError, match=r"^checkpoint/trial\.json describes no checkpoint: "):
        load(described(files, **changes))


def test_checkpoints_of_earlier_versions_have_no_checksums_and_are_read(tiny):
    files = run(trial(1), tiny, [replicate(trial(1), tiny, 0, CPU)])
    old, new = load(described(files)), load(files)
    assert (old.trial, old.class_names, old.info) == (new.trial, new.class_names, new.info)
    plain = files | {CURVES: json.dumps(unsealed(files[CURVES])).encode()}
    assert history(plain) == history(files)


def test_a_description_that_claims_too_much_is_refused_before_memory_is_taken(tiny):
    files = run(trial(1), tiny, [replicate(trial(1), tiny, 0, CPU)])
    with pytest.raises(CheckpointError, match="the weights do not fit: misshapen"):
        load(described(files, class_names=["x"] * 3_000_000))
    with pytest.raises(CheckpointError, match=r"it has 1000000 replicates, and the weights another number"):
        load(described(files, replicates=[{"seed": 0}] * 1_000_000))


@pytest.mark.parametrize("name", [WEIGHTS, TRIAL])
def test_whatever_is_done_to_a_checkpoint_it_is_whole_or_refused_in_one_line(tiny, name):
    files = run(trial(1), tiny, [replicate(trial(1), tiny, 0, CPU)])
    damage = any_of(files[name], most=400) if name == TRIAL else (*truncated(files[name], 400), *foreign())
    whole, refused = survey(damage, lambda damaged: load(files | {name: damaged}))
    assert all(loaded.info == load(files).info for what, loaded in whole.items() if "left out" not in what)
    assert [what for what in whole if "left out" in what] == (["/sha256/ left out"] if name == TRIAL else [])
    assert len(refused) > 400
    whole, refused = survey(flipped(files[WEIGHTS], 600), lambda damaged: load(files | {WEIGHTS: damaged}))
    assert whole == {}
    whole, refused = survey(swapped(files), load)
    assert whole.keys() == {what for what in whole if WEIGHTS not in what and TRIAL not in what}
    assert len(refused) == 7


def test_whatever_is_done_to_a_description_without_a_checksum_is_one_line_or_a_network(tiny):
    """Also by one who knows the form: the network that it describes has the shape of the weights."""
    files = described(run(trial(1), tiny, [replicate(trial(1), tiny, 0, CPU)]))
    whole, refused = survey(any_of(files[TRIAL], most=300), lambda damaged: load(files | {TRIAL: damaged}))
    shapes = {name: tensor.shape for name, tensor in load(files).models[0].state_dict().items()}
    for loaded in whole.values():
        assert [{name: tensor.shape for name, tensor in model.state_dict().items()} for model in loaded.models] == [
            shapes
        ]
        assert type(loaded.info["multi_label"]) is bool
        assert all(isinstance(each, str) for each in (*loaded.class_names, loaded.info["data_digest"]))
    assert len(refused) > len(whole)


@pytest.mark.parametrize("name", [CURVES, TRIAL, WEIGHTS, "state/seed-0.safetensors"])
def test_whatever_is_in_a_state_under_a_right_checksum_it_is_trained_on_or_refused_in_one_line(tiny, name):
    files = unzipped(run(trial(1), tiny, [replicate(trial(1), tiny, 0, CPU)])[STATE])
    damage = (*truncated(files[name], 40), *foreign(), *flipped(files[name], 40))
    _, refused = survey(damage, lambda damaged: unpack(zipped(files | {name: damaged}), trial(1), tiny, (0,), CPU))
    assert len(refused) > 50


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_a_lack_of_memory_is_not_taken_for_damage(tiny, monkeypatch, error):
    state = run(trial(1), tiny, [replicate(trial(1), tiny, 0, CPU)])[STATE]
    monkeypatch.setattr("trainables.checkpoint.restore_optimizer", Mock(side_effect=error))
    with pytest.raises(type(error)):
        unpack(state, trial(1), tiny, (0,), CPU)


def test_what_is_wrong_with_a_new_replicate_is_not_blamed_on_the_state(tiny, monkeypatch):
    state = run(trial(1), tiny, [replicate(trial(1), tiny, 0, CPU)])[STATE]
    monkeypatch.setattr("trainables.checkpoint.replicate", Mock(side_effect=UserError("no weights fit")))
    with pytest.raises(UserError, match=r"^no weights fit$"):
        unpack(state, trial(1), tiny, (0,), CPU)


def test_a_huge_file_of_a_checkpoint_is_refused_unread(tiny, tmp_path):
    files = run(trial(1), tiny, [replicate(trial(1), tiny, 0, CPU)])
    (tmp_path / "trial.json").write_bytes(files[TRIAL])
    make_huge(tmp_path / "weights.safetensors", files[WEIGHTS])
    with pytest.raises(CheckpointError, match=r"holds no checkpoint: weights\.safetensors has 1,099,511,627,776 bytes"):
        load(tmp_path)


def test_the_snapshot_shows_each_replicate_at_its_chosen_epoch(tiny):
    """Not at its best test score, nor at its best single validation score."""
    members = [replicate(trial(3), tiny, seed, CPU) for seed in (5, 2)]
    run(trial(3), tiny, members)
    # validation and test; the centred means of three are 0.47, 0.5, 0.57 and 0.57, 0.5, 0.43
    scores = {5: [(0.3, 0.9), (0.8, 0.1), (0.4, 0.8)], 2: [(0.6, 0.2), (0.5, 0.4), (0.4, 0.6)]}
    for member in members:
        member.records = [
            replace(record, val_score=val, test_score=test, class_score=(test, None, 0.5))
            for record, (val, test) in zip(member.records, scores[member.seed], strict=True)
        ]
        epoch = 2 if member.seed == 5 else 1
        member.settled = replace(member.settled, epoch=epoch, marks=replace(member.settled.marks, epoch=epoch))
    files = pack(trial(3), tiny, members)
    assert json.loads(files["per_class.json"]) == {
        "5": {"class0": 0.8, "class1": None, "class2": 0.5},
        "2": {"class0": 0.2, "class1": None, "class2": 0.5},
    }
    info = json.loads(files[TRIAL])
    assert [(entry["seed"], entry["epoch"]) for entry in info["replicates"]] == [(5, 3), (2, 1)]
    shown = [asdict(members[0].records[2]), asdict(members[1].records[0])]
    assert [entry["metrics"] for entry in info["replicates"]] == json.loads(json.dumps(shown))
    assert (info["mean"], info["sd"]) == (list(tiny.mean), list(tiny.sd))
    assert (info["data_digest"], info["image_shape"], info["multi_label"]) == (tiny.digest, [3, 12, 12], False)
    held = (members[0].newest, members[1].settled)
    assert history(files).chosen_marks() == (held[1].marks, held[0].marks)  # in the seeds' order
    for kept, model in zip(held, load(files).models, strict=True):
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, kept.weights[name])
        assert not model.training


@pytest.mark.parametrize("several", [False, True])
def test_broken_off_after_any_epoch_the_same_epoch_is_chosen_with_the_same_weights_and_marks(tiny, several):
    data = with_several_labels(tiny) if several else tiny
    spec = replace(trial(5), training=replace(trial(5).training, lr=0.1))
    undisturbed = run(spec, data, [replicate(spec, data, 0, CPU)])
    chosen = {history(undisturbed).chosen_epochs()}
    state = b""
    for epochs in range(1, 6):
        [member] = unpack(state, spec, data, (0,), CPU)
        for epoch in train(spec, data, [member], CPU):
            if epoch.number == epochs:
                break
        files = pack(spec, data, [member])
        state = files[STATE]
        chosen.add(history(files).chosen_epochs())
    assert untimed(files) == untimed(undisturbed)
    assert files[WEIGHTS] == undisturbed[WEIGHTS]
    assert unzipped(state)["state/seed-0.safetensors"] == unzipped(undisturbed[STATE])["state/seed-0.safetensors"]
    assert len(chosen) > 1  # it moved on the way


def test_a_state_of_an_earlier_version_goes_on_with_what_it_holds(tiny):
    """It has the best single epoch's weights, and no marks."""
    [member] = [replicate(trial(2), tiny, 0, CPU)]
    files = run(trial(2), tiny, [member])
    state = unzipped(files[STATE])
    curves, info = unsealed(state[CURVES]), unsealed(state[TRIAL])
    del curves["marks"]
    info["replicates"][0]["epoch"] = 1
    tensors = load_tensors(state["state/seed-0.safetensors"])
    bare = {name: each for name, each in tensors.items() if not name.startswith(("settled.", "newest."))}
    old = zipped(
        state
        | {
            CURVES: json.dumps(curves).encode(),
            TRIAL: json.dumps(info).encode(),
            "state/seed-0.safetensors": save(bare),
        }
    )
    [again] = unpack(old, trial(3), tiny, (0,), CPU)
    assert (again.settled.epoch, again.settled.marks, again.newest.epoch, again.newest.marks) == (1, None, 2, None)
    whole = run(trial(3), tiny, [again])
    undisturbed = run(trial(3), tiny, [replicate(trial(3), tiny, 0, CPU)])
    assert untimed(whole)["seeds"] == untimed(undisturbed)["seeds"]
    assert (history(whole).chosen_marks() is None) == (again.chosen.epoch < 3)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_size_is_that_of_the_tensors_in_a_snapshot(tiny, optimizer):
    members = [replicate(trial(1, optimizer), tiny, seed, CPU) for seed in (0, 1)]
    run(trial(2, optimizer), tiny, members)
    for member in members:  # the newest epoch is chosen, so that the one before is held beside it
        member.records = [replace(record, val_score=at) for at, record in enumerate(member.records)]
    files = pack(trial(2, optimizer), tiny, members)
    inside = unzipped(files[STATE])
    stored = [files[WEIGHTS], *(content for name, content in inside.items() if name.endswith(".safetensors"))]
    tensors = [(name, tensor) for content in stored for name, tensor in load_tensors(content).items()]
    assert size(members) == sum(tensor.nbytes for name, tensor in tensors if name[-4:] not in ("poch", "arks", "rng"))


def test_records_alone_are_as_in_the_snapshot(tiny):
    members = [replicate(trial(2), tiny, seed, CPU) for seed in (0, 1)]
    files = run(trial(2), tiny, members)
    marks = {member.seed: member.chosen.marks for member in members}
    rows = History({member.seed: tuple(member.records) for member in members}, marks)
    assert pack_records(rows, tiny) == {name: files[name] for name in (CURVES, PER_CLASS)}


def test_an_empty_state_gives_untrained_replicates(tiny):
    members = unpack(b"", trial(1), tiny, (3, 1), CPU)
    assert [(member.seed, member.epoch, member.newest) for member in members] == [(3, 0, None), (1, 0, None)]
    same = replicate(trial(1), tiny, 3, CPU).model.state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in members[0].model.state_dict().items())


def test_a_state_of_another_network_is_refused(tiny):
    state = run(trial(1), tiny, [replicate(trial(1), tiny, 0, CPU)])[STATE]
    other = replace(trial(1), model=replace(trial(1).model, channels=6))
    with pytest.raises(CheckpointError, match=r"^the weights do not fit: misshapen .*blocks\.0\.convs\.0\.0\.weight"):
        unpack(state, other, tiny, (0,), CPU)
