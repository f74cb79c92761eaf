// The yardstick: what a WebSocket fan-out costs when nothing is done but the system calls.
//
// One epoll loop. A connection whose path holds "subscribe" receives every text message that any
// other connection sends: the frame is built once, and each subscriber gets it by exactly one
// send(2). Only a subscriber that has stopped reading is queued for, so that nothing is lost.
//
//   baseline [--port N] [--drop-every N]
//
// --drop-every leaves out every Nth send: it exists so that the load generator's check can be
// seen to fail. The address is printed on stdout once the server listens.
#include "stream.h"
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#define EVENTS_PER_WAIT 512
#define BACKLOG 4096

struct connection {
    struct stream stream;
    bool open;         // the handshake is done
    bool subscribes;
    uint32_t place;    // its index in the subscribers, while subscribes and open
};

struct server {
    int listener;
    int epoll;
    struct connection **subscribers;
    size_t count;
    size_t capacity;
    uint64_t sends;
    uint64_t drop_every; // 0: never
    uint8_t *scratch;
};

static volatile sig_atomic_t stopping;

static void stop(int signal_number)
{
    (void)signal_number;
    stopping = 1;
}

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void subscribe(struct server *server, struct connection *connection)
{
    if (server->count == server->capacity) {
        server->capacity = server->capacity ? server->capacity * 2 : 1024;
        server->subscribers = realloc(server->subscribers, server->capacity * sizeof *server->subscribers);
        if (server->subscribers == NULL)
            fail("realloc");
    }
    connection->place = (uint32_t)server->count;
    server->subscribers[server->count++] = connection;
}

static void unsubscribe(struct server *server, struct connection *connection)
{
    struct connection *last = server->subscribers[--server->count];
    server->subscribers[connection->place] = last;
    last->place = connection->place;
}

static void drop_connection(struct server *server, struct connection *connection)
{
    if (connection->open && connection->subscribes)
        unsubscribe(server, connection);
    stream_close(&connection->stream);
    free(connection);
}

static void broadcast(struct server *server, const uint8_t *frame, size_t size)
{
    // A socket that fails here is not closed at once (that would change the list being walked):
    // epoll reports it as readable, and reading finds the end.
    for (size_t i = 0; i < server->count; i++) {
        if (server->drop_every != 0 && ++server->sends % server->drop_every == 0)
            continue;
        stream_send(&server->subscribers[i]->stream, frame, size);
    }
}

// Answers the opening handshake. Returns the bytes consumed, 0 while it is incomplete, -1 to close.
static ssize_t shake_hands(struct server *server, struct connection *connection, uint8_t *bytes, size_t size)
{
    static const char key_name[] = "sec-websocket-key:";
    char accept[ACCEPT_KEY_SIZE], answer[256];
    uint8_t *end = memmem(bytes, size, "\r\n\r\n", 4);
    if (end == NULL)
        return size < 8192 ? 0 : -1;
    *end = 0;
    char *request = (char *)bytes;
    char *key = strcasestr(request, key_name);
    char *line_end = strstr(request, "\r\n");
    if (strncmp(request, "GET ", 4) != 0 || key == NULL || line_end == NULL)
        return -1;
    key += sizeof key_name - 1;
    key += strspn(key, " ");
    accept_key(key, strcspn(key, " \r\n"), accept);
    *line_end = 0;
    connection->subscribes = strstr(request, "subscribe") != NULL;
    int written = snprintf(answer, sizeof answer,
                           "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                           "Connection: Upgrade\r\nSec-WebSocket-Accept: %.*s\r\n\r\n",
                           ACCEPT_KEY_SIZE, accept);
    if (!stream_send(&connection->stream, (uint8_t *)answer, (size_t)written))
        return -1;
    connection->open = true;
    if (connection->subscribes)
        subscribe(server, connection);
    return end + 4 - bytes;
}

