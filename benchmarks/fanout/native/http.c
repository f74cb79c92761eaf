// Posts events over keep-alive connections, each with one request outstanding.
#include "clock.h"
#include "event.h"
#include "link.h"
#include "run.h"
#include "window.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#define EVENTS_PER_WAIT 64
#define TICK_MS 20
#define HEAD_MAX 512

struct poster {
    struct stream stream;
    int64_t sent_at;
    bool waiting;
};

struct posts {
    const struct options *options;
    struct window window;
    struct event_template event;
    struct client client; // its epoll, address, scratch and complaint; posters are not links
    struct poster *posters;
    uint8_t *request;
    size_t head_size;
    uint64_t published;
    uint64_t waiting;
    uint64_t refused;
    uint64_t window_first;
};

static bool lay_out_request(struct posts *posts)
{
    const struct options *options = posts->options;
    size_t batch = (size_t)options->batch;
    struct event_shape shape = {.delivered_bytes = (size_t)options->event_bytes};
    if (!event_template(&posts->event, &shape))
        return false;
    // An array has brackets and a comma after all but the last: one byte more than there are events.
    size_t body = batch * posts->event.size + (batch > 1 ? batch + 1 : 0);
    posts->request = malloc(HEAD_MAX + body);
    if (posts->request == NULL)
        return false;
    const char *token = getenv("TIDINGS_TOKEN");
    posts->head_size = (size_t)snprintf((char *)posts->request, HEAD_MAX,
                                        "POST %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: application/json\r\n"
                                        "Content-Length: %zu\r\n%s%s%s\r\n",
                                        options->path, options->host, options->port, body,
                                        token ? "Authorization: Bearer " : "", token ? token : "",
                                        token ? "\r\n" : "");
    return posts->head_size < HEAD_MAX;
}

static bool post(struct posts *posts, struct poster *poster)
{
    int batch = posts->options->batch;
    uint8_t *at = posts->request + posts->head_size;
    poster->sent_at = now_ns();
    poster->waiting = true;
    posts->waiting++;
    for (int i = 0; i < batch; i++) {
        if (batch > 1)
            *at++ = i == 0 ? '[' : ',';
        event_write(&posts->event, at, posts->published++, poster->sent_at);
        at += posts->event.size;
    }
    if (batch > 1)
        *at++ = ']';
    return stream_send(&poster->stream, posts->request, (size_t)(at - posts->request));
}

// Finds the end of a whole response with Content-Length. Returns its size, 0 while it is
// incomplete, -1 if it cannot be read.
static ssize_t response_size(const uint8_t *bytes, size_t size, const uint8_t **body)
{
    static const char name[] = "content-length:";
    const uint8_t *end = memmem(bytes, size, "\r\n\r\n", 4);
    if (end == NULL)
        return size < STREAM_TAIL_LIMIT ? 0 : -1;
    for (const uint8_t *line = bytes; line < end; line++) {
        if (*line == '\n' && strncasecmp((const char *)line + 1, name, sizeof name - 1) == 0) {
            size_t length = strtoull((const char *)line + sizeof name, NULL, 10);
            *body = end + 4;
            size_t whole = (size_t)(*body - bytes) + length;
            return size >= whole ? (ssize_t)whole : 0;
        }
    }
    return -1;
}

static uint64_t count_positions(const uint8_t *at, size_t size)
{
    static const char marker[] = "\"position\":";
    uint64_t count = 0;
    for (const uint8_t *found; (found = memmem(at, size, marker, sizeof marker - 1)) != NULL; count++) {
        size -= (size_t)(found + 1 - at);
        at = found + 1;
    }
    return count;
}

static void take_response(struct posts *posts, struct poster *poster, const uint8_t *bytes, const uint8_t *body,
                          size_t size, int64_t now)
{
    uint64_t accepted = count_positions(body, size - (size_t)(body - bytes));
    uint64_t expected = (uint64_t)posts->options->batch;
    bool good = memcmp(bytes, "HTTP/1.1 200", 12) == 0 && accepted == expected;
    posts->waiting--;
    poster->waiting = false;
    posts->window.last_sign = now;
    posts->window.count.posts++;
    posts->window.count.events += accepted;
    if (posts->window.phase != PHASE_WARM_UP)
        histogram_add(&posts->window.latency, now - poster->sent_at);
    if (!good) {
        posts->refused += expected - (accepted < expected ? accepted : expected);
        client_complain(&posts->client, "refused", bytes, size < 400 ? size : 400);
    }
}

