"""One target with atheris, in a process of its own: `python -m benchmarks.fuzzing.coverage_guided TARGET INPUTS`.

Atheris chooses inputs by the code that they reach. Hypothesis makes the target's input from the bytes of atheris, so
both run the same checks.
"""

import sys
from tempfile import gettempdir

import atheris

with atheris.instrument_imports(include=["tidings.access", "tidings.contract", "tidings.hub", "tidings.protocol"]):
    from benchmarks.fuzzing.targets import make_test
    from tidings.testing.manual_hub import silenced


def main() -> None:
    name, inputs = sys.argv[1], int(sys.argv[2])
    run = make_test(name, inputs).hypothesis.fuzz_one_input
    options = [f"-atheris_runs={inputs}", "-max_len=8192", "-rss_limit_mb=0", f"-artifact_prefix={gettempdir()}/"]
    atheris.Setup([sys.argv[0], *options], run)
    with silenced():
        atheris.Fuzz()


if __name__ == "__main__":
    main()
