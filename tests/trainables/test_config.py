import json
from dataclasses import dataclass, replace

import pytest

from trainables.config import CNN, RESNET_STAGES, ResNet, Training, Trial
from trainables.errors import UserError
from trainables.fields import PerLayer, number, one_of, per_layer, whole

LIMITS: dict[str, tuple[type, float, float, float]] = {  # by field: the class, lowest, highest, a step out of it
    "conv_layers": (CNN, 0, 64, 1),
    "convs_per_block": (CNN, 1, 16, 1),
    "pool_size": (CNN, 1, 64, 1),
    "pool_stride": (CNN, 1, 64, 1),
    "conv_dropout": (CNN, 0.0, 0.99, 0.001),
    "fc_layers": (CNN, 1, 32, 1),
    "fc_dropout": (CNN, 0.0, 0.99, 0.001),
    "epochs": (Training, 1, 100_000, 1),
    "batch_size": (Training, 1, 1_000_000, 1),
    "lr": (Training, 1e-12, 1e3, 1e-13),
    "momentum": (Training, 0.0, 0.9999, 1e-5),
    "weight_decay": (Training, 0.0, 1e3, 1e-5),
    "gamma": (Training, 1e-6, 1.0, 1e-7),
    "resize": (Training, 1, 4096, 1),
    "crop": (Training, 1, 4096, 1),
    "crop_padding": (Training, 0, 64, 1),
    "threads": (Training, 1, 256, 1),
}


@pytest.mark.parametrize("name", LIMITS)
def test_the_ends_of_a_fields_range_are_allowed_and_a_step_beyond_is_not(name):
    kind, low, high, step = LIMITS[name]
    for value in (low, high):
        rest = {"conv_layers": 16} if name == "convs_per_block" else {}
        assert getattr(kind(**{name: value} | rest), name) == value
    for value in (low - step, high + step):
        with pytest.raises(UserError, match=f"^{name} is .* but must be "):
            kind(**{name: value})


def test_a_resnets_depth_is_two_layers_a_block_with_the_stem_and_the_last():
    """And of the two the deeper has its blocks where He et al. (table 1) put them."""
    assert {depth: 2 * sum(blocks) + 2 for depth, blocks in RESNET_STAGES.items()} == {18: 18, 34: 34}
    assert RESNET_STAGES[34] == (3, 4, 6, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CNN(conv_layers=-1), "conv_layers is -1, but must be 0..64"),
        (
            lambda: CNN(conv_layers=3, convs_per_block=2),
            "conv_layers is 3, but must be a multiple of convs_per_block (2)",
        ),
        (lambda: CNN(channels=()), "channels is empty, but must be a number or a tuple of at least one"),
        (lambda: CNN(channels=(16, 0)), "channels is 0, but must be a whole number of at least 1"),
        (lambda: CNN(kernel="3"), "kernel is '3', but must be a whole number of at least 1"),
        (lambda: CNN(groups=0), "groups is 0, but must be a whole number of at least 1"),
        (lambda: CNN(pool_after=2), "pool_after is 2, but must be a tuple of whole numbers"),
        (lambda: CNN(pool_after=(1, 0)), "pool_after is 0, but must be 1..64"),
        (lambda: Training(crop=0), "crop is 0, but must be 1..4096"),
        (lambda: CNN(pooling="maxx"), "pooling is 'maxx', but must be one of max, average, none"),
        (lambda: CNN(batch_norm=1), "batch_norm is 1, but must be True or False"),
        (lambda: CNN(fc_dropout=1.0), "fc_dropout is 1.0, but must be 0..0.99"),
        (lambda: Training(lr=float("nan")), "lr is nan, but must be 1e-12..1000"),
        (lambda: Training(epochs=True), "epochs is True, but must be 1..100000"),
        (lambda: Training(optimizer="lamb"), "optimizer is 'lamb', but must be one of sgd, adam, adamw"),
        (
            lambda: Trial().get("model.conv_layer"),
            "a trial has no field 'model.conv_layer'; did you mean 'model.conv_layers'?",
        ),
        (
            lambda: Trial().with_values({"trainin.lr": 1}),
            "a trial has no field 'trainin.lr'; did you mean 'training.lr'?",
        ),
        (
            lambda: Trial.from_dict(Trial().to_dict() | {"seed": 1}),
            "a trial has no field 'seed'; known: dataset, model, training, weights, rename",
        ),
        (
            lambda: Trial.from_dict(Trial().to_dict() | {"model": {}}),
            "family is None, but must be one of cnn, resnet",
        ),
        (
            lambda: Training(crop=20).input_shape((3, 32, 16)),
            "crop is 20, but must be at most 16, the side of the images it is cut from",
        ),
        (lambda: Trial(model=ResNet(depth=50)), "depth is 50, but must be one of 18, 34"),
        (
            lambda: Trial(rename=(("(", ""),)),
            "rename holds '(', which is not a regular expression: missing ), unterminated subpattern at position 0",
        ),
    ],
)
def test_a_value_that_breaks_a_rule_is_named_with_the_rule(make, message):
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value) == message