static bool may_post(const struct posts *posts)
{
    const struct options *options = posts->options;
    if (posts->window.phase == PHASE_DRAIN)
        return false;
    return options->events == 0 || posts->window.phase == PHASE_WARM_UP ||
           posts->published - posts->window_first < options->events;
}

static bool handle_readable(struct posts *posts, struct poster *poster)
{
    ssize_t size = stream_read(&poster->stream, posts->client.scratch);
    if (size <= 0)
        return size == 0;
    const uint8_t *bytes = posts->client.scratch, *body = NULL;
    ssize_t whole = response_size(bytes, (size_t)size, &body);
    if (whole < 0)
        return false;
    if (whole > 0) {
        take_response(posts, poster, bytes, body, (size_t)whole, now_ns());
        if (may_post(posts) && !post(posts, poster))
            return false;
    }
    return stream_keep(&poster->stream, bytes + whole, (size_t)(size - whole));
}

static void handle_ready(struct posts *posts, struct poster *poster, uint32_t events)
{
    bool alive = !(events & EPOLLOUT) || stream_flush(&poster->stream);
    if (alive && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        alive = handle_readable(posts, poster);
    if (alive)
        return;
    client_complain(&posts->client, "connection lost", NULL, 0);
    posts->client.links_gone++;
    posts->waiting -= poster->waiting;
    poster->waiting = false;
    stream_close(&poster->stream);
}

static bool open_all(struct posts *posts)
{
    for (int i = 0; i < posts->options->connections; i++) {
        struct poster *poster = &posts->posters[i];
        int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        poster->stream = (struct stream){.fd = fd, .epoll = -1};
        if (fd < 0 || connect(fd, (struct sockaddr *)&posts->client.address, sizeof posts->client.address) != 0)
            return false;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (!stream_watch(&poster->stream, posts->client.epoll, poster))
            return false;
    }
    return true;
}

static void loop(struct posts *posts)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    for (int i = 0; i < posts->options->connections; i++)
        post(posts, &posts->posters[i]);
    while (posts->waiting > 0) {
        if (window_advance(&posts->window, true))
            posts->window_first = posts->published;
        if (posts->window.phase == PHASE_DRAIN && window_quiet(&posts->window, now_ns()))
            return;
        int ready = epoll_wait(posts->client.epoll, events, EVENTS_PER_WAIT, TICK_MS);
        for (int i = 0; i < ready; i++)
            handle_ready(posts, events[i].data.ptr, events[i].events);
    }
    window_advance(&posts->window, false); // ends a window that is bounded by its count
}

int run_http(const struct options *options)
{
    static struct posts posts;
    posts.options = options;
    posts.posters = calloc((size_t)options->connections, sizeof *posts.posters);
    if (posts.posters == NULL || !lay_out_request(&posts) ||
        !client_start(&posts.client, options->host, options->port, NULL, NULL))
        return 2;
    bool opened = open_all(&posts);
    window_begin(&posts.window, options);
    if (opened)
        loop(&posts);
    else
        client_complain(&posts.client, "cannot connect", NULL, 0);
    window_print(&posts.window);
    printf(",\"connections\":%d,\"batch\":%d,\"missing\":%llu,\"late\":0,\"refused\":%llu,\"links_gone\":%llu,"
           "\"complaint\":",
           options->connections, options->batch, (unsigned long long)(posts.waiting * (uint64_t)options->batch),
           (unsigned long long)posts.refused, (unsigned long long)posts.client.links_gone);
    print_json_string(posts.client.complaint);
    printf("}\n");
    bool good = opened && !posts.window.stalled && posts.waiting == 0 && posts.refused == 0 &&
                posts.client.links_gone == 0 && posts.window.count.posts > 0;
    return good ? 0 : 1;
}
