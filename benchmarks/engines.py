"""The same local weights on llama.cpp servers with different settings, as a stand-in for different engines.

Takes a GGUF file and an `Engine`, serves it on loopback in a process of its own, gives its base URL. These are not different
engines: they share llama.cpp's kernels and sampler, and differ in what its settings can change (threads, key-value cache types,
flash attention, batch, prompt cache, sampler defaults, system prompt).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from verifier import local

START_TIMEOUT_S = 90.0
CACHE_TYPES = {"f16": 1, "q8_0": 8, "q4_0": 2}
"""ggml's numbers of the types that the key-value cache may have."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Settings of one server. Defaults are llama.cpp's, with one thread."""

    threads: int = 1
    slots: int = 1
    cache_type: str = "f16"
    flash_attention: int = -1
    """-1 automatic, 0 off, 1 on."""
    prompt_cache: bool = True
    context: int = 4096
    """Tokens per slot."""
    batch: int = 512
    top_k: int | None = None
    """None leaves llama.cpp's sampler default (40); 0 turns it off."""
    top_p: float | None = None
    min_p: float | None = None


@contextlib.contextmanager
def serve(gguf: Path, alias: str, engine: Engine) -> Iterator[str]:
    """Serve `gguf` with these settings on a free loopback port and give its base URL (…/v1)."""
    command = [sys.executable, "-m", "benchmarks.engines", str(gguf), alias, json.dumps(asdict(engine))]
    with local.running(command, gguf) as base_url:
        yield base_url


def _child(gguf: str, alias: str, settings: str) -> None:
    """The server process: print the address once the model answers, then live until the parent closes our standard input."""
    import xllamacpp

    engine = Engine(**json.loads(settings))
    params: Any = xllamacpp.CommonParams()
    params.model.path, params.model_alias = gguf, [alias]
    params.hostnames, params.port, params.warmup = ["127.0.0.1"], 0, False
    params.n_ctx, params.n_parallel, params.n_batch = engine.context * engine.slots, engine.slots, engine.batch
    params.n_ubatch = min(engine.batch, 512)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = engine.threads
    params.cache_type_k = params.cache_type_v = type(params.cache_type_k)(CACHE_TYPES[engine.cache_type])
    params.flash_attn_type = type(params.flash_attn_type)(engine.flash_attention)
    params.cache_prompt = engine.prompt_cache
    for name in ("top_k", "top_p", "min_p"):
        if (value := getattr(engine, name)) is not None:
            setattr(params.sampling, name, value)
    server = xllamacpp.Server(params)
    address = server.listening_address
    for _ in range(int(START_TIMEOUT_S * 10)):
        with contextlib.suppress(urllib.error.URLError, OSError):
            with urllib.request.urlopen(address + "/health", timeout=5) as reply:  # noqa: S310 - our own loopback server
                if reply.status == 200:
                    break
        time.sleep(0.1)
    print(address, flush=True)
    sys.stdin.read()
    os._exit(0)  # the native server has no stop of its own


if __name__ == "__main__":
    _child(*sys.argv[1:4])