def test_a_field_is_read_by_its_name_as_in_a_stage():
    trial = Trial("shapes", CNN(conv_layers=2), Training(lr=0.5), "a.pth")
    assert [trial.get(path) for path in ("dataset", "model.conv_layers", "training.lr", "weights")] == [
        "shapes", 2, 0.5, "a.pth",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "relu", "tanh", "none", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "sigmoid", "softplus", "hardswish",
    ],
)  # fmt: skip
def test_names_that_stored_trials_hold_are_known_for_ever(name):
    assert CNN(activation=name).activation == name


def test_a_short_tuple_repeats_its_last_entry_and_a_long_one_is_cut():
    assert CNN(conv_layers=4, channels=(16, 32, 64)).spread("channels") == (16, 32, 64, 64)
    assert CNN(conv_layers=2, channels=(16, 32, 64)).spread("channels") == (16, 32)
    assert CNN(conv_layers=4, convs_per_block=2, channels=8).spread("channels") == (8, 8)
    assert CNN(fc_layers=3, fc_widths=(256, 128, 64)).hidden_widths == (256, 128)


def test_a_block_has_its_own_values():
    model = CNN(conv_layers=4, convs_per_block=2, channels=(4, 8), kernel=5, stride=(2, 1), padding=1, groups=(1, 4))
    names = ("channels", "kernel", "stride", "padding", "dilation", "groups")
    assert model.block(1) == dict(zip(names, (4, 5, 2, 1, 1, 1), strict=True))
    assert model.block(2) == dict(zip(names, (8, 5, 1, 1, 1, 4), strict=True))


def test_a_trial_survives_json():
    for trial in (
        Trial("shapes", CNN(channels=(4, 8), pool_after=(1,)), Training(lr=0.1)),
        Trial("voc2007", ResNet(depth=34), Training(resize=256, crop=224), "weights.pth", (("^module.", ""),)),
    ):
        assert Trial.from_dict(json.loads(json.dumps(trial.to_dict()))) == trial


BASE = Trial(model=CNN(conv_layers=2, channels=(4, 8)))


@pytest.mark.parametrize(
    "same",
    [
        {"model.channels": (4, 8, 99)},
        {"model.kernel": (3, 3)},
        {"model.pool_after": (1, 2, 3)},
        {"training.epochs": 99},
        {"training.gamma": 0.5},
        {"dataset": "the same under another name"},
    ],
)
def test_the_key_ignores_what_computes_the_same(same):
    contents = {BASE.dataset: "d", "the same under another name": "d"}
    assert BASE.with_values(same).key(contents) == BASE.key(contents)


@pytest.mark.parametrize(
    "other",
    [
        {"model.channels": (4, 9)},
        {"model.pooling": "average"},
        {"model.pool_after": (1,)},
        {"training.lr": 1.0},
        {"training.flip": True},
    ],
)
def test_the_key_names_what_computes_something_else(other):
    assert BASE.with_values(other).key({}) != BASE.key({})


def test_the_key_depends_on_the_data_and_on_epochs_where_the_schedule_ends_with_them():
    assert BASE.key({}) != BASE.key({BASE.dataset: "e"})
    cosine = BASE.with_values({"training.schedule": "cosine"})
    assert cosine.key({}) != cosine.with_values({"training.epochs": 99}).key({})


def test_fields_without_effect_do_not_tell_trials_apart():
    flat = replace(BASE, model=CNN(conv_layers=0, fc_layers=1))
    idle = {
        "model.batch_norm": True,
        "model.activation": "tanh",
        "model.fc_dropout": 0.5,
        "model.pooling": "none",
        "model.channels": 7,
    }
    assert flat.with_values(idle).key({}) == flat.key({})


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [1, 1, 1]), ("linear", [1, 0.5, 0]), ("cosine", [1, 0.5, 0]), ("exponential", [1, 0.81, 0.6561])],
)
def test_schedules_by_hand(schedule, expected):
    recipe = Training(epochs=4, schedule=schedule, gamma=0.9)
    assert [recipe.lr_factor(at) for at in (0, 2, 4)] == pytest.approx(expected)


def test_exponential_decay_steps_once_an_epoch():
    recipe = Training(schedule="exponential", gamma=0.5)
    assert [recipe.lr_factor(at) for at in (0.0, 0.99, 1.0, 2.5)] == [1, 1, 0.5, 0.25]


