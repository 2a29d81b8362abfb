"""VG94: is a compiled model still what `build` made?"""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.artifacts import changed_files
from vacc_gen.schema.errors import CheckpointError
from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.weight_files import WeightFiles


@rule("VG940", Severity.ERROR, "compiled model unlike its manifest", scope="compiled")
def changed_artifacts(files: WeightFiles) -> Iterator[CheckpointError]:
    """A file of `deploy/<name>` is missing, or not the one that `build` made.

    Every file is read whole, so only folders that are named are checked.

    Bad:
        # manifest.json
        {"artifacts": [{"path": "decode.onnx", "bytes": 2, "sha256": "ab01"}]}
        ---
        # decode.onnx
        1
    Good:
        # manifest.json
        {"artifacts": []}
        ---
        # decode.onnx
        1
    """
    for name, change in changed_files(files.folder, read_content=True):
        yield CheckpointError(f"{name} {change}", "`vacc-gen build` makes it again", file=name)
