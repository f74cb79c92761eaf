// The measured stretch of a run: it begins after the warm-up and ends by time or by count.
#ifndef FANOUT_WINDOW_H
#define FANOUT_WINDOW_H

#include "histogram.h"
#include "options.h"
#include "process.h"

enum phase { PHASE_WARM_UP, PHASE_MEASURE, PHASE_DRAIN };

// What is counted; a window is the difference of two of these.
struct tally {
    int64_t at; // nanoseconds
    uint64_t events;     // published (fanout, conflate) or acknowledged (publish, http)
    uint64_t deliveries;
    uint64_t bytes;      // of delivered JSON
    uint64_t posts;
    double load_cpu_s;
    struct process_usage server;
};

struct window {
    enum phase phase;
    const struct options *options;
    int64_t begun_at;    // of the warm-up
    int64_t last_sign;   // the last time anything arrived
    struct tally count;  // running totals
    struct tally start;
    struct tally end;
    struct histogram latency;
    bool stalled;        // nothing arrived for quiet_ms although something was due
};

void window_begin(struct window *window, const struct options *options);

// Moves from warm-up to measuring to draining when it is time. pending says whether anything is due.
// Returns true in the call that starts the measured stretch.
bool window_advance(struct window *window, bool pending);

// Has nothing arrived for quiet_ms?
bool window_quiet(const struct window *window, int64_t now);

// Prints the fields that all modes share, without the closing brace.
void window_print(const struct window *window);

// Prints text as a JSON string.
void print_json_string(const char *text);

#endif
