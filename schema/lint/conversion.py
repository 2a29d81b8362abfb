"""What was meant by a value of another kind or spelling: `[4]`, half, 256x256."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from vacc_gen.schema.lint.suggestions import nearest

Schema = dict[str, Any]


class Meant(NamedTuple):
    """What a value was meant to be, as YAML; `safe` where nothing else can be meant."""

    text: str
    safe: bool
    why: str = ""


_SAME = {
    "fp16": ("float16", "half", "f16", "16", "fp16bit"),
    "fp32": ("float32", "float", "f32", "single", "32"),
    "int8": ("i8", "8bit", "8"),
    "int32": ("i32", "int"),
    "int64": ("i64", "long"),
    "uint8": ("u8", "byte"),
    "w8a16_gptq": ("gptq", "w8a16", "gptqw8a16", "gptqint8"),
    "w16kv8": ("kv8", "kvint8"),
    "huggingface": ("hf", "transformers", "hugging"),
    "pytorch": ("torch", "torchscript", "pt", "pth"),
    "tensorflow": ("tf", "pb"),
    "keras": ("h5", "tfkeras"),
    "kl_divergence": ("kl", "kld", "kldiv", "entropy"),
    "percentile": ("percent", "pct"),
    "max": ("absmax", "maxabs", "maximum", "maxcalibration"),
    "mse": ("meansquarederror", "mmse"),
    "nearest": ("internearest",),
    "bilinear": ("linear", "interlinear"),
    "bicubic": ("cubic", "intercubic"),
    "area": ("interarea",),
    "lanczos": ("interlanczos4", "lanczos4"),
    "pillow": ("pil",),
    "opencv": ("cv2", "cv"),
    "long": ("longer", "longest", "longside"),
    "short": ("shorter", "shortest", "shortside"),
    "DecodeImage": ("decode", "imread", "readimage", "loadimage", "loadimagefromfile"),
    "Resize": ("resizeimage", "rescale", "scale"),
    "CenterCrop": ("crop", "cropimage", "centrecrop"),
    "Normalize": ("norm", "normalization", "normalise", "normalizeimage"),
    "Pad": ("padding", "padtosquare"),
    "CvtColor": ("bgr2rgb", "rgb2bgr", "convertcolor", "colorconvert"),
    "ChannelSplit": ("split", "splitchannel"),
    "ToTensor": ("tensor", "tochw", "tochwimage", "hwc2chw", "transpose"),
}
"""Other tools' words for values of this format, without case and punctuation."""

_LIKE = {
    "fp16": ("bf16", "bfloat16", "fp32", "float32", "fp64", "fp8"),
    "int8": ("w8a16", "w8a8", "int4", "uint8", "i4", "4bit", "w4a16"),
    "w8a16_gptq": ("int8", "w8a8", "awq", "w8a16awq", "smoothquant", "rtn"),
    "max": ("minmax",),
    "tvm_vacc": ("tvm", "vacc"),
}
"""Values that this format does not have, and the nearest that it has."""


def of_word(word: str, allowed: Sequence[str]) -> Meant | None:
    """Return the allowed word that another one stands for, or None."""
    letters = re.sub(r"[\W_]", "", word.lower().removeprefix("torch.").removeprefix("np."))
    for one in allowed:
        if letters == re.sub(r"[\W_]", "", one.lower()):
            return Meant(one, True)
    for safe, table in ((True, _SAME), (False, _LIKE)):
        for meant, others in table.items():
            if meant in allowed and letters in others:
                return Meant(meant, safe)
    inside = [one for one in allowed if one in word]
    if len(inside) == 1 and len(word) > len(inside[0]):
        return Meant(inside[0], not re.sub(r"[\W_]", "", word.replace(inside[0], "")))
    near = nearest(word, allowed) if re.search(r"[^\W\d_]", word) else None
    return Meant(near, not _another_number(word, near)) if near else None


def _another_number(value: str, meant: str) -> bool:
    """Whether values differ in their digits alone: int4 is a wish, and no slip for int8."""
    (letters, digits), (meant_letters, meant_digits) = (
        (re.sub(r"[\W\d_]", "", text.lower()), sorted(re.findall(r"\d", text)))
        for text in (value, meant)
    )
    return letters == meant_letters and digits != meant_digits


