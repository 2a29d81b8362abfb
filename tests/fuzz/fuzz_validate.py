"""Feeds arbitrary bytes to `document.load` and to the whole check; run by `make fuzz`.

python tests/fuzz/fuzz_validate.py [-max_total_time=60] [libFuzzer's other options] [CORPUS]

Needs atheris. An input that raises, or takes longer than `-timeout`, is written to the working
directory and ends the run with an error.
"""

import sys

import atheris

with atheris.instrument_imports(include=["vacc_gen"]):
    from vacc_gen.schema.lint.check import check_text
    from vacc_gen.schema.lint.document import load


def one_input(source: bytes) -> None:
    document = load(source)
    document.values  # noqa: B018  # builds the plain values
    for path in ("build/x.yaml", "vacc.yaml"):
        found = check_text(source, path)
        for one in found:
            assert 1 <= one.line <= one.end_line
            assert one.column >= 1
        fixes = [one.fix for one in found if one.fix is not None]
        document.fixed(fixes)


def main() -> None:
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
