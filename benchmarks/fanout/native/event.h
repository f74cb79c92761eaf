// Events of a fixed shape whose changing digits stand at known places, so that writing one is a
// copy and a few digits, and reading its number back is one look at where the last one was.
#ifndef FANOUT_EVENT_H
#define FANOUT_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// Numbers are written with ten digits, from here up: JSON allows no leading zeros.
#define EVENT_NUMBER_BASE 1000000000ULL
#define EVENT_NUMBER_DIGITS 10
#define EVENT_SIZE_MAX 2048

struct event_template {
    size_t size;
    size_t prefix;        // bytes before the JSON: a client's frame header, or none
    size_t number_at;     // the "n" that subscribers check
    size_t stamp_at;      // the publisher's monotonic clock, nanoseconds
    size_t id_at;         // 0 without an id
    size_t operation_at;  // 0 in a data event
    size_t progress_at;   // 0 in a data event
    uint64_t operations;  // progress events go round this many
    uint8_t mask[4];      // zero in an HTTP body
    uint8_t bytes[EVENT_SIZE_MAX];
};

struct event_shape {
    size_t delivered_bytes; // of JSON without the id: what a plain subscriber receives
    bool with_id;           // label it, so that a hub answers (`tidings.v1`)
    bool framed;            // as a masked WebSocket frame
    uint64_t operations;    // 0: durable data:update; else operation:progress over this many
};

// Lays the template out. Returns false if the shape does not fit.
bool event_template(struct event_template *event, const struct event_shape *shape);

// Writes one event of event->size bytes to out.
void event_write(const struct event_template *event, uint8_t *out, uint64_t index, int64_t stamp_ns);

static inline uint64_t event_pair(const uint8_t *text)
{
    return (uint64_t)(text[0] - '0') * 10 + (uint64_t)(text[1] - '0');
}

// Reads the ten digits at text, as a tree of pairs so that the multiplications overlap.
// The caller knows they are digits.
static inline uint64_t event_digits(const uint8_t *text)
{
    uint64_t high = event_pair(text) * 100 + event_pair(text + 2);
    uint64_t low = event_pair(text + 6) * 100 + event_pair(text + 8);
    return high * 1000000 + event_pair(text + 4) * 10000 + low;
}

// Finds an event's index in a delivered frame. hint remembers where the last one stood.
// Returns false if the frame is not one of our events.
static inline bool event_index(const uint8_t *payload, size_t size, size_t *hint, uint64_t *index)
{
    static const char marker[] = "\"n\":";
    const size_t width = sizeof marker - 1;
    if (*hint + width + EVENT_NUMBER_DIGITS > size || memcmp(payload + *hint, marker, width) != 0) {
        const uint8_t *found = memmem(payload, size, marker, width);
        if (found == NULL || found + width + EVENT_NUMBER_DIGITS > payload + size)
            return false;
        *hint = (size_t)(found - payload);
    }
    uint64_t number = event_digits(payload + *hint + width);
    *index = number - EVENT_NUMBER_BASE;
    return number >= EVENT_NUMBER_BASE;
}

#endif
