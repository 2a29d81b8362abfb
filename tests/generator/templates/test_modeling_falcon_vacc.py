"""The modeling file says what transformers' Falcon says, for every variant."""

import pytest
import torch

PADDINGS = ["none", "left", "right"]
TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}


def assert_same(ours, theirs, visible):
    """Compare logits (B, S, V) where `visible` (B, S) says so: values, and the greedy token."""
    ours, theirs = ours[visible.bool()], theirs[visible.bool()]
    torch.testing.assert_close(ours, theirs, **TOLERANCE)
    assert torch.equal(ours.argmax(-1), theirs.argmax(-1))


def last_visible(logits, mask):
    """Row by row, the logits (B, V) of the last position that mask (B, S) shows."""
    return torch.stack([row[keep.nonzero().max()] for row, keep in zip(logits, mask, strict=True)])


def in_chunks(model, input_ids, mask, positions, chunks):
    """Yield (columns, output) of each chunk, run with the cache of those before it."""
    past, start = None, 0
    for length in chunks:
        new = slice(start, start + length)
        output = model(input_ids[:, new], mask[:, : new.stop], positions[:, new], past)
        yield new, output
        past, start = output.past_key_values, new.stop


@pytest.mark.parametrize("chunks", [(10,), (6, 1, 1, 1, 1), (5, 4, 1), (1, 6, 3)], ids=str)
@pytest.mark.parametrize("padding", PADDINGS)
def test_prefill_chunks_and_decode(make_pair, make_batch, variant, padding, chunks):
    """Whatever the chunks, each position's logits are those of one pass over the whole."""
    seed = PADDINGS.index(padding)
    theirs, ours = make_pair(variant, seed)
    input_ids, mask, positions = make_batch(10, padding, seed)
    expected = theirs(input_ids, attention_mask=mask, position_ids=positions).logits
    for new, output in in_chunks(ours, input_ids, mask, positions, chunks):
        assert_same(output.logits, expected[:, new], mask[:, new])


@pytest.mark.parametrize("padding", ["none", "left"])
def test_positions_follow_from_the_mask_and_a_mask_from_nothing(
    make_pair, make_batch, variant, padding
):
    theirs, ours = make_pair(variant)
    input_ids, mask, _ = make_batch(9, padding)
    expected = theirs(input_ids, attention_mask=mask).logits
    assert_same(ours(input_ids, attention_mask=mask).logits, expected, mask)
    if padding == "none":
        assert_same(ours(input_ids).logits, expected, mask)


@pytest.mark.parametrize("chunks", [(10,), (7, 1, 1, 1), (5, 5)], ids=str)
def test_bf16(make_pair, make_batch, variant, chunks):
    """In bf16 both round; ours must not be farther from fp32 than transformers' own bf16."""
    theirs, ours = make_pair(variant, len(chunks))
    input_ids, mask, positions = make_batch(10, "left")
    exact = theirs(input_ids, attention_mask=mask, position_ids=positions).logits
    theirs, ours = theirs.bfloat16(), ours.bfloat16()
    rounded = theirs(input_ids, attention_mask=mask, position_ids=positions).logits
    allowed = 1.5 * (rounded.float() - exact)[mask.bool()].abs().max()
    for new, output in in_chunks(ours, input_ids, mask, positions, chunks):
        assert output.logits.dtype == torch.bfloat16
        error = (output.logits.float() - exact[:, new])[mask[:, new].bool()].abs()
        assert not error.numel() or error.max() <= allowed


@pytest.mark.parametrize("iter_num", [None, 0, 1])
@pytest.mark.parametrize("padding", PADDINGS)
def test_insert_slice(make_pair, make_batch, variant, padding, iter_num):
    """Prefill gives each row's last visible position; decode and later chunks give them all."""
    seed = PADDINGS.index(padding)
    theirs, ours = make_pair(variant, seed)
    ours.config.insert_slice = True
    if iter_num is not None:
        ours.config.iter_num = iter_num
    input_ids, mask, positions = make_batch(9, padding, seed)
    expected = theirs(input_ids, attention_mask=mask, position_ids=positions).logits
    if iter_num == 1:  # only the first iteration slices
        assert_same(ours(input_ids, mask, positions).logits, expected, mask)
        return
    sliced = ours(input_ids, mask, positions).logits
    assert sliced.shape == (3, 1, expected.shape[2])
    torch.testing.assert_close(sliced[:, 0], last_visible(expected, mask), **TOLERANCE)
    _, (_, chunk) = in_chunks(ours, input_ids, mask, positions, (5, 4))
    assert_same(chunk.logits, expected[:, 5:], mask[:, 5:])
    if padding == "none":
        torch.testing.assert_close(ours(input_ids).logits, expected[:, -1:], **TOLERANCE)


