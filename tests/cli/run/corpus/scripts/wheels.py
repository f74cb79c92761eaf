"""Writes three wheels of noise."""

import os
import zipfile

for name, size in (("alpha", 3_000_000), ("beta", 40_000), ("gamma", 2_400_000)):
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(f"{name}-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}/noise.bin", os.urandom(size))
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: demo\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
