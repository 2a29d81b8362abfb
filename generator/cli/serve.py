"""`vacc-gen serve`: the API of the cards' server, from a model on this machine."""

from __future__ import annotations

import os
import signal
import socket
from types import FrameType
from typing import Annotated

import typer
from typer import Option

from vacc_gen.generator.cli.options import CompiledFolder, OnePrecision, Threads


def serve(
    folder: CompiledFolder,
    host: Annotated[str, Option(metavar="HOST", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[
        int, Option(metavar="N", min=0, max=65535, help="0 for any that is free.")
    ] = 9000,
    precision: OnePrecision = None,
    threads: Threads = None,
    api_key: Annotated[
        str | None,
        Option(
            metavar="KEY", envvar="VACC_GEN_API_KEY", help="What clients must send, if anything."
        ),
    ] = None,
    max_waiting: Annotated[
        int, Option(metavar="N", min=0, help="Requests that may wait for their turn.")
    ] = 64,
) -> None:
    """A stand-in for `vastgenx serve`, to write and test clients without a card.

    Answers one request at a time, in the order they came.

    Example: vacc-gen serve falcon-7b-instruct --precision int8
    """
    from vacc_gen.generator.extras import load

    load("serving", "fastapi", "uvicorn", extra="serve")
    import uvicorn

    from vacc_gen.generator.backends.onnxruntime.deployment import find_deployed
    from vacc_gen.generator.backends.onnxruntime.runtime import open_model
    from vacc_gen.generator.serve import Api, make_app
    from vacc_gen.generator.terminal import signals_to
    from vacc_gen.schema.errors import UsageError

    deployed = find_deployed(folder, precision)
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]
        raise UsageError(
            f"cannot listen on {host}, port {port}: {reason}", "--port 0 takes any that is free"
        ) from error
    # asyncio does this for sockets of its own making: without it each answer waits for 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with listener:
        api = Api(deployed, open_model(deployed, threads), api_key, max_waiting)

        class Server(uvicorn.Server):
            def handle_exit(self, sig: int, frame: FrameType | None) -> None:
                if api.is_stopping:  # the second time; a long prompt would have to end first
                    os._exit(128 + sig)
                api.is_stopping = True
                super().handle_exit(sig, frame)

        config = uvicorn.Config(make_app(api), log_level="warning", timeout_graceful_shutdown=1)
        url = f"http://{host}:{listener.getsockname()[1]}/v1"
        typer.echo(f"{api.name}, {api.format.description}\n{url}, Ctrl-C stops it", err=True)
        with (
            # uvicorn raises a signal again that it has handled.
            signals_to(lambda *_: None, signal.SIGINT, signal.SIGTERM),
            signals_to(lambda *_: signal.raise_signal(signal.SIGTERM), signal.SIGHUP),
        ):
            Server(config).run(sockets=[listener])
        typer.echo("stopped", err=True)
