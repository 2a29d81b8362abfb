"""Every published set of pins: its lock is complete and an answer to it, or there is a reason."""

from __future__ import annotations

from pathlib import Path

from vacc_gen import presets
from vacc_gen.generator.environment.lock import missing_lock_reason, preset_lock, requirements_of
from vacc_gen.schema.recipe import Environment

FOLDER = Path(presets.__path__[0]) / "environments"
SIZE_BUDGET_BYTES = 1_000_000

PUBLISHED = {
    "llm/baichuan2": "falcon-py310",
    "llm/chatglm2": "chatglm-py310",
    "llm/chatglm3": "chatglm-py310",
    "llm/chatglm4": "chatglm-py310",
    "llm/falcon": "falcon-py310",
    "llm/gemma": "gemma-py310",
    "llm/internlm2": "falcon-py310",
    "llm/internlm2_5": "internlm2_5-py310",
    "llm/internlm3": "internlm3-py310",
    "llm/llama": "llama-py310",
    "llm/llama2": "llama-py310",
    "llm/llama3": "llama-py310",
    "llm/mobillama": "falcon-py310",
    "llm/phi": "falcon-py310",
    "llm/qwen1.5": "qwen2-py310",
    "llm/qwen2": "qwen2-py310",
    "llm/qwen3": "qwen3-py310",
    "llm/qwen3/vllm/quant_gptq": "qwen3_gptq-py310",
    "llm/qwq": "qwen2-py310",
    "llm/skywork_or1": "skywork_or1-py310",
    "llm/stablelm": "falcon-py310",
    "llm/tigerbot": "falcon-py310",
    "llm/yi": "falcon-py310",
    "vlm/clip": "clip-py38",
    "vlm/logics_parsing": "qwen2_5_vl-py310",
    "vlm/ocrflux": "qwen2_5_vl-py310",
    "vlm/olmocr2": "qwen2_5_vl-py310",
    "vlm/qwen2_5_vl": "qwen2_5_vl-py310",
    "vlm/qwen2_vl": "qwen2_vl-py310",
    "vlm/rolmocr": "qwen2_5_vl-py310",
}
"""Where the vendor publishes pins -> the environment that has them."""


def environment(name: str) -> Environment:
    preset = presets.ENVIRONMENTS.find(name)
    return Environment.model_validate(
        {"preset": name, "python": preset.python, "platform": preset.platform}
    )


def test_a_lock_answers_its_pins_or_a_reason_says_why_there_is_none():
    for name in presets.ENVIRONMENTS.names():
        lock, wanted = preset_lock(name), requirements_of(environment(name))
        if lock is None:
            assert missing_lock_reason(environment(name)) != "it has none", name
        else:
            assert lock.shortcomings(wanted) == (), name
            assert "://" not in lock.text, name


def test_every_lock_is_some_presets_and_all_keep_the_size_budget():
    locks = {path.stem: path.stat().st_size for path in FOLDER.glob("*.txt")}
    assert set(locks) == {preset.lock_name for preset in presets.ENVIRONMENTS.all()} - {None}
    assert sum(locks.values()) <= SIZE_BUDGET_BYTES


def test_every_place_with_published_pins_has_its_environment_and_the_other_way_round():
    assert set(PUBLISHED.values()) == set(presets.ENVIRONMENTS.names())
    for place, name in PUBLISHED.items():
        folder = place.split("/")[1]
        assert folder in presets.ENVIRONMENTS.find(name).asked_source
