"""Prints what `apt install` prints on a terminal of 24 rows: lists, the database, and the bar on the bottom row."""

import sys
import time


def write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
    time.sleep(0.03)


for what in ("Reading package lists", "Building dependency tree", "Reading state information"):
    for share in (0, 50, 100):
        write(f"\r{what}... {share}%")
    write(f"\r{what}... Done\n")
write("The following NEW packages will be installed:\n  alpha beta\n0 upgraded, 6 newly installed, 0 to remove.\n")
write("Need to get 0 B/1,234 kB of archives.\n")
write("\n\x1b7\x1b[0;23r\x1b8\x1b[1A")
for share in range(0, 101, 5):
    write(f"(Reading database ... {share}%\r")
write("(Reading database ... 12345 files and directories currently installed.)\n")
names = ["alpha", "beta", "gamma", "delta", "eps", "zeta"]
steps = 4 * len(names)
done = 0
for verb in ("Preparing to unpack", "Unpacking", "Setting up", "Processing triggers for"):
    for name in names:
        share = 100 * done // steps
        bar = "#" * (share * 56 // 100)
        write(f"\x1b7\x1b[24;0f\x1b[42m\x1b[30mProgress: [{share:3d}%]\x1b[49m\x1b[39m [{bar:.<56}] \x1b8")
        write(f"{verb} {name} (1.0-1) ...\n")
        done += 1
write("\x1b7\x1b[24;0f\x1b[42m\x1b[30mProgress: [100%]\x1b[49m\x1b[39m [" + "#" * 56 + "] \x1b8")
write("\x1b7\x1b[0;24r\x1b8\x1b[1A\x1b[J")
