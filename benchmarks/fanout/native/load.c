// The load generator: one thread, one epoll loop, so that it stays out of the way of what it measures.
#include "run.h"

#include <sys/resource.h>

int main(int argc, char **argv)
{
    struct options options;
    struct rlimit files;
    if (!options_read(&options, argc, argv))
        return 2;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    switch (options.mode) {
    case MODE_IDLE:
        return run_idle(&options);
    case MODE_HTTP:
        return run_http(&options);
    default:
        return run_fanout(&options);
    }
}
