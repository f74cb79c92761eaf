// What the load generator was asked to do.
#ifndef FANOUT_OPTIONS_H
#define FANOUT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum mode { MODE_FANOUT, MODE_PUBLISH, MODE_CONFLATE, MODE_IDLE, MODE_HTTP };

struct options {
    enum mode mode;
    const char *mode_name;
    const char *host;
    int port;
    int subscribers;
    int stalled;             // further subscribers that never read
    const char *path;        // of the subscribers, or of the posts
    const char *publisher_path;
    bool commands;           // publish by `tidings.v1` commands with ids, and check the replies
    bool greeted;            // wait for connection:established on each connection
    int in_flight;           // closed loop, unless there is a rate
    double rate;             // events per second, open loop
    uint64_t events;         // ends the measured window, 0: only time does
    double seconds;          // of the measured window
    double warm_up;          // seconds before it
    int quiet_ms;            // after this time without a delivery, nothing more will come
    int event_bytes;
    int operations;          // conflate: progress cycles over this many
    int connections;         // http: at once
    int batch;               // http: events per post; 1 posts a bare object
    int server_pid;
    int server_core;
};

// Reads the command line. Returns false after explaining on stderr.
bool options_read(struct options *options, int argc, char **argv);

#endif
