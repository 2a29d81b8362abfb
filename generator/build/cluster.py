"""Builds many workspaces at a time, as tasks of Dask on this machine or on several.

A workspace has one task at a time, which runs one stage; what that did comes back and goes into
the task of the next stage. A task whose worker dies is run again by Dask, on another worker, and
resumes as every build does. Each task reserves memory, which is a resource of the workers.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, TypeAlias, cast

from vacc_gen.generator.backends.base import BACKEND_STAGES, Stage
from vacc_gen.generator.backends.onnxruntime.session import quiet_libraries
from vacc_gen.generator.build.ledger import program_digest
from vacc_gen.generator.build.needs import stage_bytes, worker_count
from vacc_gen.generator.build.preflight import BACKENDS
from vacc_gen.generator.build.report import StageRecord
from vacc_gen.generator.build.runner import BuildOptions, Observer, run_build
from vacc_gen.generator.extras import load
from vacc_gen.generator.progress import available_bytes, size_text
from vacc_gen.generator.workspace import Workspace
from vacc_gen.schema.errors import StageError, UsageError, VaccGenError

SILENT = logging.CRITICAL + 1
RESOURCE = "MEMORY"
"""Of a worker, in bytes; so called in Dask's own examples."""
LEAVE_GROUP = (
    "import os, signal, sys; os.setpgrp(); sys.unraisablehook = lambda raised: None; "
    "signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])"
)
"""Run by a new worker: Ctrl-C on a terminal is for us, who interrupt its stage."""

Result: TypeAlias = tuple[StageRecord, ...] | VaccGenError
"""What a build, or a part of it, came to."""


@dataclass(frozen=True)
class Builds:
    """Builds of workspaces, each with an observer."""

    workspaces: Mapping[Path, Workspace]
    observers: Mapping[Path, Observer]
    backend: str
    options: BuildOptions

    def needs(self, workspace: Workspace) -> dict[Stage, int]:
        """Return the bytes of memory for each part of a build, by the stage that it ends with."""
        until, order = self.options.until, list(Stage).index
        parts = [stage for stage in BACKEND_STAGES if order(stage) < order(until)] + [until]
        chosen = self.options.precisions
        return {part: stage_bytes(part, workspace.plan, chosen, self.backend) for part in parts}

    def run(self, client: Any) -> list[Result]:
        """Build all; an interrupt ends the stages that run, wherever they do."""
        topic, largest_bytes = f"vacc-gen {client.id}", _largest_bytes(client)
        client.subscribe_topic(topic, self._hear)
        build = partial(self._build, client, topic, largest_bytes)
        with ThreadPoolExecutor(len(self.workspaces)) as pool:
            try:
                return list(pool.map(build, self.workspaces))
            except BaseException:
                client.run(_interrupt, topic)
                raise

    def _build(self, client: Any, topic: str, largest_bytes: int, root: Path) -> Result:
        """Build one, part after part; none asks for more memory than the largest worker has."""
        workspace, result = self.workspaces[root], cast(tuple[StageRecord, ...], ())
        for part, need in self.needs(workspace).items():
            is_last, resources = part is self.options.until, {RESOURCE: min(need, largest_bytes)}
            self.observers[root].start(f"waits for {size_text(need)} of memory: {part.value}")
            options = replace(
                self.options, until=part, earlier=result, is_last_part=is_last, waits=True
            )
            build = (root, workspace, self.backend, options, topic)
            try:
                result = client.submit(run_part, *build, pure=False, resources=resources).result()
            except Exception as error:  # of Dask: its worker died again and again
                return StageError(f"{type(error).__name__}: {error}")
            if isinstance(result, VaccGenError):
                break
        return result

    def _hear(self, event: tuple[float, bytes]) -> None:
        root, method, *arguments = pickle.loads(event[1])
        getattr(self.observers[root], method)(*arguments)


# --- the workers ----------------------------------------------------------------------------


