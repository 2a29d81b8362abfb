"""Builds many workspaces at a time, as tasks of Dask on this machine or on several.

A task runs one stage of one workspace, after the task of the stage before. If its worker dies,
Dask runs it again on another one, where it resumes as every build does. Each task reserves memory,
which is a resource of the workers.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, cast

from vacc_gen.generator.backends.base import BACKEND_STAGES, Stage
from vacc_gen.generator.build.ledger import program_digest
from vacc_gen.generator.build.preflight import BACKENDS, stage_bytes
from vacc_gen.generator.build.report import Observer, StageRecord
from vacc_gen.generator.build.runner import BuildOptions, run_build
from vacc_gen.generator.extras import load, quiet_libraries
from vacc_gen.generator.progress import available_bytes, size_text
from vacc_gen.generator.workspace import Workspace
from vacc_gen.schema.errors import StageError, UsageError, VaccGenError

SILENT = logging.CRITICAL + 1
RESOURCE = "MEMORY"
"""Of a worker, in bytes; so called in Dask's own examples."""
LEAVE_GROUP = "import os, sys; os.setpgrp(); sys.unraisablehook = lambda raised: None"
"""Run by a new worker: Ctrl-C on a terminal is for us, who interrupt its stage."""
CONNECT_S = 5
AGAIN_S = 0.8


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

    def run(self, client: Any) -> list[tuple[StageRecord, ...] | VaccGenError]:
        """Build all; an interrupt ends the stages that run, wherever they do."""
        topic, largest_bytes = f"vacc-gen {client.id}", _largest_bytes(client)
        client.subscribe_topic(topic, self._hear)
        tasks = [self._submit(root, client, topic, largest_bytes) for root in self.workspaces]
        try:
            return [_result_of(of_one[-1]) for of_one in tasks]
        except BaseException:
            client.cancel([task for of_one in tasks for task in of_one])
            client.run(_interrupt, topic)
            raise

    def _submit(self, root: Path, client: Any, topic: str, largest_bytes: int) -> list[Any]:
        """Submit the parts of a build, none of which asks for more than the largest worker has."""
        workspace, tasks = self.workspaces[root], list[Any]()
        parts = self.needs(workspace).items()
        labels = [f"waits for {size_text(need)} of memory: {part.value}" for part, need in parts]
        self.observers[root].start(labels[0])
        for (part, need), next_label in zip(parts, [*labels[1:], None], strict=True):
            options = replace(self.options, part=part)
            build = (root, workspace, self.backend, options, topic, next_label)
            resources = {RESOURCE: min(need, largest_bytes)}
            earlier = tasks[-1] if tasks else ()
            tasks.append(client.submit(run_part, earlier, *build, pure=False, resources=resources))
        return tasks

    def _hear(self, event: tuple[float, bytes]) -> None:
        root, method, *arguments = pickle.loads(event[1])
        getattr(self.observers[root], method)(*arguments)


def _result_of(task: Any) -> tuple[StageRecord, ...] | VaccGenError:
    try:
        return cast(tuple[StageRecord, ...], task.result())
    except VaccGenError as error:
        return error
    except Exception as error:  # of Dask: its worker died again and again
        return StageError(f"{type(error).__name__}: {error}")


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


def worker_count(available_bytes: int, jobs: int, needs: Sequence[int]) -> int:
    """Return how many of `jobs` can share a machine: an equal part holds the largest of `needs`."""
    return max(1, min(jobs, available_bytes // max(needs)))


def connected_client(address: str) -> Any:
    """Connect to a scheduler; raise UsageError where there is none."""
    distributed = _distributed()
    try:
        return distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
    except Exception as error:
        problem = f"no Dask scheduler answers at {address}: {error}"
        raise UsageError(problem, "start one with `dask scheduler`") from error


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
    earlier: tuple[StageRecord, ...],
    root: Path,
    workspace: Workspace,
    backend: str,
    options: BuildOptions,
    topic: str,
    next_label: str | None,
) -> tuple[StageRecord, ...]:
    """Run a part of a build. Raises errors that can be pickled, as not all can."""
    from distributed import get_worker

    worker = get_worker()
    quiet_libraries()
    _threads[topic] = threading.get_ident()
    try:
        relay = cast(Observer, _Relay(root, lambda call: worker.log_event(topic, call)))
        relay.start("waits for the workspace")
        options = replace(options, earlier=earlier)
        records = run_build(workspace, BACKENDS[backend](), options, relay)
        if next_label is not None:
            relay.start(next_label)
        return records
    except VaccGenError as error:
        kind = UsageError if error.exit_code == UsageError.exit_code else StageError
        raise kind(error.message, error.hint) from None
    except (Exception, KeyboardInterrupt) as error:
        raise StageError(f"{type(error).__name__}: {error}") from None
    finally:
        _threads.pop(topic, None)


class _Relay:
    """An `Observer` whose calls are made again where the build was asked for."""

    def __init__(self, root: Path, send: Callable[[bytes], None]) -> None:
        self._root, self._send = root, send

    def __getattr__(self, method: str) -> Any:
        return lambda *arguments: self._send(pickle.dumps((self._root, method, *arguments)))


async def _interrupt(topic: str) -> None:
    """End a client's stage in this process as Ctrl-C does, pressed again where it goes on."""
    due = 0.0
    while thread := _threads.get(topic):
        if time.monotonic() >= due:
            interrupt = ctypes.py_object(KeyboardInterrupt)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), interrupt)
            due = time.monotonic() + AGAIN_S  # a compiler ends, and a report is written
        await asyncio.sleep(0.02)
