#include "deliveries.h"

#include <stdlib.h>

bool deliveries_begin(struct deliveries *deliveries, const struct options *options, struct window *window)
{
    *deliveries = (struct deliveries){.options = options,
                                      .window = window,
                                      .subscribers = calloc((size_t)options->subscribers + 1, sizeof(struct link)),
                                      .publisher = calloc(1, sizeof(struct link)),
                                      .sent = calloc(RING, sizeof(int64_t)),
                                      .receipts = calloc(RING, sizeof(uint32_t))};
    if (deliveries->subscribers == NULL || deliveries->publisher == NULL || deliveries->sent == NULL ||
        deliveries->receipts == NULL)
        return false;
    for (int i = 0; options->mode == MODE_CONFLATE && i < options->subscribers; i++) {
        deliveries->subscribers[i].latest = calloc((size_t)options->operations, sizeof(uint64_t));
        if (deliveries->subscribers[i].latest == NULL)
            return false;
    }
    return true;
}

void deliveries_publish(struct deliveries *deliveries, int64_t stamp_ns)
{
    uint64_t slot = deliveries->published++ % RING;
    deliveries->sent[slot] = stamp_ns;
    deliveries->receipts[slot] = 0;
    if (deliveries->options->mode != MODE_PUBLISH)
        deliveries->window->count.events++;
}

static void record_latency(struct deliveries *deliveries, uint64_t index, int64_t now)
{
    // Nothing is published once draining: what still comes then belongs to the window.
    if (deliveries->window->phase != PHASE_WARM_UP && index >= deliveries->window_first)
        histogram_add(&deliveries->window->latency, now - deliveries->sent[index % RING]);
}

static void settle(struct deliveries *deliveries, uint64_t index)
{
    if (++deliveries->receipts[index % RING] == (uint32_t)deliveries->options->subscribers)
        deliveries->settled++;
}

static void receive_in_sequence(struct deliveries *deliveries, struct link *link, uint64_t index, int64_t now)
{
    if (__builtin_expect(index < link->expected, 0)) {
        deliveries->late++;
        return;
    }
    for (; link->expected < index; link->expected++) {
        // What was skipped may no longer be waited for, or a closed loop would stand still.
        deliveries->missing++;
        settle(deliveries, link->expected);
    }
    link->expected = index + 1;
    settle(deliveries, index);
    record_latency(deliveries, index, now);
}

static void receive_conflated(struct deliveries *deliveries, struct link *link, uint64_t index, int64_t now)
{
    uint64_t *latest = &link->latest[index % (uint64_t)deliveries->options->operations];
    if (index < *latest) {
        deliveries->late++;
        return;
    }
    *latest = index + 1;
    record_latency(deliveries, index, now);
}

static bool is_type(const uint8_t *payload, size_t size, const char *type)
{
    // The type is the first member of every envelope.
    const uint8_t *found = memmem(payload, size < 64 ? size : 64, type, strlen(type));
    return found != NULL;
}

static void note_other(struct client *client, struct deliveries *deliveries, const uint8_t *payload, size_t size)
{
    deliveries->other_frames++;
    if (is_type(payload, size, "connection:error") || is_type(payload, size, "connection:closed") ||
        is_type(payload, size, "channel:gap")) {
        deliveries->refused++;
        client_complain(client, "told by the server", payload, size < 400 ? size : 400);
    }
}

static void receive_reply(struct client *client, struct deliveries *deliveries, const uint8_t *payload, size_t size,
                          int64_t now)
{
    static const char marker[] = "\"reply_to\":\"";
    const size_t width = sizeof marker - 1;
    size_t at = deliveries->reply_hint;
    if (!is_type(payload, size, "event:accepted")) {
        note_other(client, deliveries, payload, size);
        return;
    }
    if (at + width + EVENT_NUMBER_DIGITS > size || memcmp(payload + at, marker, width) != 0) {
        const uint8_t *found = memmem(payload, size, marker, width);
        if (found == NULL || found + width + EVENT_NUMBER_DIGITS > payload + size) {
            note_other(client, deliveries, payload, size);
            return;
        }
        deliveries->reply_hint = at = (size_t)(found - payload);
    }
    uint64_t index = event_digits(payload + at + width) - EVENT_NUMBER_BASE;
    if (index != deliveries->next_reply || index >= deliveries->published) {
        deliveries->replies_missing++;
        client_complain(client, "a reply out of order", payload, size < 400 ? size : 400);
    }
    deliveries->next_reply = index + 1;
    deliveries->acknowledged++;
    deliveries->window->last_sign = now;
    if (deliveries->options->mode == MODE_PUBLISH) {
        deliveries->window->count.events++;
        record_latency(deliveries, index % deliveries->published, now);
    }
}

void deliveries_frame(struct client *client, struct link *link, const uint8_t *payload, size_t size, int64_t now)
{
    struct deliveries *deliveries = client->context;
    uint64_t index;
    if (link == deliveries->publisher) {
        receive_reply(client, deliveries, payload, size, now);
        return;
    }
    if (!event_index(payload, size, &deliveries->number_hint, &index) || index >= deliveries->published) {
        note_other(client, deliveries, payload, size);
        return;
    }
    deliveries->window->count.deliveries++;
    deliveries->window->count.bytes += size;
    deliveries->window->last_sign = now;
    if (link->latest != NULL)
        receive_conflated(deliveries, link, index, now);
    else
        receive_in_sequence(deliveries, link, index, now);
}

uint64_t deliveries_in_flight(const struct deliveries *deliveries)
{
    switch (deliveries->options->mode) {
    case MODE_PUBLISH:
        return deliveries->published - deliveries->acknowledged;
    case MODE_CONFLATE:
        return 0; // what is superseded never arrives
    default:
        return deliveries->published - deliveries->settled;
    }
}

// Counts the operations whose newest event a subscriber lacks.
static uint64_t stale(const struct deliveries *deliveries)
{
    uint64_t count = 0, operations = (uint64_t)deliveries->options->operations;
    for (int i = 0; i < deliveries->options->subscribers; i++)
        for (uint64_t back = 1; back <= operations && back <= deliveries->published; back++) {
            uint64_t newest = deliveries->published - back;
            count += deliveries->subscribers[i].latest[newest % operations] != newest + 1;
        }
    return count;
}

bool deliveries_complete(const struct deliveries *deliveries)
{
    const struct options *options = deliveries->options;
    if (options->commands && deliveries->acknowledged < deliveries->published)
        return false;
    if (options->mode == MODE_CONFLATE)
        return stale(deliveries) == 0;
    return options->subscribers == 0 || deliveries->settled == deliveries->published;
}

void deliveries_close(struct deliveries *deliveries)
{
    if (deliveries->options->mode == MODE_CONFLATE) {
        deliveries->missing += stale(deliveries);
    } else {
        for (int i = 0; i < deliveries->options->subscribers; i++)
            deliveries->missing += deliveries->published - deliveries->subscribers[i].expected;
    }
    if (deliveries->options->commands)
        deliveries->replies_missing += deliveries->published - deliveries->acknowledged;
}
