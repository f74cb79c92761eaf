#include "process.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static double ticks_to_seconds(unsigned long long ticks)
{
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static double process_cpu(int pid)
{
    char path[64], line[2048];
    unsigned long long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    // The command may hold spaces and parentheses: the fields are counted from its last one.
    char *after = fgets(line, sizeof line, file) != NULL ? strrchr(line, ')') : NULL;
    if (after != NULL)
        sscanf(after, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system);
    fclose(file);
    return ticks_to_seconds(user + system);
}

static double core_busy(int core)
{
    char wanted[16], name[16], line[512];
    unsigned long long user, nice, system, idle, wait, hard, soft, busy = 0;
    snprintf(wanted, sizeof wanted, "cpu%d", core);
    FILE *file = fopen("/proc/stat", "r");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "%15s %llu %llu %llu %llu %llu %llu %llu", name, &user, &nice, &system, &idle, &wait, &hard,
                   &soft) == 8 &&
            strcmp(name, wanted) == 0)
            busy = user + nice + system + hard + soft;
    fclose(file);
    return ticks_to_seconds(busy);
}

static long resident(int pid)
{
    char path[64], line[256];
    long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL && sscanf(line, "Rss: %ld kB", &kib) != 1)
        ;
    fclose(file);
    return kib;
}

struct process_usage process_usage(int pid, int core)
{
    return (struct process_usage){
        .cpu_s = pid > 0 ? process_cpu(pid) : 0,
        .core_busy_s = core >= 0 ? core_busy(core) : 0,
        .resident_kib = pid > 0 ? resident(pid) : 0,
    };
}
