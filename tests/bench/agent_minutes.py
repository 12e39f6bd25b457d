"""What a running agent takes of a core: ten minutes of a real process over a made-up driver.

Owns: the agent, its collector and its driver for so long, and the lines printed.
May touch: child processes, sockets on loopback, a temporary folder; no other agent may run here.
Called by ``make agent-minutes`` (MINUTES=10). Exit 1 above 0.1 % of a core, the driver apart.

Nobody publishes what a call of NVML costs the caller's processor. The only figure found that was
measured is of how long one takes: 2,743 calls of nvmlDeviceGetPowerUsage a second on a Tesla K40m,
one after the other (gpustat issue 76, 2020), so 365 us; a part of that waits. So each call takes
10 us of the made-up driver here, which it needs itself, and the calls are counted: whoever knows
better multiplies.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.collector_cases import COLLECTOR, processor_s, served
from flopmeter_agent.sensors.nvml import NvmlSensor
from flopmeter_proto.daemon.clock import SystemClock
from support.fake_nvml import FakeDriver

DEVICES = 8
SETTLE_S = 15
CALL_US = 10
SHARE_MAXIMUM = 0.001


def held(pid: int) -> tuple[int, int, int]:
    """Resident memory in KiB, threads and open files of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    memory = int(status.split("VmRSS:")[1].split()[0])
    threads = int(status.split("Threads:")[1].split()[0])
    return memory, threads, len(os.listdir(f"/proc/{pid}/fd"))


def calls_a_sample(folder: Path) -> float:
    """How often a sample of all devices calls the driver."""
    source = Path(__file__).parents[1] / "support" / "fake_nvml" / "fake_nvml.c"
    names = set(re.findall(r"\bnvml[A-Z]\w+", source.read_text()))
    driver = FakeDriver(folder, devices=DEVICES)
    sensor = NvmlSensor("n1", SystemClock(), library_path=driver.library)
    sensor.devices()
    sensor.read()

    def called() -> int:
        return sum(driver.calls(name) for name in names)

    before, samples = called(), 5
    for _ in range(samples):
        time.sleep(0.2)
        sensor.read()
    took = called() - before
    sensor.close()
    driver.close()
    return took / samples


def main() -> int:
    """Measure and print; 1 where the budget is not kept."""
    options = argparse.ArgumentParser()
    options.add_argument("--minutes", type=float, default=10)
    seconds = options.parse_args().minutes * 60
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run").mkdir()  # where runs and a prolog would leave files
        calls = calls_a_sample(folder)
        driver = FakeDriver(folder, devices=DEVICES)
        driver.update({f"gpu{at}.gpm.{metric}": 50 for at in range(DEVICES) for metric in (2, 5)})
        driver.set("call_us", CALL_US)
        with served(COLLECTOR, str(folder / "ledger.db")) as (_, port):
            command = [sys.executable, "-m", "flopmeter", "agent", "--collector"]
            command += [f"127.0.0.1:{port}", "--state", str(folder / "state"), "--sensor", "nvml"]
            command += ["--claims-socket", str(folder / "claims.sock"), "--log-level", "error"]
            command += ["--allocations-folder", str(folder / "run")]
            agent = subprocess.Popen(command, env=driver.environment())
            try:
                time.sleep(SETTLE_S)
                began_s, before_s, first = time.monotonic(), processor_s(agent.pid), held(agent.pid)
                second = 0
                while time.monotonic() < began_s + seconds:
                    second += 1
                    energy: dict[str, object] = {
                        f"gpu{at}.energy_mj": second * 500_000 for at in range(DEVICES)
                    }
                    driver.update(energy)
                    time.sleep(max(0.0, began_s + second - time.monotonic()))
                took_s = time.monotonic() - began_s
                used_s, last = processor_s(agent.pid) - before_s, held(agent.pid)
            finally:
                agent.terminate()
                agent.wait(30)
        driver.close()
    driver_s = calls * CALL_US * 1e-6 * took_s
    share = used_s / took_s
    own = (used_s - driver_s) / took_s
    print(
        f"{took_s:.0f} s at 1 Hz x {DEVICES} devices: {used_s:.2f} s of processor time, "
        f"{share:.3%} of a core; {calls:.0f} driver calls a sample at {CALL_US} us are "
        f"{driver_s / took_s:.3%} of it, the agent itself {own:.3%}"
    )
    print(
        f"memory {first[0]} KiB, then {last[0]}; threads {first[1]}, then {last[1]}; files "
        f"{first[2]}, then {last[2]}"
    )
    return 0 if own <= SHARE_MAXIMUM else 1


if __name__ == "__main__":
    sys.exit(main())
