"""VG94: is a compiled model still what `build` made?"""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.artifacts import MANIFEST_FILE, difference_of, read_artifacts
from vacc_gen.schema.errors import UnreadableError
from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.weight_files import WeightFiles, WeightFinding


@rule("VG940", Severity.ERROR, "compiled model unlike its manifest", scope="compiled")
def artifacts(files: WeightFiles) -> Iterator[WeightFinding]:
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
    try:
        listed = read_artifacts(files.folder) or []
    except UnreadableError as error:
        yield files.at_start(MANIFEST_FILE, error.message, error.hint)
        return
    for artifact in listed:
        difference = difference_of(files.folder, artifact, read_content=True)
        if difference is not None:
            hint = "`vacc-gen build` makes it again"
            yield files.at_start(artifact.path, f"{artifact.path} {difference}", hint)
