"""Falcon for the VACC compiler: every published variant, in one file.

`config_vacc.json` names this file in its `auto_map`, so `from_pretrained(...,
trust_remote_code=True)` loads it. Parameter names are those of the Hugging Face checkpoints.
Runs on transformers 4.31 to 4.51 with PyTorch 2.1 (the compiler's environment) and on
transformers 5 with a current PyTorch. There is no dropout: published Falcons have none.

| variant | attention | block | positions |
| --- | --- | --- | --- |
| falcon-7b | multi-query | parallel, one norm | rotary |
| falcon-40b, falcon-180B | grouped-query | parallel, two norms | rotary |
| falcon-11B | grouped-query | parallel, one norm | rotary |
| falcon-rw | multi-head, biases | sequential, two norms | ALiBi |

Shapes: B batch, S new tokens, T past + new tokens, E hidden size, V vocabulary, L layers,
H heads, K key/value heads, G = H / K query heads of one key/value head, D = E / H.
A KV cache is a tuple of L pairs (key, value), each (B, K, T, D).
"""

import math

import torch
import transformers
from torch import nn
from transformers.activations import ACT2FN
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel

# Added to the score of a key that must not be seen: exp() of it is 0 in every dtype and, unlike
# fp32's minimum, it and its sum with a score stay finite when a graph is converted to fp16.
MASKED = -32768.0

# What `RefinedWeb` and `RefinedWebModel` configs, from before Falcon was in transformers, say.
REFINED_WEB_NAMES = {
    "n_embed": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_head_kv": "num_kv_heads",
}


class FalconConfig(transformers.FalconConfig):
    """transformers' FalconConfig, which also reads the RefinedWeb names."""

    def __init__(self, **kwargs):
        for old, new in REFINED_WEB_NAMES.items():
            if old in kwargs:
                kwargs[new] = kwargs.pop(old)
        if kwargs.pop("model_type", None) == "RefinedWeb":  # falcon-40b; the 7B is RefinedWebModel
            kwargs.setdefault("new_decoder_architecture", True)
        super().__init__(**kwargs)


def rotary_table(config, position_ids):
    """Return (cos, sin) in fp32, each (B, 1, S, D), from position_ids (B, S).

    Part of the graph, never cached: nothing to round when the model is cast to half precision,
    and nothing of one export's length left for the next.
    """
    rope = {}
    for key in ("rope_scaling", "rope_parameters"):  # transformers 5 applies both
        given = getattr(config, key, None) or {}
        for kind in (given.get("type"), given.get("rope_type")):
            if kind not in (None, "default"):
                raise ValueError(f"{key}: rope scaling {kind!r} is not supported, only 'default'")
        rope = {**rope, **given}
    theta = rope.get("rope_theta", getattr(config, "rope_theta", 10000.0))
    width = config.hidden_size // config.num_attention_heads
    steps = torch.arange(0, width, 2, dtype=torch.float32, device=position_ids.device)
    inverse_frequency = 1.0 / (float(theta) ** (steps / width))  # (D / 2)
    angle = position_ids[:, None, :, None].float() * inverse_frequency  # (B, 1, S, D / 2)
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    """Return x (B, *, S, D) with its two halves rotated by the table's angles."""
    first, second = x.chunk(2, dim=-1)
    return x * cos.to(x.dtype) + torch.cat((-second, first), dim=-1) * sin.to(x.dtype)


def alibi_slopes(num_heads):
    """Return the H slopes of ALiBi (Press et al. 2022, section 3) as Falcon has them: in bf16."""
    power = 2 ** math.floor(math.log2(num_heads))
    slopes = [2.0 ** (-8.0 * i / power) for i in range(1, power + 1)]
    slopes += [2.0 ** (-4.0 * i / power) for i in range(1, 2 * (num_heads - power), 2)]
    parts = [math.frexp(slope) for slope in slopes]
    return [math.ldexp(round(math.ldexp(part, 8)), exponent - 8) for part, exponent in parts]