_NUMBER_WORDS = dict(zip(("one", "two", "four", "eight", "sixteen"), (1, 2, 4, 8, 16), strict=True))
_TRUE = ("true", "yes", "on", "y", "enable", "enabled", "1")
_FALSE = ("false", "no", "off", "n", "disable", "disabled", "0")
_ONE_NUMBER = re.compile(r"[^\d.+-]*(\d+)(\.0+)?(?![\d.])[^\d]*")
_THOUSANDS = re.compile(r"\d{1,3}([,' _]\d{3})+")
_SEPARATOR = re.compile(r"\s*[,;xX\u00d7*\s]\s*")
_PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def of_value(
    value: Any, expected: Sequence[str], schema: Schema, in_list: bool = False
) -> Meant | None:
    """Return what a value of a wrong type was meant to be, or None where that cannot be known.

    Args:
        value: plain, as YAML reads it.
        expected: the types of JSON Schema that are taken.
        schema: of the value that is taken.
        in_list: whether the value is one of several, in brackets.
    """
    allowed = schema.get("enum") or ([schema["const"]] if "const" in schema else None)
    if isinstance(value, list) and len(value) == 1 and "array" not in expected:
        inner = value[0]
        if not isinstance(inner, (dict, list)):
            return _single(inner, expected, schema)
        return None
    if allowed is not None and not isinstance(value, (dict, list, bool)):
        words = [word for word in allowed if isinstance(word, str)]
        if words:
            return of_word(str(value), words)
    for kind, converted in (("integer", _whole), ("number", _number), ("boolean", _truth)):
        if kind in expected:
            meant = _whole(value, in_list) if kind == "integer" else converted(value)
            known = meant is None or allowed is None or meant.text in map(str, allowed)
            return meant if known else None
    return _listed(value, schema) if "array" in expected else None


def _single(value: Any, expected: Sequence[str], schema: Schema) -> Meant | None:
    """Return the one value of a list that should be none."""
    kinds: dict[str, type] = {"integer": int, "boolean": bool, "string": str}
    for kind in expected:
        if kind in kinds and type(value) is kinds[kind]:
            text = str(value).lower() if kind == "boolean" else str(value)
            plain = re.fullmatch(r"[\w./-]+", text) is not None
            return Meant(text, True, "without the brackets") if plain else None
    inner = of_value(value, expected, schema)
    return inner._replace(safe=False) if inner else None


def _whole(value: Any, in_list: bool = False) -> Meant | None:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        return Meant(str(int(value)), True, "a whole number has no point")
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    if text in _NUMBER_WORDS:
        return Meant(str(_NUMBER_WORDS[text]), False)
    if _THOUSANDS.fullmatch(text):
        if " " in text:  # in a list, a comma is missing
            return Meant(text.replace(" ", ", " if in_list else ""), False)
        return Meant(re.sub(r"\D", "", text), True, "numbers have no separators")
    if _PLAIN_NUMBER.fullmatch(text) and float(text).is_integer() and abs(float(text)) < 1 << 53:
        return Meant(str(int(float(text))), True)
    if _without_commas(text):
        return _without_commas(text)
    thousands = re.fullmatch(r"(\d{1,3})k", text)
    if thousands:
        return Meant(str(int(thousands[1]) * 1024), False, "k is no part of a number")
    found = _ONE_NUMBER.fullmatch(text)
    return Meant(found[1], False) if found and len(found[1]) < 10 else None


def _number(value: Any) -> Meant | None:
    if not isinstance(value, str):
        return None
    text = value.strip()
    if _without_commas(text):
        return _without_commas(text)
    if re.fullmatch(r"0\d+", text):
        return Meant(f"0.{text[1:]}", False)
    if _PLAIN_NUMBER.fullmatch(text):
        return Meant(_with_point(text), True)
    if re.fullmatch(r"\d+,\d+", text):
        return Meant(text.replace(",", "."), False, "numbers have a point")
    percent = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)\s*%", text)
    return Meant(f"{float(percent[1]) / 100:.10g}", False) if percent else None


