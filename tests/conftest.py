import signal

# A runner in the background (`make test &` in a script, nohup) ignores the keyboard's signals, and so would every
# process that a test starts and then interrupts: what is ignored stays ignored over exec.
for _number, _default in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _default)