def round_to_bf16(x):
    """Round non-negative fp32 x to bf16's 8 significant bits, staying in fp32.

    A cast to bf16 and back would say the same, but not every ONNX runtime has it right:
    ONNX Runtime 1.13 cuts the bits off instead.
    """
    unit = 2.0 ** (torch.floor(torch.log2(x.clamp(min=2.0**-14))) - 7)  # of the last bit
    return torch.round(x / unit) * unit


def alibi_bias(config, mask):
    """Return ALiBi's share of the scaled scores in fp32, (B, H, 1, T), from mask (B, T).

    Falcon's original code forms slopes, positions and products in bf16; transformers keeps to
    that, and so do these values.
    """
    heads = config.num_attention_heads
    slopes = torch.tensor(alibi_slopes(heads), dtype=torch.float32, device=mask.device)
    positions = (mask.cumsum(dim=-1) - 1) * mask  # (B, T), counted from the first visible token
    positions = round_to_bf16(positions.float())[:, None, None, :]
    bias = round_to_bf16(slopes[:, None, None] * positions)  # (B, H, 1, T)
    return bias / math.sqrt(config.hidden_size // heads)


def attention_bias(config, mask, num_new):
    """Return what is added to the scaled scores, fp32, (B, 1 or H, S, T), from mask (B, T).

    Query s is key T - S + s. It sees itself, so that a pad token's row is no mean of everything
    (or NaN), and what the mask shows before itself.
    """
    keys = torch.arange(mask.shape[1], device=mask.device)  # (T)
    queries = keys[mask.shape[1] - num_new :]  # (S)
    before, itself = keys < queries[:, None], keys == queries[:, None]  # (S, T)
    visible = before & (mask != 0)[:, None, None, :] | itself  # (B, 1, S, T)
    hidden = torch.full((), MASKED, dtype=torch.float32, device=mask.device)
    seen = alibi_bias(config, mask) if config.alibi else torch.zeros_like(hidden)
    return torch.where(visible, seen, hidden)


class FalconAttention(nn.Module):
    """Self-attention with a KV cache of K heads, whatever the number of query heads."""

    def __init__(self, config):
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_size // self.num_heads
        if config.new_decoder_architecture:
            self.num_kv_heads = config.num_kv_heads
        else:  # `num_kv_heads` of falcon-7b's own config.json says 71
            self.num_kv_heads = 1 if config.multi_query else self.num_heads
        self.num_groups = self.num_heads // self.num_kv_heads
        fused_width = (self.num_heads + 2 * self.num_kv_heads) * self.head_dim
        self.query_key_value = nn.Linear(config.hidden_size, fused_width, bias=config.bias)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size, bias=config.bias)

    def _split_heads(self, fused):
        """Split (B, S, (G + 2) K D) into query (B, H, S, D), key and value (B, K, S, D).

        All variants keep one layout: per key/value head its G queries, then its key and value.
        """
        batch, num_new, _ = fused.shape
        fused = fused.view(batch, num_new, self.num_kv_heads, self.num_groups + 2, self.head_dim)
        query, key, value = fused.split([self.num_groups, 1, 1], dim=3)
        query = query.reshape(batch, num_new, self.num_heads, self.head_dim)
        key, value = key.squeeze(3), value.squeeze(3)
        return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)

    def _per_query_head(self, x):
        """Repeat (B, K, T, D) to (B, H, T, D); one head (K = 1) broadcasts by itself."""
        if self.num_kv_heads in (1, self.num_heads):
            return x
        return x[:, :, None].expand(-1, -1, self.num_groups, -1, -1).flatten(1, 2)

    def forward(self, hidden, bias, rotary=None, past=None):
        """Return the output (B, S, E), the cache's new pair, and the weights (B, H, S, T)."""
        query, key, value = self._split_heads(self.query_key_value(hidden))
        if rotary is not None:
            query, key = rotate(query, *rotary), rotate(key, *rotary)
        if past is not None:
            key = torch.cat((past[0], key), dim=2)  # (B, K, T, D)
            value = torch.cat((past[1], value), dim=2)
        query = query / math.sqrt(self.head_dim)  # before the product: it could overflow fp16
        scores = query @ self._per_query_head(key).transpose(2, 3)  # (B, H, S, T)
        weights = torch.softmax(scores.float() + bias, dim=-1).to(value.dtype)
        mixed = (weights @ self._per_query_head(value)).transpose(1, 2).flatten(2)  # (B, S, E)
        return self.dense(mixed), (key, value), weights


