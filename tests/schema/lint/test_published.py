"""What is wrong in published configs is found where it is, and nothing is said of the others."""

from tests.published import FOLDER, PATHS
from tests.schema.lint.examples import assert_on_record
from vacc_gen.presets import KNOWN
from vacc_gen.schema.lint.check import check_paths
from vacc_gen.schema.lint.output import as_text


def test_every_fault_is_found_at_its_line_and_nothing_else_is_said():
    result = check_paths([str(FOLDER)], KNOWN)
    assert result.checked == len(PATHS)
    assert result.unreadable == []
    shown = as_text(result.diagnostics, {}, 0)
    assert_on_record("published.txt", shown.replace(f"{FOLDER}/", ""))