# Keys as they were when the first results were stored: without and with the digests of data and weights.
CONTENTS = {"cifar10": "0" * 64, "voc2007": "1" * 64, "resnet18-imagenet": "2" * 64}
GOLDEN = [
    pytest.param(
        Trial(),
        "df77de8257eb5fb50b1121e4cc2ab56e795169dcb265d13dc3aa784ac49d765f",
        "ed6f4aedb4b35caed6b637b8b5d1e56c81e48a3336e59c03046be1c610ba9e29",
        id="defaults",
    ),
    pytest.param(
        Trial(training=Training(schedule="exponential")),
        "f2199b1d08de3795ae89f0ac27d9d8c93741e062f101f3c14aeaf4d19ad8f1a7",
        "4c1ee021e460f195ae242fcee1a641c274a63f71cd7c3ab9cb6e36cfd30ba81b",
        id="exponential",
    ),
    pytest.param(
        Trial(
            model=CNN(
                conv_layers=6,
                convs_per_block=2,
                channels=(16, 32, 64),
                padding=1,
                batch_norm=True,
                fc_batch_norm=True,
                fc_dropout=0.5,
            ),
            training=Training(optimizer="adam", lr=0.001, weight_decay=1e-5, flip=True, crop_padding=4),
        ),
        "6027dd44a9f2e63d0866c6d9c281e2e1d5e17214bbac6100594c3242eaa6693f",
        "a36b79b7c3c666a4fd2bc7cb1a6cf2331ae363efe6366138f658a4a52ac3589f",
        id="blocks",
    ),
    pytest.param(
        Trial(model=CNN(conv_layers=0, fc_layers=2, fc_widths=64, activation="tanh")),
        "71fea34bd9e1ddf262afdf1696b05f13983a0049117266369deb0a143ec5a429",
        "86f9288f81b162375994004efc2ff1893385fef09f1dab96ce59e1537b528282",
        id="no convolutions",
    ),
    pytest.param(
        Trial(model=CNN(conv_layers=0, fc_layers=1, normalize_input=False)),
        "c2fcd343394ef78fba91834fb929427e2f3a9fa621c59379bca3293610cb3014",
        "bb7f42e3cc4fb9a3e86e07aa96192910ab67c5e4df130dfa5b48c6d1d3167928",
        id="linear",
    ),
    pytest.param(
        Trial(
            "voc2007",
            CNN(
                conv_layers=5,
                channels=(96, 256, 384, 384, 256),
                kernel=(11, 5, 3, 3, 3),
                stride=(4, 1, 1, 1, 1),
                padding=(0, 2, 1, 1, 1),
                pool_size=3,
                pool_after=(1, 2, 5),
                fc_widths=4096,
                fc_dropout=0.5,
            ),
            Training(resize=256, crop=227),
        ),
        "9c33741d9b6f35b88164843dcc0fd20817a4b61b405095481cb5c955d1a4b608",
        "ff403662f1a19a1bd46490f77a849aa21047fbf4dbce788e8eacb3d1193d26f3",
        id="caffenet",
    ),
    pytest.param(
        Trial("shapes", CNN(conv_layers=2, pooling="none", stride=2, conv_dropout=0.25)),
        "1653a5bda981dcd1736b40a21750f3a77e5483176e41f38d45c3cb9ab037c84e",
        "1653a5bda981dcd1736b40a21750f3a77e5483176e41f38d45c3cb9ab037c84e",
        id="no pooling",
    ),
    pytest.param(
        Trial(model=CNN(pooling="average", activation="gelu", fc_layers=1)),
        "b252f50e1266c2e6c762e2b07393fb08a0a4f10fd747ab501a420bb22e13bcc0",
        "1e07c1ab5a95a8178fc20a06855d3e73ab6882f98327a9d39f1baf92a6254196",
        id="average pooling",
    ),
    pytest.param(
        Trial("voc2007", ResNet(34), Training(schedule="exponential", gamma=0.5, ap_rule="all-point")),
        "104f2b3f1d8883a847ffee7150dd8510d8c657793dc9c1d5d9bf0effdfc9e588",
        "9ff2b5d6f202168c3519d201d785286ffb87e6a98765b6c30e25e70e94989ea3",
        id="resnet",
    ),
    pytest.param(
        Trial("voc2007", ResNet(), Training(resize=256, crop=224), "resnet18-imagenet", (("^module.", ""), ("x", "y"))),
        "f6cdd0160ef6204acb4e402974eb032154d84248e72e947129ca27792412aca3",
        "c6d3d0211bbbc028ee9db3b0777d9f0658679b0524cf1ed100bb6b634a6659ef",
        id="pretrained",
    ),
    pytest.param(
        Trial("voc2007", ResNet(normalize_input=False), weights="mine.pth"),
        "abeeda6bafe534036645305b53940514434345a77beb265684fe5a5434ba34d8",
        "7f6c1aae1e508cba6d93ca1f33ccfb46921c961b80a7de8b1060c226201634a9",
        id="own weights",
    ),
    pytest.param(
        Trial(training=Training(epochs=100, schedule="cosine", momentum=0.0)),
        "77af7ba557575d0836d2f0d360f2da7a4fceaad042949c230d586ae53168803c",
        "01e40c86720a4c3a60550b0300e70d4fd1a640206f3ee88c59b28baaba3aaf79",
        id="cosine",
    ),
    pytest.param(
        Trial(training=Training(epochs=7, batch_size=32, schedule="linear", lr=1)),
        "1700519831fabb0055d1929ca4dddb0d393039e85977547dc103a915e15a256b",
        "154ae8fe530c6a48bdec45b931d0ec8e1171ec50ae9c0828bb2cdfa7091cebe5",
        id="linear schedule",
    ),
    pytest.param(
        Trial(training=Training(optimizer="adamw", weight_decay=0.01)),
        "fe1d2d2e7b6c862431017ea97cd4201d3fe869aa2180ef3ee3f52f1f012b32cd",
        "8364c087f6dcfd6134a1af3b27b3ea963e14d3eb1a59e54753bcdc4cf23e79df",
        id="adamw",
    ),
]