class FalconMLP(nn.Module):
    """The feed-forward half of a block: E -> `ffn_hidden_size` -> E."""

    def __init__(self, config):
        super().__init__()
        width = getattr(config, "ffn_hidden_size", None) or 4 * config.hidden_size
        self.dense_h_to_4h = nn.Linear(config.hidden_size, width, bias=config.bias)
        self.act = ACT2FN[getattr(config, "activation", None) or "gelu"]
        self.dense_4h_to_h = nn.Linear(width, config.hidden_size, bias=config.bias)

    def forward(self, x):
        """Map (B, S, E) to (B, S, E)."""
        return self.dense_4h_to_h(self.act(self.dense_h_to_4h(x)))


class FalconDecoderLayer(nn.Module):
    """One block; it needs nothing but its own weights and its arguments."""

    def __init__(self, config):
        super().__init__()
        # The new architecture is parallel, whatever `parallel_attn` says.
        self.parallel = config.new_decoder_architecture or config.parallel_attn
        num_norms = getattr(config, "num_ln_in_parallel_attn", None) or 2
        self.norm_each = config.new_decoder_architecture and num_norms == 2
        norms = ["ln_attn", "ln_mlp"] if self.norm_each else ["input_layernorm"]
        norms += [] if self.parallel else ["post_attention_layernorm"]
        for name in norms:
            setattr(self, name, nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon))
        self.self_attention = FalconAttention(config)
        self.mlp = FalconMLP(config)

    def forward(self, hidden, bias, rotary=None, past=None):
        """Return the new hidden states (B, S, E), the cache's pair, and the weights."""
        normed = self.ln_attn(hidden) if self.norm_each else self.input_layernorm(hidden)
        attended, present, weights = self.self_attention(normed, bias, rotary, past)
        if self.parallel:
            change = self.mlp(self.ln_mlp(hidden) if self.norm_each else normed) + attended
        else:
            hidden = hidden + attended
            change = self.mlp(self.post_attention_layernorm(hidden))
        return hidden + change, present, weights


class FalconPreTrainedModel(PreTrainedModel):
    """What transformers needs to know of both classes below."""

    config_class = FalconConfig
    base_model_prefix = "transformer"
    _no_split_modules = ["FalconDecoderLayer"]  # noqa: RUF012

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)


class FalconModel(FalconPreTrainedModel):
    """Embedding, L blocks, final norm."""

    def __init__(self, config):
        super().__init__(config)
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.h = nn.ModuleList(FalconDecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.ln_f = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.post_init()

    def get_input_embeddings(self):
        return self.word_embeddings

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        inputs_embeds=None,
        use_cache=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
    ):
        """Return the last hidden states (B, S, E) and the cache; see FalconForCausalLM."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either `input_ids` or `inputs_embeds`")
        config = self.config
        hidden = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        batch, num_new, _ = hidden.shape
        num_past = 0 if past_key_values is None else past_key_values[0][0].shape[2]
        if attention_mask is None:
            attention_mask = hidden.new_ones((batch, num_past + num_new), dtype=torch.long)
        if position_ids is None:
            position_ids = torch.arange(num_past, num_past + num_new, device=hidden.device)[None]
        bias = attention_bias(config, attention_mask, num_new)
        rotary = None if config.alibi else rotary_table(config, position_ids)

        def wanted(flag, name):
            return getattr(config, name) if flag is None else flag

        cache = () if wanted(use_cache, "use_cache") else None
        all_hidden = () if wanted(output_hidden_states, "output_hidden_states") else None
        all_weights = () if wanted(output_attentions, "output_attentions") else None
        for index, block in enumerate(self.h):
            if all_hidden is not None:
                all_hidden += (hidden,)
            past = None if past_key_values is None else past_key_values[index]
            hidden, present, weights = block(hidden, bias, rotary, past)
            if cache is not None:
                cache += (present,)
            if all_weights is not None:
                all_weights += (weights,)
        hidden = self.ln_f(hidden)
        if all_hidden is not None:
            all_hidden += (hidden,)
        output = BaseModelOutputWithPast(hidden, cache, all_hidden, all_weights)
        return output if wanted(return_dict, "return_dict") else output.to_tuple()


def last_visible(hidden, mask):
    """Return the last visible position's hidden states, (B, 1, E), from (B, S, E), mask (B, S)."""
    batch, num_new, width = hidden.shape
    positions = torch.arange(num_new, device=mask.device)
    last = (positions * (mask != 0)).amax(dim=-1)  # (B); 0 where nothing is visible
    rows = torch.arange(batch, device=mask.device) * num_new
    return hidden.reshape(-1, width).index_select(0, rows + last)[:, None]


