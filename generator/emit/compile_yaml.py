"""The compile configs: build/hf_<family>_<precision>.yaml, and both halves of a vision model."""

from __future__ import annotations

from vacc_gen.generator.emit.emitted import EmittedFile
from vacc_gen.generator.emit.yaml_text import sections
from vacc_gen.generator.plan import CompileJob, Plan


def compile_configs(plan: Plan) -> tuple[EmittedFile, ...]:
    """Return one config for each precision that the compiler makes, and one for a vision tower."""
    return tuple(EmittedFile(job.config_path, compile_config_text(job)) for job in plan.configs)


def compile_config_text(job: CompileJob) -> str:
    """Return a config as text; it parses to exactly `job.config`."""
    return (
        f"# vamc compile {job.config_path}    (run it in the workspace: paths are relative to it)\n"
        f"# Made from vacc.yaml by `vacc-gen generate`.\n"
        f"{sections(job.config)}"
    )