@pytest.mark.parametrize("seed", range(2))
def test_cache_is_legacy_tuples_of_the_kv_heads_alone(make_pair, make_batch, variant, seed):
    _, ours = make_pair(variant, seed)
    config = ours.config
    kv_heads = {"7b": 1, "rw": config.num_attention_heads}.get(variant, config.num_kv_heads)
    cache = ours(make_batch(7)[0]).past_key_values
    assert isinstance(cache, tuple) and len(cache) == config.num_hidden_layers
    head_dim = config.hidden_size // config.num_attention_heads
    for pair in cache:
        assert [tuple(tensor.shape) for tensor in pair] == [(3, kv_heads, 7, head_dim)] * 2
    assert ours(make_batch(7)[0], use_cache=False).past_key_values is None


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("insert_slice", [False, True])
def test_generate(make_pair, make_batch, variant, insert_slice, num_beams):
    theirs, ours = make_pair(variant, seed=1)
    ours.config.insert_slice = insert_slice
    input_ids, mask, _ = make_batch(8, "left")
    arguments = {
        "attention_mask": mask,
        "max_new_tokens": 10,
        "do_sample": False,
        "num_beams": num_beams,
        "pad_token_id": 0,
    }
    expected = theirs.generate(input_ids, **arguments)
    assert torch.equal(ours.generate(input_ids, **arguments), expected)


def test_embeddings_in_place_of_ids(make_pair, make_batch, variant):
    _, ours = make_pair(variant)
    input_ids, mask, positions = make_batch(6, "left")
    embeddings = ours.get_input_embeddings()(input_ids)
    from_embeddings = ours(None, mask, positions, inputs_embeds=embeddings).logits
    assert torch.equal(from_embeddings, ours(input_ids, mask, positions).logits)
    for wrong in [{}, {"input_ids": input_ids, "inputs_embeds": embeddings}]:
        with pytest.raises(ValueError, match="input_ids"):
            ours(**wrong)


def test_optional_outputs(make_pair, make_batch, variant):
    theirs, ours = make_pair(variant)
    input_ids, mask, _ = make_batch(6)
    output = ours(input_ids, output_hidden_states=True, output_attentions=True)
    expected = theirs(input_ids, output_hidden_states=True).hidden_states
    for hidden, reference in zip(output.hidden_states, expected, strict=True):
        torch.testing.assert_close(hidden, reference, **TOLERANCE)
    for weights in output.attentions:
        assert weights.shape == (3, ours.config.num_attention_heads, 6, 6)
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
        assert not weights.triu(1).any()
    logits, cache = ours(input_ids, mask, return_dict=False)
    assert torch.equal(logits, output.logits) and len(cache) == len(output.attentions)


def test_head_mask_silences_a_head(make_pair, make_batch, variant):
    _, ours = make_pair(variant, num_attention_heads=6, hidden_size=96, num_kv_heads=2)
    input_ids, mask, positions = make_batch(6, "left")
    head_mask = torch.ones(ours.config.num_attention_heads)
    head_mask[1] = 0.0
    untouched = ours(input_ids, mask, positions).logits
    masked = ours(input_ids, mask, positions, head_mask=head_mask).logits
    assert not torch.allclose(masked, untouched, **TOLERANCE)
    width = ours.config.hidden_size // ours.config.num_attention_heads
    for block in ours.transformer.h:
        block.self_attention.dense.weight[:, width : 2 * width] = 0.0
    torch.testing.assert_close(masked, ours(input_ids, mask, positions).logits, **TOLERANCE)


@pytest.mark.parametrize("insert_slice", [False, True])
def test_labels_give_the_same_loss_and_gradients(make_pair, make_batch, variant, insert_slice):
    theirs, ours = make_pair(variant)
    ours.config.insert_slice = insert_slice
    input_ids, mask, positions = make_batch(8, "right")
    labels = input_ids.masked_fill(mask == 0, -100)
    losses = []
    with torch.enable_grad():
        for model in (theirs, ours):
            output = model(input_ids, attention_mask=mask, position_ids=positions, labels=labels)
            assert output.logits.shape[1] == 8
            output.loss.backward()
            losses.append(output.loss.item())
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    gradients = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(gradients[name].grad, parameter.grad, atol=1e-5, rtol=1e-4)
