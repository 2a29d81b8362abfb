"""VG90: are the files of a workspace those that were made from its recipe as it is now?"""

from __future__ import annotations

from collections.abc import Iterator

from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.group import GroupFinding, Workspace, text_hash
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.subject import Finding

_MOST_NAMED = 3


@rule("VG904", Severity.WARNING, "files made from an older recipe", scope="workspace")
def stale_files(workspace: Workspace) -> Iterator[GroupFinding]:
    """vacc.yaml was changed after the files of its workspace were made from it.

    Bad:
        # vacc.yaml
        version: 2
        model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
        ---
        # .vacc-gen/manifest.json
        {"version": 1, "made_from": {"vacc.yaml": "9f86d081884c7d65"}, "files": {}}
    Good:
        # vacc.yaml
        version: 2
        model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
        ---
        # .vacc-gen/manifest.json
        {"version": 1, "made_from": {}, "files": {}}
    """
    made, recipe = workspace.made, workspace.recipe
    if made is not None and made.recipe and made.recipe != text_hash(recipe.document.text):
        yield (
            recipe,
            Finding(
                recipe.key_span("version"),
                "vacc.yaml was changed after the files of this workspace were made",
                "`vacc-gen generate` makes them again, with --diff it only shows what changes",
            ),
        )


@rule("VG905", Severity.WARNING, "generated file missing", scope="workspace")
def missing_file(workspace: Workspace) -> Iterator[GroupFinding]:
    """A file that was made from vacc.yaml is no longer there.

    Bad:
        # vacc.yaml
        version: 2
        model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
        ---
        # .vacc-gen/manifest.json
        {"version": 1, "made_from": {}, "files": {"env/requirements.lock": "9f86d081884c7d65"}}
    Good:
        # vacc.yaml
        version: 2
        model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
        ---
        # .vacc-gen/manifest.json
        {"version": 1, "made_from": {}, "files": {"env/requirements.lock": "9f86d081884c7d65"}}
        ---
        # env/requirements.lock
        torch==2.1.0
    """
    missing = workspace.missing()
    if (workspace.root / "source_code" / "config_vacc.json").is_file():
        missing = [path for path in missing if not path.endswith("_vacc.py")]  # VG921
    if missing:
        more = len(missing) - _MOST_NAMED
        named = ", ".join(missing[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        recipe = workspace.recipe
        yield (
            recipe,
            Finding(
                recipe.key_span("version"),
                f"made from this recipe, and no longer there: {named}",
                "`vacc-gen generate` makes it again",
            ),
        )


@rule("VG906", Severity.INFO, "generated file edited by hand", scope="workspace", default=False)
def edited_file(workspace: Workspace) -> Iterator[GroupFinding]:
    """A generated file is not as vacc-gen wrote it. `generate` leaves it as it is.

    Bad:
        # vacc.yaml
        version: 2
        model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
        ---
        # .vacc-gen/manifest.json
        {"version": 1, "made_from": {}, "files": {"scripts/compile.sh": "9f86d081884c7d65"}}
        ---
        # scripts/compile.sh
        vamc compile build/hf_falcon_fp16.yaml
    Good:
        # vacc.yaml
        version: 2
        model: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}
        ---
        # .vacc-gen/manifest.json
        {"version": 1, "made_from": {}, "files": {}}
        ---
        # scripts/compile.sh
        vamc compile build/hf_falcon_fp16.yaml
    """
    edited = workspace.edited()
    if edited:
        recipe = workspace.recipe
        yield (
            recipe,
            Finding(
                recipe.key_span("version"),
                f"edited by hand since made from this recipe: {', '.join(edited)}",
                "`vacc-gen generate` leaves them as they are; --force makes them again",
            ),
        )