def _without_commas(text: str) -> Meant | None:
    """Return the numbers of a list with commas between them, where blanks stand there alone."""
    parts = [part.rstrip(".") for part in text.split()]
    numbers = len(parts) > 1 and all(_PLAIN_NUMBER.fullmatch(part) for part in parts)
    why = "commas stand between the values of a list"
    return Meant(", ".join(map(_with_point, parts)), True, why) if numbers else None


def _with_point(text: str) -> str:
    """Return a number as YAML 1.1 knows it: 1e-3 is text to it, 1.0e-3 is none."""
    return re.sub(r"^([+-]?\d+)(?=[eE])", r"\1.0", text)


def _truth(value: Any) -> Meant | None:
    text = plain_word(value)
    for words, meant in ((_TRUE, "true"), (_FALSE, "false")):
        if text in words:
            return Meant(meant, True)
    near = nearest(text, ("true", "false")) if len(text) > 2 else None
    return Meant(near, True) if near else None


def plain_word(value: Any) -> str:
    """Return a scalar as one lower-case word; no word for anything else."""
    return str(value).strip().lower() if isinstance(value, (str, int, float)) else ""


def _listed(value: Any, schema: Schema) -> Meant | None:
    """Return the list that is meant by a single value: `256x256`, or 256 for two of them."""
    least, most = schema.get("minItems"), schema.get("maxItems")
    if isinstance(value, str):
        parts = _SEPARATOR.split(value.strip().strip("()[]").strip())
        numbers = all(_PLAIN_NUMBER.fullmatch(part) for part in parts)
        fits = (least or 1) <= len(parts) <= (most or len(parts))
        if numbers and fits:
            return Meant(f"[{', '.join(map(_with_point, parts))}]", True)
        if not numbers:
            items = [item.strip() for item in value.split(",")]
            words = all(re.fullmatch(r"[\w.=<>~+-]+", item) for item in items)
            return Meant(f"[{', '.join(items)}]", False) if words else None
        value = parts[0]
    if isinstance(value, (dict, list, bool)) or value is None:
        return None
    twice = least == most == 2
    return Meant(f"[{value}, {value}]" if twice else f"[{value}]", False)


_SEPARATED = re.compile(r"\[\s*\d{1,3}(,\d{3})+\s*\]")
"""`[1,024]`: one number to whoever wrote it, two to YAML."""
_SIZE = re.compile(r"(\d+)(?:\.0*)?(k)?(?![\w.])", re.IGNORECASE)


def of_shape(written: str, values: Any, language_model: bool) -> Meant | None:
    """Return the shape that is meant by one in a wrong form, or None.

    Args:
        written: the shape's text.
        values: what YAML makes of it.
        language_model: whether `[[prefill], [total]]` is wanted; else one list of sizes.
    """
    lists = values if isinstance(values, list) else []
    if not language_model:
        nested = isinstance(values, list) and len(values) == 1 and isinstance(values[0], list)
        sizes = values[0] if nested else []
        whole = bool(sizes) and all(type(size) is int for size in sizes)
        return Meant(str(sizes), True, "one list of sizes") if whole else None
    why = "each length in a list of its own"
    if isinstance(values, dict):
        lengths = [values.get("prefill"), values.get("total")]
    else:
        joined = _SEPARATED.sub(lambda found: found.group().replace(",", ""), written)
        why = "numbers have no separators" if joined != written else why
        well_formed = len(lists) == 2 and all(
            isinstance(one, list) and len(one) == 1 and not isinstance(one[0], list)
            for one in lists
        )
        if isinstance(values, str) or (well_formed and joined == written):
            return None  # the brackets are right
        lengths = [int(size) * (1024 if k else 1) for size, k in _SIZE.findall(joined)]
        if len(_SIZE.sub("", joined).strip("[](){}, \"'xX\t\n")):
            return None
    sizes = [size for size in lengths if type(size) is int and 0 < size < 1 << 24]
    if len(sizes) != 2 or len(lengths) != 2:
        return None
    return Meant(f"[[{sizes[0]}], [{sizes[1]}]]", sizes[0] <= sizes[1], why)
