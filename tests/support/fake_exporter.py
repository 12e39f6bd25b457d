"""A dcgm-exporter that shows what a test tells it to, in both generations of names.

Owns: pages of made-up devices, and a web server that can also misbehave.
May touch: one port of 127.0.0.1 while it serves.
Called by tests of sensor ``dcgm``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OLD = {
    "tensor": ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "Ratio of cycles the tensor pipe is active.", 1),
    "hmma": ("DCGM_FI_PROF_PIPE_TENSOR_HMMA_ACTIVE", "Ratio of cycles.", 1),
    "imma": ("DCGM_FI_PROF_PIPE_TENSOR_IMMA_ACTIVE", "Ratio of cycles.", 1),
    "sm": ("DCGM_FI_PROF_SM_ACTIVE", "The ratio of cycles an SM has a warp (in %).", 1),
    "engine": ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "Ratio of time the engine is active.", 1),
    "busy": ("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %).", 100),
    "clock_mhz": ("DCGM_FI_DEV_SM_CLOCK", "SM clock frequency (in MHz).", 1),
    "max_clock_mhz": ("DCGM_FI_DEV_MAX_SM_CLOCK", "Maximum SM clock (in MHz).", 1),
    "power_w": ("DCGM_FI_DEV_POWER_USAGE", "Power draw (in W).", 1),
    "energy_j": ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "Energy since boot (in mJ).", 1_000),
    "temperature": ("DCGM_FI_DEV_GPU_TEMP", "GPU temperature (in C).", 1),
}
"""What is shown -> (name, help text, factor to the unit of that generation)."""

NEW = {
    "tensor": ("DCGM_FI_PROF_TENSOR_UTIL_RATIO", "Tensor pipe utilization.", 1),
    "hmma": ("DCGM_FI_PROF_HMMA_UTIL_RATIO", "HMMA utilization.", 1),
    "imma": ("DCGM_FI_PROF_IMMA_UTIL_RATIO", "IMMA utilization.", 1),
    "sm": ("DCGM_FI_PROF_SM_UTIL_RATIO", "SM utilization.", 1),
    "engine": ("DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO", "Engine utilization.", 1),
    "busy": ("DCGM_FI_DEV_GPU_UTIL_RATIO", "GPU utilization ratio.", 1),
    "clock_mhz": ("DCGM_FI_DEV_SM_CLOCK_HERTZ", "SM clock in hertz.", 1_000_000),
    "max_clock_mhz": ("DCGM_FI_DEV_SM_MAX_CLOCK_HERTZ", "Maximum SM clock.", 1_000_000),
    "power_w": ("DCGM_FI_DEV_BOARD_POWER_WATTS", "Board power.", 1),
    "energy_j": ("DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL", "Energy in joules.", 1),
    "temperature": ("DCGM_FI_DEV_GPU_TEMP_CELSIUS", "GPU temperature.", 1),
}


def uuid_of(place: int) -> str:
    """The UUID of a made-up device."""
    return f"GPU-00000000-0000-0000-0000-{place:012x}"


def page(
    devices: Iterable[dict[str, object]],
    names: dict[str, tuple[str, str, int]] = OLD,
    *,
    stamp_ms: int | None = None,
    labels: str = "",
) -> str:
    """An exposition.

    Args:
        devices: what is shown of each; a text is written as it is, a number in the generation's
            unit; the key ``labels`` adds labels.
        names: `OLD` or `NEW`.
        stamp_ms: a time stamp on each line.
        labels: labels added to each line.
    """
    lines = []
    for shown, (name, told, factor) in names.items():
        lines += [f"# HELP {name} {told}", f"# TYPE {name} gauge"]
        for place, device in enumerate(devices := list(devices)):
            if shown not in device:
                continue
            stated = device[shown]
            written = stated if isinstance(stated, str) else repr(stated * factor)  # type: ignore[operator]
            uuid = device.get("uuid", uuid_of(place))
            more = f"{device.get('labels', '')}{labels}"
            lines.append(
                f'{name}{{gpu="{place}",UUID="{uuid}",pci_bus_id="00000000:{place + 16:02X}:00.0",'
                f'modelName="NVIDIA H100",DCGM_FI_DRIVER_VERSION="580.1"{more}}} {written}'
                + (f" {stamp_ms}" if stamp_ms is not None else "")
            )
    return "\n".join(lines) + "\n"


class FakeExporter:
    """Serves `text`, or whatever `behave` does instead, until it is closed."""

    def __init__(self) -> None:
        """Serve an empty page on a free port."""
        self.text = ""
        self.behave: Callable[[BaseHTTPRequestHandler], None] | None = None
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if exporter.behave is not None:
                    exporter.behave(self)
                    return
                body = exporter.text.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._thread = threading.Thread(
            target=lambda: self._server.serve_forever(0.02), name="fake-exporter", daemon=True
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/metrics"

    def close(self) -> None:
        """Stop serving; what misbehaves in a thread of its own is left to end by itself."""
        self._server.shutdown()
        self._thread.join()
        self._server.socket.close()
