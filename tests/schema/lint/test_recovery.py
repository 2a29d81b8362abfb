"""One mistake that makes many lines look wrong is told once; two mistakes are told both."""

import pytest

from tests.published import FOLDER
from vacc_gen.schema.lint.check import check_text
from vacc_gen.schema.lint.document import load
from vacc_gen.schema.lint.recovery import recover
from vacc_gen.schema.lint.repair import repaired

FALCON = (FOLDER / "llm/falcon/build_in/build/hf_falcon_int8.yaml").read_text(encoding="utf-8")
IMAGES = (FOLDER / "cv/classification/cspnet/build_in/build/timm_cspnet.yaml").read_text("utf-8")


def changed(text, *changes):
    for old, new in changes:
        assert text.count(old) == 1, (text.count(old), old)
        text = text.replace(old, new)
    return text


def told(text):
    return [(one.line, one.code) for one in check_text(text, "x.yaml")]


def fixed(text):
    fixes = [one.fix for one in check_text(text, "x.yaml") if one.fix and one.fix.safe]
    return repaired(text, "x.yaml", fixes)


ONE_MISTAKE = [
    ("workspace:", "#workspace:", 24, "VG102"),
    ("workspace:", "  workspace:", 24, "VG107"),
    ("workspace:", "    workspace:", 24, "VG107"),
    ("backend:", "  backend:", 16, "VG107"),
    ("  compile:\n    data_type", "  #compile:\n    data_type", 20, "VG102"),
    ("\nworkspace:\n", "\n", 24, "VG102"),
    ("frontend:\n", "", 3, "VG102"),
    ("  model_kwargs:\n    tp: 4\n    b2s", "  model_kwargs:\n  tp: 4\n  b2s", 9, "VG107"),
    ("    tp: 4\n", "    <<: 5\n", 10, "VG009"),
    ("    tp: 4\n", "    {a: 1}: 3\n", 10, "VG008"),
    ("    tp: 4\n", "    4: tp\n", 10, "VG008"),
    ("    tp: 4\n", "    on: 4\n", 10, "VG008"),
    ("    tp: 4\n", "    tp: *missing\n", 10, "VG009"),
    ("    tp: 4\n    b2s: true\n", "    tp: 4 b2s: true\n", 10, "VG001"),
    ("tp: 4\n    b2s: true\n    model", "- tp: 4\n    - b2s: true\n    - model", 10, "VG103"),
    (
        "  dtype: int8\n",
        "<<<<<<< a\n  dtype: int8\n=======\n  dtype: fp16\n>>>>>>> b\n",
        18,
        "VG001",
    ),
    ("name: falcon", "name: model: falcon", 1, "VG001"),
    ("path: ./vacc_deploy", "path: @vacc_deploy", 25, "VG001"),
    ("path: ./vacc_deploy", "path: 'it's'", 25, "VG001"),
    ("[[1024], [2048]]", "((1024), (2048))", 8, "VG014"),
    ("[[1024], [2048]]", "{{1024}, {2048}}", 8, "VG103"),
    ("[[1024], [2048]]", "[[1024]\uff0c [2048]]", 8, "VG001"),
    ("path: ./vacc_deploy", "path: \u201c./vacc_deploy\u201d", 25, "VG014"),
    ("tp: 4", "tp\uff1a4", 10, "VG001"),
    ("dtype: int8", "dtype: int8,", 18, "VG014"),
    ("workers: 4", "workers: 4\n  pyenv:\n    transformers==4.51.3", 28, "VG014"),
    ("workers: 4", "workers: 4\n  pyenv:\n    - transformers==4.51.3", 28, "VG103"),
]


@pytest.mark.parametrize(
    ("old", "new", "line", "code"),
    ONE_MISTAKE,
    ids=[f"{number}-{case[3]}" for number, case in enumerate(ONE_MISTAKE)],
)
def test_one_mistake_is_one_finding(old, new, line, code):
    assert told(changed(FALCON, (old, new))) == [(line, code)]


@pytest.mark.parametrize(
    ("section", "body"),
    [
        ("backend", "  type: tvm_vacc\n  dtype: fp16\n"),
        ("backend", "  dtype: fp16\n"),
        ("frontend", "  checkpoint: /path/to/other\n"),
        ("workspace", "  path: ./other\n"),
        ("workspace", "  workers: 2\n"),
    ],
)
def test_a_section_that_is_there_twice_is_told_once(section, body):
    text = f"{FALCON.rstrip()}\n\n{section}:\n{body}"
    assert told(text) == [(text.count("\n", 0, text.rindex(f"{section}:")) + 1, "VG006")]