class FalconForCausalLM(FalconPreTrainedModel, GenerationMixin):
    """FalconModel and the language modeling head, tied to the embedding by default."""

    # transformers 5 wants to know the source; 4 reads the keys alone.
    _tied_weights_keys = {"lm_head.weight": "transformer.word_embeddings.weight"}  # noqa: RUF012

    def __init__(self, config):
        super().__init__(config)
        self.transformer = FalconModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.lm_head

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        head_mask=None,
        inputs_embeds=None,
        labels=None,
        use_cache=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
    ):
        """Return logits (B, S, V) and the cache; with `labels` (B, S) the loss before them.

        `attention_mask` (B, T) is 1 where a token is to be seen; default: everywhere.
        `position_ids` (B, S); default: counted from the start of the cache, padding included.
        `config.insert_slice` with `config.iter_num` 0 or absent: a prefill (no cache, no labels)
        returns the logits of each row's last visible position alone, (B, 1, V).
        """
        if head_mask is not None:
            raise ValueError("`head_mask` is not supported")
        return_dict = self.config.return_dict if return_dict is None else return_dict
        output = self.transformer(
            input_ids,
            attention_mask,
            position_ids,
            past_key_values,
            inputs_embeds,
            use_cache,
            output_attentions,
            output_hidden_states,
            return_dict=True,
        )
        hidden = output.last_hidden_state
        is_first = not getattr(self.config, "iter_num", None) and past_key_values is None
        if getattr(self.config, "insert_slice", False) and is_first and labels is None:
            # A pad token may stand last: take the last position that the mask shows.
            no_mask = attention_mask is None
            hidden = hidden[:, -1:] if no_mask else last_visible(hidden, attention_mask)
        logits = self.lm_head(hidden)
        loss = None
        if labels is not None:
            scores = logits[:, :-1].flatten(0, 1).float()
            loss = nn.functional.cross_entropy(scores, labels[:, 1:].flatten())
        kept = (output.past_key_values, output.hidden_states, output.attentions)
        result = CausalLMOutputWithPast(loss, logits, *kept)
        return result if return_dict else result.to_tuple()

    @classmethod
    def _supports_default_dynamic_cache(cls):
        return False  # `generate` is to hand back the tuples that it got

    def prepare_inputs_for_generation(
        self, input_ids, attention_mask=None, past_key_values=None, **kwargs
    ):
        """Return forward's arguments for the next step of `generate`."""
        num_past = 0 if past_key_values is None else past_key_values[0][0].shape[2]
        position_ids = None  # transformers 5 gives no mask where nothing is padded
        if attention_mask is not None:
            position_ids = (attention_mask.long().cumsum(dim=-1) - 1).clamp(min=0)[:, num_past:]
        return {
            "input_ids": input_ids[:, num_past:],
            "attention_mask": attention_mask,
            "position_ids": position_ids,
            "past_key_values": past_key_values,
            "use_cache": kwargs.get("use_cache"),
        }

    @staticmethod
    def _reorder_cache(past_key_values, beam_idx):
        return tuple((k[beam_idx], v[beam_idx]) for k, v in past_key_values)