@contextmanager
def local_client(builds: Builds, jobs: int | None) -> Iterator[Any]:
    """Start a scheduler and worker processes: `jobs` at most, no more than there are workspaces.

    They end with this process. TLS, with keys that are theirs alone, keeps others out.
    """
    distributed, cores, available = _distributed(), os.cpu_count() or 1, available_bytes()
    needs = [need for w in builds.workspaces.values() for need in builds.needs(w).values()]
    count = worker_count(available, min(jobs or cores, len(builds.workspaces)), needs)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // count)))
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")  # it cleans up after Ctrl-C
    resource_tracker.ensure_running()  # which would unblock the signal
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # new processes inherit it
    try:
        cluster = distributed.LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            memory_limit=0,  # Dask's own counts weights that are mapped
            resources={RESOURCE: available // count},
            security=True,
            preload=[LEAVE_GROUP],
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            silence_logs=SILENT,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    with cluster, distributed.Client(cluster, set_as_default=False) as client:
        yield client


def connected_client(address: str) -> Any:
    """Connect to a scheduler; raise UsageError where there is none."""
    distributed = _distributed()
    options = distributed.Security().get_connection_args("client")
    try:  # a client that cannot connect takes half a minute to say so
        comm = asyncio.run(distributed.comm.connect(address, timeout=5, **options))
    except (OSError, TypeError, ValueError, RuntimeError, distributed.TimeoutError) as error:
        problem = f"no Dask scheduler answers at {address}: {error}"
        raise UsageError(problem, "start one with `dask scheduler`") from error
    comm.abort()
    return distributed.Client(address, set_as_default=False)


def _distributed() -> Any:
    packages = ("distributed", "cryptography")
    distributed, _ = load("building in several processes", *packages, extra="cluster")
    logging.getLogger("distributed").setLevel(SILENT)
    return distributed


def _largest_bytes(client: Any) -> int:
    """Return the memory of the largest worker; raise UsageError where none is as we need it."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    usable = {url: worker for url, worker in workers.items() if RESOURCE in worker["resources"]}
    address = client.scheduler.address
    programs = client.run(program_digest, workers=list(usable), on_error="return")
    for url, program in programs.items():
        if program != program_digest():
            raise UsageError(f"{url} lacks this version of vacc-gen", "install it for the worker")
    if not usable or any(worker["nthreads"] > 1 for worker in usable.values()):
        raise UsageError(
            f"{address} needs workers of one thread with the resource {RESOURCE}",
            f"dask worker {address} --nthreads 1 --memory-limit 0 --resources {RESOURCE}=32e9",
        )
    return max(int(worker["resources"][RESOURCE]) for worker in usable.values())


# --- in a worker ----------------------------------------------------------------------------

_threads: dict[str, int] = {}
"""Those that run a stage in this process, by the topic of the client that wants it."""


def run_part(
    root: Path, workspace: Workspace, backend: str, options: BuildOptions, topic: str
) -> Result:
    """Run a part of a build. Errors are returned, as not all of them can be pickled."""
    from distributed import get_worker

    worker = get_worker()
    quiet_libraries()
    _threads[topic] = threading.get_ident()
    try:
        relay = cast(Observer, _Relay(root, lambda call: worker.log_event(topic, call)))
        relay.start("waits for the workspace")
        return run_build(workspace, BACKENDS[backend](), options, relay)
    except VaccGenError as error:
        kind = UsageError if error.exit_code == UsageError.exit_code else StageError
        return kind(error.message, error.hint)
    except (Exception, KeyboardInterrupt) as error:
        return StageError(f"{type(error).__name__}: {error}")
    finally:
        _threads.pop(topic, None)


class _Relay:
    """An `Observer` whose calls are made again where the build was asked for."""

    def __init__(self, root: Path, send: Callable[[bytes], None]) -> None:
        self._root, self._send = root, send

    def __getattr__(self, method: str) -> Any:
        return lambda *arguments: self._send(pickle.dumps((self._root, method, *arguments)))


async def _interrupt(topic: str) -> None:
    """End a client's stage in this process as Ctrl-C does, pressed until it is over."""
    while thread := _threads.get(topic):
        interrupt = ctypes.py_object(KeyboardInterrupt)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), interrupt)
        await asyncio.sleep(0.3)