def test_mistakes_in_a_section_that_is_there_twice_are_told_as_well():
    text = changed(FALCON, ("  merge_params", "  merge_parms")).rstrip()
    text += "\n\nbackend:\n  dtype: fp61\n"
    assert told(text) == [(19, "VG101"), (28, "VG006"), (29, "VG104")]


def test_a_missing_dash_is_told_where_it_is_missing():
    text = changed(IMAGES, ("  - type: CenterCrop", "    type: CenterCrop"))
    line = text.count("\n", 0, text.index("    type: CenterCrop")) + 1
    assert told(text) == [(line, "VG014")]


def test_a_list_in_place_of_a_mapping_hides_the_keys_in_it():
    text = changed(IMAGES, ("  process_ops:\n  - type: DecodeImage\n", "  process_ops:\n"))
    assert told(text.replace("\n  - type", "\n    type"))[0][1] in ("VG103", "VG006")


@pytest.mark.parametrize("text", [FALCON, IMAGES], ids=["falcon", "images"])
def test_a_file_that_breaks_off_is_one_finding(text):
    last_section = text.index("\nworkspace:")
    for end in range(text.index("\n") + 2, last_section, 7):
        if text[end - 1] in "\n ":
            continue
        found = told(text[:end])
        assert len(found) == 1, (end, text[:end][-30:], found)


TWO_MISTAKES = [
    ("    tp: 4", "     tp: 4", 10, "  workers: 4", "   workers: 4", 26),
    ("tp: 4", "tp:4", 10, "workers: 4", "workers:4", 26),
    ("type: tvm_vacc", "type:tvm_vacc", 17, "dtype: int8", "dtype:int8", 18),
    ("type: tvm_vacc", "type = tvm_vacc", 17, "dtype: int8", "dtype = int8", 18),
    ("tp: 4", "tp\uff1a4", 10, "workers: 4", "workers 4", 26),
    ("tp: 4", "tp: 4,", 10, "b2s: true", "b2s: true,", 11),
    ("tp: 4", "tp:4", 10, "workers: 4", "wokers: 4", 26),
    ("workspace:", "  workspace:", 24, "merge_params", "merge_parms", 19),
    ("  model_kwargs:", "  model_kwargsx:", 9, "b2s: true", "b2sx: true", 11),
    ("    tp: 4", '    tp: "4', 10, "  workers: 4", "   workers: 4", 26),
]


@pytest.mark.parametrize(
    ("one", "wrong", "line", "other", "also_wrong", "other_line"),
    TWO_MISTAKES,
    ids=[str(number) for number, _ in enumerate(TWO_MISTAKES)],
)
def test_two_mistakes_are_told_both(one, wrong, line, other, also_wrong, other_line):
    text = changed(FALCON, (one, wrong), (other, also_wrong))
    assert [at for at, _ in told(text)] == sorted((line, other_line))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tp: 4", "tp:4"),
        ("tp: 4", "tp\uff1a4"),
        ("tp: 4", "tp = 4"),
        ("dtype: int8", "dtype: int8,"),
        ("path: ./vacc_deploy", "path: \u201c./vacc_deploy\u201d"),
        ("workspace:", "  workspace:"),
        ("    tp: 4", "\u3000\u3000tp: 4"),
        ("    b2s: true", "+    b2s: true"),
    ],
)
def test_a_slip_is_fixed_and_the_fix_checked(old, new):
    mended = fixed(changed(FALCON, (old, new)))
    assert load(mended).values.keys() == load(FALCON).values.keys()
    assert told(mended) == []


def test_what_stands_behind_a_slip_is_fixed_at_once():
    text = changed(FALCON, ("tp: 4", "tp:4"), ("workers: 4", "wokers: 4"))
    assert load(fixed(text)).values == load(FALCON).values


def test_line_ends_stay_when_a_slip_is_fixed():
    text = changed(FALCON, ("tp: 4", "tp:4"), ("workers: 4", "wokers: 4"))
    assert fixed(text.replace("\n", "\r\n")) == FALCON.replace("\n", "\r\n")


def test_line_numbers_count_what_is_written_and_not_what_was_put_in():
    text = changed(FALCON, ("\nworkspace:\n", "\n"), ("workers: 4", "wokers: 4"))
    assert told(text) == [(24, "VG102"), (25, "VG101")]


def test_trials_end():
    text = "".join(f"key{n}: [\n  other{n} = {n}\n   - x:{n}\n" for n in range(3000))
    document = load(text)
    recover(document, "vamc", [])
    assert document.problems