@pytest.mark.parametrize(("trial", "named", "digested"), GOLDEN)
def test_keys_stay_what_they_were(trial, named, digested):
    assert (trial.key({}), trial.key(CONTENTS)) == (named, digested)


def test_trials_whose_seeds_split_the_data_themselves_are_others():
    varied = Trial(training=Training(vary_split=True))
    assert varied.key({}) != Trial().key({})
    assert varied.training.canonical() == Trial().training.canonical() | {"vary_split": True}
    assert Trial.from_dict(varied.to_dict()) == varied


def test_trials_with_more_threads_are_others_as_their_last_bits_are():
    assert Trial(training=Training(threads=1)).key({}) == Trial().key({})
    assert Trial(training=Training(threads=2)).key({}) != Trial().key({})


@dataclass(frozen=True)
class GrownCNN(CNN):
    conv_kind: str = one_of("plain", ("plain", "separable"))
    squeeze: PerLayer = per_layer(1, low=1, layers="blocks")


@dataclass(frozen=True)
class GrownResNet(ResNet):
    width: int = whole(64, 1)


@dataclass(frozen=True)
class GrownTraining(Training):
    label_smoothing: float = number(0.0, 0.0, 1.0)
    warmup: int | None = whole(None, 1)


@dataclass(frozen=True)
class GrownTrial(Trial):
    teacher: str | None = None


@pytest.mark.parametrize(
    ("path", "kind", "same", "other"),
    [
        ("model", GrownCNN, {}, {"conv_kind": "separable"}),
        ("model", GrownCNN, {"squeeze": (1, 1)}, {"squeeze": (1, 2)}),
        ("model", GrownResNet, {"width": 64}, {"width": 32}),
        ("training", GrownTraining, {}, {"label_smoothing": 0.1}),
        ("training", GrownTraining, {"warmup": None}, {"warmup": 3}),
    ],
)
def test_a_field_added_later_leaves_the_keys_of_trials_that_do_not_use_it(path, kind, same, other):
    before = Trial(model=ResNet() if kind is GrownResNet else CNN())
    assert replace(before, **{path: kind(**same)}).key({}) == before.key({})
    assert replace(before, **{path: kind(**other)}).key({}) != before.key({})
    assert kind(**other).canonical().keys() - kind(**same).canonical().keys() == other.keys()


def test_so_does_a_field_added_to_the_trial():
    assert GrownTrial().key({}) == Trial().key({})
    assert GrownTrial(teacher="a").key({}) not in {Trial().key({}), GrownTrial(teacher="b").key({})}


def test_an_added_field_beyond_the_last_block_is_at_its_default():
    assert GrownCNN(squeeze=(1, 1, 1, 7)).canonical() == CNN().canonical()
    assert GrownCNN(conv_layers=0, squeeze=7).canonical() == CNN(conv_layers=0).canonical()


@pytest.mark.parametrize("name", ["dilation", "groups"])
def test_dilation_and_groups_count_in_the_key_where_they_are_used(name):
    base = CNN(conv_layers=2)
    assert replace(base, **{name: (1, 1, 2)}).canonical() == base.canonical()
    assert replace(base, **{name: (1, 2)}).canonical() == base.canonical() | {name: (1, 2)}


def test_a_checkpoint_of_before_a_field_was_added_has_it_at_its_default():
    form = Trial().to_dict()
    del form["model"]["dilation"], form["model"]["groups"]
    assert Trial.from_dict(form) == Trial()
