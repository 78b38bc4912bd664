"""What the user is told when a word is not known."""

from trainables.errors import UserError, nearest, suggest


def test_the_nearest_word_is_suggested_else_all_are_listed():
    known = ("conv_layers", "channels", "kernel")
    assert suggest("conv_layer", known) == "; did you mean 'conv_layers'?"
    assert suggest("chanels", (word for word in known)) == "; did you mean 'channels'?"
    assert suggest("xyz", known) == "; known: conv_layers, channels, kernel"
    assert suggest("xyz", ()) == "; known: "


def test_the_nearest_word_alone():
    assert nearest("chanels", ("conv_layers", "channels")) == "channels"
    assert nearest("xyz", ("conv_layers", "channels")) is None


def test_the_users_mistakes_are_value_errors():
    assert issubclass(UserError, ValueError)


def test_a_notebook_shows_the_line_alone():
    assert UserError("seeds is 0, but must be at least 1")._render_traceback_() == [
        "error: seeds is 0, but must be at least 1"
    ]
