from sweeps.execution.machines import Machines
from sweeps.options import RunOptions


def test_without_a_word_it_is_this_machine_s_cpu():
    assert Machines() == Machines(num_gpus=0, trials_per_gpu=None, num_cpus=None, address=None)


def test_the_options_name_the_machines():
    options = RunOptions(num_gpus=2, trials_per_gpu=3, num_cpus=4, address="head:1")
    assert options.machines == Machines(2, 3, 4, "head:1")
