// The account of one run: which events were published, who has received each, and what went wrong.
#ifndef FANOUT_DELIVERIES_H
#define FANOUT_DELIVERIES_H

#include "event.h"
#include "link.h"
#include "window.h"

// Events that can be on their way at once; a power of two. In an open loop against a server that
// falls behind, publishing waits at this many (their latency still counts from when they were due).
#define RING ((uint64_t)1 << 18)

struct deliveries {
    const struct options *options;
    struct window *window;
    struct link *subscribers;
    struct link *publisher;
    uint64_t published;      // the next event index
    uint64_t settled;        // events that every subscriber has received (or is known to lack)
    uint64_t acknowledged;
    uint64_t next_reply;     // the next index that a reply should name
    uint64_t window_first;   // the first event whose latency counts
    uint64_t missing;        // deliveries that never came
    uint64_t late;           // deliveries that came twice or after a later one
    uint64_t replies_missing;
    uint64_t refused;        // commands answered with an error
    uint64_t other_frames;   // pushes that are not our events
    size_t number_hint;
    size_t reply_hint;
    int64_t *sent;           // ring: when an event was published, or was due
    uint32_t *receipts;      // ring: subscribers that have it
};

bool deliveries_begin(struct deliveries *deliveries, const struct options *options, struct window *window);

// Notes that the event of index deliveries->published goes out.
void deliveries_publish(struct deliveries *deliveries, int64_t stamp_ns);

// The frame_handler of a run whose client's context is a struct deliveries.
frame_handler deliveries_frame;

// How many events are on their way, by what this kind of run waits for.
uint64_t deliveries_in_flight(const struct deliveries *deliveries);

// Is everything in that is still expected?
bool deliveries_complete(const struct deliveries *deliveries);

// Counts what has not come by the end of the run.
void deliveries_close(struct deliveries *deliveries);

#endif
