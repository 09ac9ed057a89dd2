"""The reference's digest and the file of its log-probabilities."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reference():
    from solar_plugins.sdpo import reference

    return reference


def test_the_digest_sees_every_weight_and_nothing_else():
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from solar_plugins.sdpo import weights

    config = LlamaConfig(
        vocab_size=16,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    digest = weights.digest(model)

    assert weights.digest(model.train()) == digest
    assert weights.digest(model.bfloat16()) != digest  # bf16 can be read too
    model = model.float()
    changed = set()
    for parameter in model.parameters():
        before = weights.digest(model)
        with torch.no_grad():
            parameter.view(-1)[-1] += 0.5
        assert weights.digest(model) != before
        changed.add(weights.digest(model))
    assert len(changed) == len(list(model.parameters()))


def test_rows_have_the_same_digest_however_they_are_stored(reference, tmp_path):
    from datasets import Dataset, load_from_disk

    rows = {
        "prompt_ids": [[1, 2], [3]],
        "chosen_ids": [[4], [5, 6]],
        "rejected_ids": [[7], [8]],
    }
    data = Dataset.from_dict(rows)

    def digest_of(rows) -> str:
        return reference.RowsWithReference(rows).digest

    digest = digest_of(data)
    data.save_to_disk(tmp_path / "data")
    longer = Dataset.from_dict({name: [*column, [9]] for name, column in rows.items()})
    moved = Dataset.from_dict(rows | {"prompt_ids": [[1], [2, 3]]})  # same ids, other rows

    assert digest_of(load_from_disk(tmp_path / "data")) == digest
    assert digest_of(longer.select([0, 1])) == digest
    assert digest_of(longer) != digest
    assert digest_of(data.select([1, 0])) != digest
    assert digest_of(moved) != digest


def test_stored_log_probabilities_are_read_whole_and_for_their_key_only(reference, tmp_path):
    import torch

    path = tmp_path / "step_1" / "logps.safetensors"
    logps = torch.tensor([[-1.5, -2.25], [-3.0, -0.125]])
    reference.write([path], "weights and rows", None, logps)

    assert torch.equal(reference.read([path], "weights and rows"), logps)
    assert reference.read([path], "other weights") is None
    assert reference.read([tmp_path / "absent"], "weights and rows") is None
    for kept in (len(path.read_bytes()) - 1, 40, 0):
        path.write_bytes(path.read_bytes()[:kept])
        assert reference.read([path], "weights and rows") is None


def test_log_probabilities_of_some_batches_serve_as_many_or_fewer(reference, tmp_path):
    import torch

    path = tmp_path / "logps.safetensors"
    some, every = torch.tensor([[-1.0, -2.0], [torch.nan] * 2]), torch.ones(2, 2)
    reference.write([path], "key", 3, some)
    assert [reference.read([path], "key", n) is not None for n in (2, 3, 4, None)] == [
        *(True, True, False, False)
    ]
    reference.write([path], "key", 2, every)
    assert reference.read([path], "key", 3)[0].tolist() == [-1.0, -2.0]
    reference.write([path], "key", None, every)
    assert torch.equal(reference.read([path], "key", 3), every)


def test_rows_carry_their_number_and_their_reference(reference):
    import torch

    rows = reference.RowsWithReference([{"chosen_ids": [4]}, {"chosen_ids": [5]}])
    assert rows[1] == {"chosen_ids": [5], "row": 1}

    rows.logps = torch.tensor([[-1.0, -2.0], [-3.5, -4.5]])
    assert rows[1] == {
        "chosen_ids": [5],
        "row": 1,
        "ref_chosen_logps": -3.5,
        "ref_rejected_logps": -4.5,
    }
