import pytest

from tests.published import FOLDER
from vacc_gen.schema.lint.check import check_text

FALCON = (FOLDER / "llm/falcon/build_in/build/hf_falcon_int8.yaml").read_text(encoding="utf-8")
IMAGES = (FOLDER / "cv/classification/cspnet/build_in/build/timm_cspnet.yaml").read_text("utf-8")


def found(text):
    return [(one.code, one.line, one.column, one.message, one.hint) for one in check_text(text, "")]


def with_frontend(lines):
    return (
        f"name: model\nfrontend:\n{lines}backend: {{type: tvm_vacc, dtype: fp16}}\n"
        "workspace: {path: ./out}\n"
    )


def of_type(kind, checkpoint, shape="{input: [1, 3, 64, 64]}"):
    typed = f"  type: {kind}\n" if kind else ""
    return with_frontend(f"  checkpoint: {checkpoint}\n{typed}  shape: {shape}\n")


@pytest.mark.parametrize("kind", ["onnx", "pytorch", "keras"])
def test_a_language_model_of_another_type_is_reported_once(kind):
    message = f"the type is {kind}, and `model_kwargs` is for huggingface"
    text = FALCON.replace("huggingface", kind, 1)
    line = 1 + text[: text.index("model_kwargs")].count("\n")
    assert found(text) == [("VG301", 5, 9, message, f"`model_kwargs` is on line {line}")]


def test_weight_quantization_is_for_huggingface():
    text = with_frontend(
        "  checkpoint: m.onnx\n  type: onnx\n  quantize: {type: w16kv8}\n  shape: {x: [1]}\n"
    )
    message = "the type is onnx, and `quantize` is for huggingface"
    hint = "`quantize` is on line 5"
    assert ("VG301", 4, 9, message, hint) in found(text)


def test_an_image_model_called_huggingface_is_reported_once():
    ((code, *_, message, hint),) = found(IMAGES.replace("type: onnx", "type: huggingface", 1))
    assert (code, message) == ("VG301", "the checkpoint is a .onnx file, the type is huggingface")
    assert hint == "a .onnx file is read with `type: onnx`"


@pytest.mark.parametrize(
    ("kind", "checkpoint", "message"),
    [
        ("onnx", "model.PT", "the checkpoint is a .pt file, the type is onnx"),
        ("pytorch", "model.torchscript.pt", None),
        ("pytorch", "model.bin", None),
        ("tensorflow", "saved_model", None),
        (None, "model.onnx", None),
        ("huggingface", "w/model.safetensors", "the checkpoint is a file, and huggingface reads a folder"),  # noqa: E501
        ("huggingface", "w/config.json", "the checkpoint is a file, and huggingface reads a folder"),  # noqa: E501
        ("onnx", "https://example.com/model.pt", "the checkpoint is a URL"),
        ("huggingface", "https://example.com/falcon", "the checkpoint is a URL"),
    ],
)  # fmt: skip
def test_a_checkpoint_of_another_kind(kind, checkpoint, message):
    places = [one[:4] for one in found(of_type(kind, checkpoint)) if one[0] == "VG301"]
    assert places == ([("VG301", 3, 15, message)] if message else [])


def test_a_url_is_a_warning():
    (one,) = check_text(of_type("onnx", "https://example.com/model.onnx"), "x.yaml")
    assert (one.code, one.severity.value) == ("VG301", "warning")
    assert one.hint == "download it first, and name the file or folder"


def test_model_kwargs_make_it_a_hugging_face_model():
    text = FALCON.replace("  type: huggingface\n", "", 1)
    assert [one[:3] for one in found(text)] == [("VG113", 3, 1)]
    onnx = text.replace("/path/to/falcon-7b-instruct", "/path/to/falcon.onnx")
    assert "VG301" in [one[0] for one in found(onnx)]


@pytest.mark.parametrize(
    ("checkpoint", "hint"),
    [
        ("model.pth", "write `type: pytorch`"),
        ("yolo.weights", "write `type: darknet`"),
        ("saved_model", "write what kind of checkpoint it is"),
        ("model.onnx", None),
        ("graph.pb", None),
    ],
)
def test_a_type_that_cannot_be_detected(checkpoint, hint):
    message = "`type` is missing in `frontend`"
    expected = [("VG113", 2, 1, message, hint)] if hint else []
    assert found(of_type(None, checkpoint)) == expected


def test_a_null_type_is_reported_once():
    assert [one[0] for one in found(of_type("null", "model.pt"))] == ["VG106"]


@pytest.mark.parametrize("name", ["falcon-7b-instruct-int8", "falcon-7b-instruct-int8-tp4"])
def test_a_language_model_without_tp(name):
    lines = [line for line in FALCON.splitlines() if not line.strip().startswith(("tp:", "name:"))]
    at = next(at for at, line in enumerate(lines) if "model_kwargs" in line) + 2
    hint = "write `tp: N`, the number of dies that the model runs on"
    if name.endswith("tp4"):
        hint = "the name says tp4: write `tp: 4`"
    message = "`tp` is missing in `frontend.model_kwargs`"
    assert found("\n".join([f"name: {name}", *lines])) == [("VG308", at, 3, message, hint)]


@pytest.mark.parametrize(
    ("lengths", "quantize", "codes"),
    [
        ("[[512], []]", "", []),
        ("[[512], [1024]]", "quantize: {type: w8a16_gptq, device: 'cuda:0'}", []),
        ("[[512], [1024]]", "quantize: {type: w8a16_gptq}", ["VG308"]),
    ],
    ids=["encoder", "vamc quant", "vamc compile"],
)
def test_what_needs_tp(lengths, quantize, codes):
    text = of_type("huggingface", "model", f"{{input_ids: {lengths}}}\n  {quantize}")
    assert [one[0] for one in found(text)] == codes


def test_options_without_model_arch():
    lines = [line for line in FALCON.splitlines() if "model_arch" not in line]
    assert [one[0] for one in found("\n".join(lines))] == ["VG307"]
    onnx = "\n".join(lines).replace("huggingface", "onnx", 1)
    assert [one[0] for one in found(onnx)] == ["VG301"]
