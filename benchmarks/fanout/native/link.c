#include "link.h"

#include "clock.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

// Handshakes in flight at once: well inside any server's backlog (uvicorn's is 2048).
#define OPENING_AT_ONCE 128
#define OPEN_TIMEOUT_MS 20000

// The sample key of RFC 6455 section 1.3, whose answer is known.
static const char KEY[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

bool client_start(struct client *client, const char *host, int port, frame_handler *handler, void *context)
{
    *client = (struct client){.epoll = epoll_create1(EPOLL_CLOEXEC),
                              .scratch = malloc(STREAM_SCRATCH),
                              .address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)},
                              .handler = handler,
                              .context = context};
    return client->epoll >= 0 && client->scratch != NULL &&
           inet_pton(AF_INET, host, &client->address.sin_addr) == 1;
}

void client_complain(struct client *client, const char *what, const uint8_t *detail, size_t size)
{
    if (client->complaint[0] == 0)
        snprintf(client->complaint, sizeof client->complaint, "%s%s%.*s", what, size > 0 ? ": " : "", (int)size,
                 size > 0 ? (const char *)detail : "");
}

static void lose(struct client *client, struct link *link, const char *why, const uint8_t *detail, size_t size)
{
    client_complain(client, why, detail, size);
    client->links_gone++;
    stream_close(&link->stream);
    link->state = LINK_GONE;
}

static bool start_link(struct client *client, struct link *link, const struct link_setup *setup)
{
    char request[1024];
    const char *token = getenv("TIDINGS_TOKEN");
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    link->stream = (struct stream){.fd = fd, .epoll = -1};
    link->state = LINK_SHAKING;
    link->greeted = setup->greeted;
    if (fd >= 0 && setup->receive_buffer > 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &setup->receive_buffer, sizeof setup->receive_buffer);
    if (fd < 0 || connect(fd, (struct sockaddr *)&client->address, sizeof client->address) != 0)
        return false;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s%s%s%s%s%s\r\n",
                        setup->path, ntohs(client->address.sin_port), KEY,
                        setup->subprotocol ? "Sec-WebSocket-Protocol: " : "",
                        setup->subprotocol ? setup->subprotocol : "", setup->subprotocol ? "\r\n" : "",
                        token ? "Authorization: Bearer " : "", token ? token : "", token ? "\r\n" : "");
    return stream_watch(&link->stream, client->epoll, link) &&
           stream_send(&link->stream, (uint8_t *)request, (size_t)size);
}

bool client_open(struct client *client, struct link *links, int count, const struct link_setup *setup)
{
    struct epoll_event events[OPENING_AT_ONCE];
    int started = 0, open = 0;
    while (open < count) {
        for (; started < count && started - open < OPENING_AT_ONCE; started++) {
            links[started].number = (uint32_t)started;
            if (!start_link(client, &links[started], setup)) {
                client_complain(client, "cannot connect", (const uint8_t *)strerror(errno), strlen(strerror(errno)));
                return false;
            }
        }
        int ready = epoll_wait(client->epoll, events, OPENING_AT_ONCE, OPEN_TIMEOUT_MS);
        if (ready == 0)
            client_complain(client, "the server does not answer the handshake", NULL, 0);
        for (int i = 0; i < ready; i++)
            link_handle(client, events[i].data.ptr, events[i].events);
        if (ready == 0 || client->links_gone > 0)
            return false;
        for (; open < started && links[open].state == LINK_OPEN; open++)
            ;
    }
    return true;
}

// Reads the server's half of the handshake. Returns the bytes consumed, or 0 while it is incomplete.
static size_t finish_handshake(struct client *client, struct link *link, uint8_t *bytes, size_t size)
{
    uint8_t *end = memmem(bytes, size, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    if (memcmp(bytes, "HTTP/1.1 101", 12) != 0 || memmem(bytes, size, ACCEPT, sizeof ACCEPT - 1) == NULL) {
        lose(client, link, "handshake refused", bytes, size < 300 ? size : 300);
        return 0;
    }
    link->state = link->greeted ? LINK_GREETING : LINK_OPEN;
    return (size_t)(end + 4 - bytes);
}

static void handle_control(struct client *client, struct link *link, const struct frame *frame, uint8_t *payload)
{
    static const uint8_t no_mask[4] = {0};
    uint8_t pong[FRAME_HEADER_MAX + 125];
    if (frame->opcode == OPCODE_PING && frame->length <= 125) {
        // A mask of zeros is a mask: the payload goes back as it is.
        size_t header = frame_header(pong, OPCODE_PONG, frame->length, no_mask);
        memcpy(pong + header, payload, frame->length);
        stream_send(&link->stream, pong, header + frame->length);
    } else if (frame->opcode == OPCODE_CLOSE) {
        char code[32];
        int size = snprintf(code, sizeof code, "code %d", frame->length >= 2 ? payload[0] << 8 | payload[1] : 1005);
        lose(client, link, "closed by the server", (uint8_t *)code, (size_t)size);
    } else if (frame->opcode != OPCODE_PONG) {
        lose(client, link, "unexpected frame", NULL, 0);
    }
}

static uint8_t *handle_frames(struct client *client, struct link *link, uint8_t *at, uint8_t *end, int64_t now)
{
    struct frame frame;
    while (frame_parse(at, (size_t)(end - at), &frame) && (uint64_t)(end - at) >= frame.header + frame.length) {
        uint8_t *payload = at + frame.header;
        at = payload + frame.length;
        if (__builtin_expect(frame.opcode != OPCODE_TEXT, 0)) {
            handle_control(client, link, &frame, payload);
            if (link->state == LINK_GONE)
                return end;
        } else if (__builtin_expect(link->state == LINK_GREETING, 0)) {
            if (memmem(payload, frame.length, "connection:established", 22) != NULL)
                link->state = LINK_OPEN;
        } else {
            client->handler(client, link, payload, frame.length, now);
        }
    }
    return at;
}

void link_handle(struct client *client, struct link *link, uint32_t events)
{
    if (link->state == LINK_GONE)
        return;
    if (events & EPOLLOUT && !stream_flush(&link->stream)) {
        lose(client, link, "connection lost while writing", NULL, 0);
        return;
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    ssize_t size = stream_read(&link->stream, client->scratch);
    if (size < 0)
        lose(client, link, "connection lost", NULL, 0);
    if (size <= 0)
        return;
    int64_t now = now_ns();
    uint8_t *at = client->scratch, *end = at + size;
    if (link->state == LINK_SHAKING)
        at += finish_handshake(client, link, at, (size_t)size);
    if (link->state != LINK_SHAKING && link->state != LINK_GONE)
        at = handle_frames(client, link, at, end, now);
    if (link->state != LINK_GONE && !stream_keep(&link->stream, at, (size_t)(end - at)))
        lose(client, link, "a frame over the limit", NULL, 0);
}
