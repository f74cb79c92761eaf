// What the kernel's accounts say about the server under test.
#ifndef FANOUT_PROCESS_H
#define FANOUT_PROCESS_H

struct process_usage {
    double cpu_s;       // user + system, all threads, from /proc/PID/stat
    double core_busy_s; // everything its core did, interrupts included, from /proc/stat
    long resident_kib;  // Rss of /proc/PID/smaps_rollup
};

// Reads the accounts of pid (zeros if pid is 0 or has ended) and of its core (none if negative).
struct process_usage process_usage(int pid, int core);

#endif
