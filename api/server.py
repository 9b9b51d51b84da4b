"""Runs the application under uvicorn, with worker processes beside it, until SIGTERM or SIGINT; then ends everything in order.

Told to stop, it takes no connection more, ends event streams (their readers come back with Last-Event-ID), lets requests finish, and has
every audit under way handed back to the queue.
"""

from __future__ import annotations

import signal
from types import FrameType

import uvicorn

from api.app import create_app
from api.processes import Workers
from verifier.service.settings import ServiceSettings

REQUESTS_END_S = 5
"""Seconds that open requests have to end once the service is told to stop."""


def serve(settings: ServiceSettings, host: str, port: int, workers: int | None) -> bool:
    """Serve until told to stop; False where it could not start. `workers` None: this process works itself where the queue is its own."""
    app = create_app(settings, works=settings.embedded and workers is None)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        # Our own log lines name routes; uvicorn's would hold paths and queries.
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=REQUESTS_END_S,
    )
    beside = Workers(workers or 0)

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """At once, and not after the last request: streams would keep the server waiting, and workers have audits to hand back."""
            if (service := getattr(app.state, "service", None)) is not None:
                service.closing.set()
            beside.ask_to_stop()
            super().handle_exit(sig, frame)

    server = Server(config)

    def stop(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn handles both while it runs. Before, they must not be lost; afterwards it raises them again, which would end us before the
        # workers have ended.
        signal.signal(number, stop)
    with beside:
        server.run()
    return server.started