def listed(text, form):
    return "".join(form.format(n, line) for n, line in enumerate(text.splitlines(True), 1))


@pytest.mark.parametrize(
    "form",
    ["{}: {}", "{}:{}", "{:>4}  {}", "{:>6}\t{}", "{} | {}", "L{} {}", "> {1}", "| {1}", "+{1}"],
)
def test_what_stands_before_every_line_is_told_once_and_taken_off(form):
    text = listed(FALCON, form)
    assert told(text) == [(1, "VG001")]
    assert fixed(text) == FALCON


def test_the_text_behind_line_numbers_is_checked_at_its_columns():
    wrong = changed(FALCON, ("dtype: int8", "dtype: INT8"))
    (alone,) = check_text(wrong, "x.yaml")
    listing, one = check_text(listed(wrong, "{}: {}"), "x.yaml")
    assert (listing.line, one.line, one.column) == (1, alone.line, alone.column + len("18: "))
    assert one.message == alone.message
    assert fixed(listed(wrong, "{}: {}")) == FALCON


def test_a_patch_that_was_pasted_whole_is_told_once():
    lines = [f" {line}" for line in FALCON.splitlines()]
    lines[9:10] = ["-    tp: 2", "+    tp: 4"]
    text = "\n".join(["--- a/x.yaml", "+++ b/x.yaml", "@@ -1,27 +1,27 @@", *lines]) + "\n"
    assert told(text) == [(1, "VG001")]


def test_one_line_with_its_number_is_told_there():
    text = changed(FALCON, ("  dtype: int8", "18:   dtype: int8"))
    assert told(text) == [(18, "VG001")]
    assert fixed(text) == FALCON


@pytest.mark.parametrize("marker", ["<<<<<<< a", "||||||| base", "=======", ">>>>>>> b"])
def test_a_marker_that_a_merge_left_alone_is_told_alone(marker):
    assert told(changed(FALCON, ("    tp: 4\n", f"    tp: 4\n{marker}\n"))) == [(11, "VG001")]


def test_a_conflict_with_its_base_is_told_once():
    ours, base, theirs = "  dtype: int8\n", "  dtype: fp32\n", "  dtype: fp16\n"
    text = f"<<<<<<< a\n{ours}||||||| base\n{base}=======\n{theirs}>>>>>>> b\n"
    assert told(changed(FALCON, (ours, text))) == [(18, "VG001")]


def test_a_value_that_goes_on_in_the_next_line_is_told_once():
    assert len(told(changed(FALCON, ("type: huggingface", "type: huggi\nngface")))) == 1


@pytest.mark.parametrize("at", ["    tp: 4\n", "  path: ./vacc_deploy\n"])
def test_a_sentence_becomes_a_comment(at):
    text = changed(FALCON, (at, "  this is what we run\n" + at))
    assert [code for _, code in told(text)] == ["VG001"]
    assert fixed(text) == changed(FALCON, (at, "  # this is what we run\n" + at))


def test_the_minus_of_a_patch_is_no_list():
    text = changed(FALCON, ("  dtype: int8", "-  dtype: int8"))
    assert told(text) == [(18, "VG001")]


def test_a_text_without_its_indentation_is_told_once():
    lines = FALCON.splitlines(keepends=True)
    assert told("".join(line.lstrip(" ") for line in lines)) == [(3, "VG014")]
    assert told(FALCON.replace(" ", "")) == [(3, "VG014")]


def test_two_files_in_one_are_told_once():
    assert told(FALCON + FALCON) == [(FALCON.count("\n") + 1, "VG006")]


def test_a_quote_that_never_ends_is_told_where_it_begins():
    found = check_text(changed(FALCON, ("type: w8a16_gptq", '"type: w8a16_gptq')), "x.yaml")
    assert [one.line for one in found] == [14]


def test_sections_that_are_merely_empty_have_lost_no_indentation():
    found = told("name: x\nfrontend:\nbackend:\nworkspace:\n")
    assert found and "VG014" not in [code for _, code in found]


@pytest.mark.parametrize("line", ["$ cat x.yaml", ":wq", "~", "EOF", "root@host:~#", "// use int8"])
def test_what_a_terminal_left_is_told_at_its_line(line):
    assert told(f"{FALCON}{line}\n") == [(FALCON.count("\n") + 1, "VG001")]
    assert told(f"{line}\n{FALCON}") == [(1, "VG001")]


def test_nothing_is_said_of_what_belongs_to_a_section_that_is_missing():
    start, end = FALCON.index("frontend:"), FALCON.index("backend:")
    assert told(FALCON[:start] + FALCON[end:]) == [(1, "VG102")]