// Handles one whole frame from a client. Returns false to close the connection.
static bool handle_frame(struct server *server, struct connection *connection, uint8_t *at, const struct frame *frame)
{
    uint8_t *payload = at + frame->header;
    if (!frame->masked)
        return false; // RFC 6455 section 5.1: a client masks
    frame_mask(payload, frame->length, payload - 4);
    // A server's header is four bytes shorter (no mask), so it fits in front of the payload.
    uint8_t header[FRAME_HEADER_MAX];
    enum opcode answer = frame->opcode == OPCODE_PING ? OPCODE_PONG : (enum opcode)frame->opcode;
    size_t header_size = frame_header(header, answer, frame->length, NULL);
    memcpy(payload - header_size, header, header_size);
    switch (frame->opcode) {
    case OPCODE_TEXT:
        broadcast(server, payload - header_size, header_size + frame->length);
        return true;
    case OPCODE_PING:
        return stream_send(&connection->stream, payload - header_size, header_size + frame->length);
    case OPCODE_PONG:
        return true;
    case OPCODE_CLOSE:
        stream_send(&connection->stream, payload - header_size, header_size + frame->length);
        return false;
    default:
        return false;
    }
}

// Reads what a client sent. Returns false to close the connection.
static bool handle_readable(struct server *server, struct connection *connection)
{
    ssize_t size = stream_read(&connection->stream, server->scratch);
    if (size <= 0)
        return size == 0;
    uint8_t *at = server->scratch, *end = server->scratch + size;
    if (!connection->open) {
        ssize_t consumed = shake_hands(server, connection, at, (size_t)size);
        if (consumed < 0)
            return false;
        at += consumed;
    }
    struct frame frame;
    while (connection->open && frame_parse(at, (size_t)(end - at), &frame)) {
        if (frame.length > STREAM_TAIL_LIMIT - FRAME_HEADER_MAX)
            return false;
        if ((size_t)(end - at) < frame.header + frame.length)
            break;
        if (!handle_frame(server, connection, at, &frame))
            return false;
        at += frame.header + frame.length;
    }
    return stream_keep(&connection->stream, at, (size_t)(end - at));
}

static void accept_all(struct server *server)
{
    for (;;) {
        int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *connection = calloc(1, sizeof *connection);
        if (connection == NULL)
            fail("calloc");
        connection->stream.fd = fd;
        if (!stream_watch(&connection->stream, server->epoll, connection))
            fail("epoll_ctl");
    }
}

static void serve(struct server *server)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    while (!stopping) {
        int ready = epoll_wait(server->epoll, events, EVENTS_PER_WAIT, -1);
        if (ready < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < ready; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection == NULL) {
                accept_all(server);
                continue;
            }
            bool alive = true;
            if (events[i].events & EPOLLOUT)
                alive = stream_flush(&connection->stream);
            if (alive && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                alive = handle_readable(server, connection);
            if (!alive)
                drop_connection(server, connection);
        }
    }
}

static int listen_on(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, BACKLOG) != 0)
        fail("listen");
    getsockname(fd, (struct sockaddr *)&address, &size);
    printf("ws://127.0.0.1:%d/ws\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"port", required_argument, NULL, 'p'},
                                          {"drop-every", required_argument, NULL, 'd'},
                                          {NULL, 0, NULL, 0}};
    struct server server = {.epoll = epoll_create1(EPOLL_CLOEXEC), .scratch = malloc(STREAM_SCRATCH)};
    struct rlimit files;
    uint16_t port = 0;
    for (int flag; (flag = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (flag == 'p')
            port = (uint16_t)atoi(optarg);
        else if (flag == 'd')
            server.drop_every = strtoull(optarg, NULL, 10);
        else
            return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    server.listener = listen_on(port);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (server.epoll < 0 || server.scratch == NULL ||
        epoll_ctl(server.epoll, EPOLL_CTL_ADD, server.listener, &event) != 0)
        fail("start");
    serve(&server);
    return 0;
}
