"""Hidden states between layers: in memory, on disk, and neither."""

from __future__ import annotations

import shutil

import pytest

from vacc_gen.schema.errors import StageError

torch = pytest.importorskip("torch")
from vacc_gen.generator.backends.onnxruntime.weights.gptq import activations as activations_module
from vacc_gen.generator.backends.onnxruntime.weights.gptq.activations import Activations

SHAPE = (7, 5, 16)


@pytest.fixture(params=[False, True], ids=["memory", "disk"])
def states(request, monkeypatch, tmp_path):
    if request.param:
        monkeypatch.setattr(activations_module, "MEMORY_SHARE", 0.0)
    with Activations(*SHAPE, tmp_path / "work") as made:
        assert made.spilled is request.param
        yield made


def test_what_is_written_is_read(states):
    values = torch.randn(SHAPE)
    for first, count in ((5, 2), (0, 3), (3, 2)):
        states.write(first, values[first : first + count])
    batches = list(states.batches(3))
    assert [first for first, _ in batches] == [0, 3, 6]
    assert torch.equal(torch.cat([part for _, part in batches]), values)


def test_states_may_be_replaced_while_they_are_read(states):
    states.write(0, torch.zeros(SHAPE))
    for first, part in states.batches(2):
        states.write(first, part + first + 1)
    assert states.read(4, 1).unique().item() == 5


def test_nothing_is_left_on_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(activations_module, "MEMORY_SHARE", 0.0)
    with Activations(*SHAPE, tmp_path) as states:
        states.write(0, torch.zeros(SHAPE))
        assert list(tmp_path.iterdir()) == []  # unnamed: gone with the process, however it ends
    assert not states.spilled


@pytest.mark.parametrize(("free_bytes", "spilled"), [(10**12, True), (100, False)])
def test_many_lie_on_disk_where_it_has_room(monkeypatch, tmp_path, free_bytes, spilled):
    monkeypatch.setattr(activations_module, "MEMORY_BYTES", 1000)
    usage = shutil.disk_usage(tmp_path)._replace(free=free_bytes)
    monkeypatch.setattr(activations_module.shutil, "disk_usage", lambda _: usage)
    with Activations(*SHAPE, tmp_path) as states:
        assert states.spilled is spilled


def test_room_for_them_nowhere(monkeypatch, tmp_path):
    monkeypatch.setattr(activations_module, "MEMORY_SHARE", 0.0)
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(activations_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StageError, match="hidden states of 7 windows") as raised:
        Activations(*SHAPE, tmp_path)
    assert "calibration.samples" in raised.value.hint
