// WebSocket framing and the opening handshake (RFC 6455 sections 4.2.2 and 5.2).
#ifndef FANOUT_WIRE_H
#define FANOUT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum opcode { OPCODE_CONTINUATION = 0, OPCODE_TEXT = 1, OPCODE_CLOSE = 8, OPCODE_PING = 9, OPCODE_PONG = 10 };

#define FRAME_HEADER_MAX 14
#define ACCEPT_KEY_SIZE 28 // base64 of a SHA-1 digest, without a terminating zero

struct frame {
    uint8_t opcode;
    bool masked;
    size_t header;   // bytes before the payload, the mask included
    uint64_t length; // bytes of payload
};

// Reads one frame header. Returns false while it is incomplete.
static inline bool frame_parse(const uint8_t *at, size_t available, struct frame *frame)
{
    if (available < 2)
        return false;
    frame->opcode = at[0] & 0x0f;
    frame->masked = (at[1] & 0x80) != 0;
    frame->length = at[1] & 0x7f;
    frame->header = 2;
    if (frame->length == 126) {
        if (available < 4)
            return false;
        frame->length = (uint64_t)at[2] << 8 | at[3];
        frame->header = 4;
    } else if (frame->length == 127) {
        if (available < 10)
            return false;
        frame->length = 0;
        for (int i = 2; i < 10; i++)
            frame->length = frame->length << 8 | at[i];
        frame->header = 10;
    }
    if (frame->masked)
        frame->header += 4;
    return available >= frame->header;
}

// Writes the header of an unfragmented frame; mask is NULL for a server's frame.
// Returns its size, at most FRAME_HEADER_MAX.
size_t frame_header(uint8_t *out, enum opcode opcode, uint64_t length, const uint8_t mask[4]);

// XORs bytes with the mask, starting at the mask's first byte.
void frame_mask(uint8_t *bytes, size_t size, const uint8_t mask[4]);

// Writes the Sec-WebSocket-Accept value for a Sec-WebSocket-Key.
void accept_key(const char *key, size_t key_size, char out[ACCEPT_KEY_SIZE]);

#endif
