"""Prints what `dbt run` prints with four threads: results come in another order than the models began."""

import sys
import time

MODELS = ["stg_customers", "stg_orders", "stg_payments", "int_orders", "customers", "orders"]
# (START or result, number of the model), in the order the threads tell of them.
LINES = [
    ("START", 1),
    ("START", 2),
    ("START", 3),
    ("OK", 2),
    ("START", 4),
    ("OK", 1),
    ("ERROR", 4),
    ("OK", 3),
    ("START", 5),
    ("SKIP", 6),
    ("OK", 5),
]
RED, GREEN, YELLOW, RESET = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"


def say(text: str) -> None:
    sys.stdout.write(f"{RESET}09:15:0{int(time.monotonic()) % 10}  {text}\n")
    sys.stdout.flush()


def line(outcome: str, number: int) -> str:
    model = f"sql table model dbt_prod.{MODELS[number - 1]}"
    head = f"{number} of {len(MODELS)} "
    if outcome == "START":
        return f"{head}START {model} ".ljust(80, ".") + " [RUN]"
    if outcome == "OK":
        return f"{head}OK created {model} ".ljust(80, ".") + f" [{GREEN}SELECT 100{RESET} in 0.12s]"
    if outcome == "ERROR":
        return f"{head}ERROR creating {model} ".ljust(80, ".") + f" [{RED}ERROR{RESET} in 0.05s]"
    return f"{head}SKIP relation dbt_prod.{MODELS[number - 1]} ".ljust(80, ".") + f" [{YELLOW}SKIP{RESET}]"


say("Running with dbt=1.9.1")
say("Registered adapter: postgres=1.9.0")
say("Found 6 models, 12 data tests, 3 seeds, 4 sources, 433 macros")
say("")
say("Concurrency: 4 threads (target='prod')")
say("")
for outcome, number in LINES:
    time.sleep(0.03)
    say(line(outcome, number))
say("")
say("Finished running 6 table models in 0 hours 0 minutes and 0.47 seconds (0.47s).")
say("")
say(f"{RED}Completed with 1 error, 0 partial successes, and 0 warnings:{RESET}")
say("")
say("  Database Error in model int_orders (models/int_orders.sql)")
say("Done. PASS=4 WARN=0 ERROR=1 SKIP=1 NO-OP=0 TOTAL=6")
sys.exit(1)
