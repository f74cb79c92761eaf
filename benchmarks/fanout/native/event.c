#include "event.h"

#include "wire.h"

#include <stdio.h>

#define STAMP_WIDTH 18

static const char TRACE_ID[] = "4bf92f3577b34da6a3ce929d0e0e4736";
static const uint8_t MASK[4] = {0x9d, 0x3c, 0x51, 0xe6};

// Patches a right-aligned number of fixed width, masked as the template is.
static void write_number(const struct event_template *event, uint8_t *out, size_t at, int width, uint64_t number,
                         uint8_t fill)
{
    for (int i = width - 1; i >= 0; i--) {
        uint8_t digit = number > 0 || i == width - 1 ? (uint8_t)('0' + number % 10) : fill;
        size_t place = at + (size_t)i;
        out[place] = digit ^ event->mask[(place - event->prefix) & 3];
        number /= 10;
    }
}

static int lay_out_data(char *text, size_t room, size_t padding, const char *id)
{
    return snprintf(text, room,
                    "{\"type\":\"data:update\",\"timestamp\":\"2025-07-30T12:00:00Z\",\"trace_id\":\"%s\",\"data\":{"
                    "\"dataset\":\"bench\",\"metadata\":{\"n\":%llu,\"t\":%*d,\"pad\":\"%.*s\"}},"
                    "\"channel\":\"data\"%s}",
                    TRACE_ID, EVENT_NUMBER_BASE, STAMP_WIDTH, 0, (int)padding,
                    "................................................................................................"
                    "................................................................................................"
                    "................................................................................................"
                    "................................................................................................",
                    id);
}

static int lay_out_progress(char *text, size_t room, const char *id)
{
    return snprintf(text, room,
                    "{\"type\":\"operation:progress\",\"timestamp\":\"2025-07-30T12:00:00Z\",\"trace_id\":\"%s\","
                    "\"data\":{\"operation_id\":\"bench-00000\",\"progress\":10.00,\"current_step\":\"reading\","
                    "\"total_steps\":3,\"n\":%llu,\"t\":%*d},\"channel\":\"operations\"%s}",
                    TRACE_ID, EVENT_NUMBER_BASE, STAMP_WIDTH, 0, id);
}

static size_t place_of(const struct event_template *event, const char *name)
{
    const uint8_t *found = memmem(event->bytes, event->size, name, strlen(name));
    return found == NULL ? 0 : (size_t)(found - event->bytes) + strlen(name);
}

bool event_template(struct event_template *event, const struct event_shape *shape)
{
    char text[EVENT_SIZE_MAX - FRAME_HEADER_MAX], id[32] = "";
    *event = (struct event_template){.operations = shape->operations};
    if (shape->with_id)
        snprintf(id, sizeof id, ",\"id\":\"%llu\"", EVENT_NUMBER_BASE);
    int size = shape->operations > 0 ? lay_out_progress(text, sizeof text, id) : lay_out_data(text, sizeof text, 0, id);
    if (shape->operations == 0) {
        size_t bare = (size_t)size - strlen(id);
        if (shape->delivered_bytes < bare || shape->delivered_bytes > bare + 380)
            return false;
        size = lay_out_data(text, sizeof text, shape->delivered_bytes - bare, id);
    }
    if (shape->framed) {
        memcpy(event->mask, MASK, sizeof MASK);
        event->prefix = frame_header(event->bytes, OPCODE_TEXT, (uint64_t)size, MASK);
    }
    memcpy(event->bytes + event->prefix, text, (size_t)size);
    event->size = event->prefix + (size_t)size;
    event->number_at = place_of(event, "\"n\":");
    event->stamp_at = place_of(event, "\"t\":");
    event->id_at = place_of(event, "\"id\":\"");
    event->operation_at = place_of(event, "\"operation_id\":\"bench-");
    event->progress_at = place_of(event, "\"progress\":");
    frame_mask(event->bytes + event->prefix, (size_t)size, event->mask);
    return true;
}

void event_write(const struct event_template *event, uint8_t *out, uint64_t index, int64_t stamp_ns)
{
    uint64_t number = EVENT_NUMBER_BASE + index;
    memcpy(out, event->bytes, event->size);
    write_number(event, out, event->number_at, EVENT_NUMBER_DIGITS, number, '0');
    write_number(event, out, event->stamp_at, STAMP_WIDTH, (uint64_t)stamp_ns, ' ');
    if (event->id_at > 0)
        write_number(event, out, event->id_at, EVENT_NUMBER_DIGITS, number, '0');
    if (event->operations > 0) {
        // From 10.00 to 99.99 in steps of a hundredth, so that the width never changes.
        uint64_t hundredths = 1000 + index / event->operations % 9000;
        write_number(event, out, event->operation_at, 5, index % event->operations, '0');
        write_number(event, out, event->progress_at, 2, hundredths / 100, '0');
        write_number(event, out, event->progress_at + 3, 2, hundredths % 100, '0');
    }
}
