#include "wire.h"

static const char ACCEPT_GUID[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

size_t frame_header(uint8_t *out, enum opcode opcode, uint64_t length, const uint8_t mask[4])
{
    size_t size = 2;
    uint8_t mask_bit = mask != NULL ? 0x80 : 0;
    out[0] = 0x80 | (uint8_t)opcode;
    if (length < 126) {
        out[1] = mask_bit | (uint8_t)length;
    } else if (length < 65536) {
        out[1] = mask_bit | 126;
        out[2] = (uint8_t)(length >> 8);
        out[3] = (uint8_t)length;
        size = 4;
    } else {
        out[1] = mask_bit | 127;
        for (int i = 0; i < 8; i++)
            out[2 + i] = (uint8_t)(length >> (56 - 8 * i));
        size = 10;
    }
    if (mask != NULL) {
        memcpy(out + size, mask, 4);
        size += 4;
    }
    return size;
}

void frame_mask(uint8_t *bytes, size_t size, const uint8_t mask[4])
{
    for (size_t i = 0; i < size; i++)
        bytes[i] ^= mask[i & 3];
}

static uint32_t rotate(uint32_t value, int bits)
{
    return value << bits | value >> (32 - bits);
}

// Adds one 64-byte block to a SHA-1 state (RFC 3174 section 6.1).
static void sha1_block(uint32_t state[5], const uint8_t block[64])
{
    uint32_t w[80];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 80; i++) {
        uint32_t mixed, constant;
        if (i < 20) {
            mixed = (b & c) | (~b & d);
            constant = 0x5a827999;
        } else if (i < 40) {
            mixed = b ^ c ^ d;
            constant = 0x6ed9eba1;
        } else if (i < 60) {
            mixed = (b & c) | (b & d) | (c & d);
            constant = 0x8f1bbcdc;
        } else {
            mixed = b ^ c ^ d;
            constant = 0xca62c1d6;
        }
        uint32_t next = rotate(a, 5) + mixed + e + constant + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

// Hashes at most 119 bytes (two blocks): a handshake key and the GUID are 60.
static void sha1_short(const uint8_t *bytes, size_t size, uint8_t digest[20])
{
    uint8_t blocks[128] = {0};
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    size_t padded = size < 56 ? 64 : 128;
    uint64_t bits = (uint64_t)size * 8;
    memcpy(blocks, bytes, size);
    blocks[size] = 0x80;
    for (int i = 0; i < 8; i++)
        blocks[padded - 1 - (size_t)i] = (uint8_t)(bits >> (8 * i));
    for (size_t at = 0; at < padded; at += 64)
        sha1_block(state, blocks + at);
    for (int i = 0; i < 20; i++)
        digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

void accept_key(const char *key, size_t key_size, char out[ACCEPT_KEY_SIZE])
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t salted[119], digest[21] = {0};
    if (key_size > sizeof salted - (sizeof ACCEPT_GUID - 1))
        key_size = sizeof salted - (sizeof ACCEPT_GUID - 1);
    memcpy(salted, key, key_size);
    memcpy(salted + key_size, ACCEPT_GUID, sizeof ACCEPT_GUID - 1);
    sha1_short(salted, key_size + sizeof ACCEPT_GUID - 1, digest);
    for (int i = 0; i < 7; i++) {
        uint32_t triple = (uint32_t)digest[3 * i] << 16 | (uint32_t)digest[3 * i + 1] << 8 | digest[3 * i + 2];
        for (int j = 0; j < 4; j++)
            out[4 * i + j] = alphabet[triple >> (18 - 6 * j) & 63];
    }
    out[ACCEPT_KEY_SIZE - 1] = '='; // 20 bytes leave one place empty
}
