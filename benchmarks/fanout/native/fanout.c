// One publisher and its subscribers, in a closed loop (a fixed number in flight) or an open one (at a rate).
#include "clock.h"
#include "deliveries.h"
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EVENTS_PER_WAIT 512
#define TICK_MS 20
// Written at once; more only when due, so that one write never holds up the reading for long.
#define PUBLISH_AT_ONCE 1024
// A hub that has stopped reading is not written to beyond this: CONTRACT section 6 has it stop at 4 MiB.
#define PUBLISHER_QUEUE_LIMIT (4 * 1024 * 1024)
// A stalled reader's kernel buffer, so that it stalls within the first second.
#define STALLED_RECEIVE_BUFFER 8192

struct fanout {
    const struct options *options;
    struct client client;
    struct window window;
    struct deliveries deliveries;
    struct event_template event;
    struct link *stalled;
    uint8_t *outgoing;
    int timer;
};

static bool open_all(struct fanout *fanout)
{
    const struct options *options = fanout->options;
    struct link_setup reading = {.path = options->path, .greeted = options->greeted};
    struct link_setup stalling = reading;
    struct link_setup publishing = {.path = options->publisher_path,
                                    .subprotocol = options->commands ? "tidings.v1" : NULL,
                                    .greeted = options->greeted};
    stalling.receive_buffer = STALLED_RECEIVE_BUFFER;
    fanout->stalled = calloc((size_t)options->stalled + 1, sizeof *fanout->stalled);
    if (fanout->stalled == NULL ||
        !client_open(&fanout->client, fanout->deliveries.subscribers, options->subscribers, &reading) ||
        !client_open(&fanout->client, fanout->stalled, options->stalled, &stalling))
        return false;
    for (int i = 0; i < options->stalled; i++)
        stream_unwatch(&fanout->stalled[i].stream);
    return client_open(&fanout->client, fanout->deliveries.publisher, 1, &publishing);
}

// How many events may go out now?
static uint64_t publishable(const struct fanout *fanout, int64_t now)
{
    const struct options *options = fanout->options;
    const struct deliveries *deliveries = &fanout->deliveries;
    const struct window *window = &fanout->window;
    uint64_t in_flight = deliveries_in_flight(deliveries), allowed;
    if (window->phase == PHASE_DRAIN || deliveries->publisher->stream.queue_size > PUBLISHER_QUEUE_LIMIT)
        return 0;
    if (options->rate > 0) {
        uint64_t due = (uint64_t)((double)(now - window->begun_at) * options->rate / NS_PER_S);
        allowed = due > deliveries->published ? due - deliveries->published : 0;
        allowed = allowed < RING - in_flight ? allowed : RING - in_flight;
    } else {
        uint64_t limit = (uint64_t)options->in_flight;
        allowed = in_flight < limit ? limit - in_flight : 0;
    }
    if (options->events > 0 && window->phase == PHASE_MEASURE) {
        uint64_t left = deliveries->window_first + options->events - deliveries->published;
        allowed = allowed < left ? allowed : left;
    }
    return allowed < PUBLISH_AT_ONCE ? allowed : PUBLISH_AT_ONCE;
}

static void publish(struct fanout *fanout, int64_t now)
{
    struct deliveries *deliveries = &fanout->deliveries;
    double rate = fanout->options->rate;
    uint64_t count = publishable(fanout, now);
    if (count == 0 || deliveries->publisher->state != LINK_OPEN)
        return;
    uint8_t *at = fanout->outgoing;
    for (uint64_t i = 0; i < count; i++, at += fanout->event.size) {
        uint64_t index = deliveries->published;
        // In an open loop an event's latency counts from when it was due: a server that makes the
        // publisher wait does not look faster for it.
        int64_t due = rate > 0 ? fanout->window.begun_at + (int64_t)((double)(index + 1) / rate * NS_PER_S) : now;
        event_write(&fanout->event, at, index, due);
        deliveries_publish(deliveries, due);
    }
    stream_send(&deliveries->publisher->stream, fanout->outgoing, (size_t)(at - fanout->outgoing));
}

static void arm_timer(const struct fanout *fanout)
{
    if (fanout->options->rate == 0)
        return;
    int64_t due = fanout->window.begun_at +
                  (int64_t)((double)(fanout->deliveries.published + 1) / fanout->options->rate * NS_PER_S) + 1000;
    struct itimerspec when = {.it_value = {.tv_sec = due / NS_PER_S, .tv_nsec = due % NS_PER_S}};
    timerfd_settime(fanout->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void handle_ready(struct fanout *fanout, const struct epoll_event *event)
{
    if (event->data.ptr == fanout) {
        uint64_t expirations;
        if (read(fanout->timer, &expirations, sizeof expirations) < 0)
            return;
    } else {
        link_handle(&fanout->client, event->data.ptr, event->events);
    }
    publish(fanout, now_ns());
}

static void loop(struct fanout *fanout)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    struct deliveries *deliveries = &fanout->deliveries;
    for (;;) {
        if (window_advance(&fanout->window, deliveries_in_flight(deliveries) > 0))
            deliveries->window_first = deliveries->published;
        if (fanout->window.phase == PHASE_DRAIN &&
            (deliveries_complete(deliveries) || window_quiet(&fanout->window, now_ns())))
            return;
        if (deliveries->publisher->state == LINK_GONE)
            return;
        publish(fanout, now_ns());
        arm_timer(fanout);
        int ready = epoll_wait(fanout->client.epoll, events, EVENTS_PER_WAIT, TICK_MS);
        for (int i = 0; i < ready; i++)
            handle_ready(fanout, &events[i]);
    }
}

static bool prepare(struct fanout *fanout)
{
    const struct options *options = fanout->options;
    struct event_shape shape = {.delivered_bytes = (size_t)options->event_bytes,
                                .with_id = options->commands,
                                .framed = true,
                                .operations = options->mode == MODE_CONFLATE ? (uint64_t)options->operations : 0};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = fanout};
    fanout->outgoing = malloc(PUBLISH_AT_ONCE * EVENT_SIZE_MAX);
    fanout->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (!event_template(&fanout->event, &shape)) {
        fprintf(stderr, "load: --event-bytes does not fit the event\n");
        return false;
    }
    return fanout->outgoing != NULL && fanout->timer >= 0 &&
           deliveries_begin(&fanout->deliveries, options, &fanout->window) &&
           client_start(&fanout->client, options->host, options->port, deliveries_frame, &fanout->deliveries) &&
           epoll_ctl(fanout->client.epoll, EPOLL_CTL_ADD, fanout->timer, &event) == 0;
}

static bool report(const struct fanout *fanout, bool opened)
{
    const struct deliveries *deliveries = &fanout->deliveries;
    window_print(&fanout->window);
    printf(",\"subscribers\":%d,\"missing\":%llu,\"late\":%llu,\"replies_missing\":%llu,\"refused\":%llu,"
           "\"other_frames\":%llu,\"links_gone\":%llu,\"complaint\":",
           fanout->options->subscribers, (unsigned long long)deliveries->missing, (unsigned long long)deliveries->late,
           (unsigned long long)deliveries->replies_missing, (unsigned long long)deliveries->refused,
           (unsigned long long)deliveries->other_frames, (unsigned long long)fanout->client.links_gone);
    print_json_string(fanout->client.complaint);
    printf("}\n");
    return opened && !fanout->window.stalled && deliveries->missing == 0 && deliveries->late == 0 &&
           deliveries->replies_missing == 0 && deliveries->refused == 0 && fanout->client.links_gone == 0;
}

int run_fanout(const struct options *options)
{
    static struct fanout fanout; // over 60 KB of histogram: not for the stack
    fanout.options = options;
    if (!prepare(&fanout))
        return 2;
    bool opened = open_all(&fanout);
    window_begin(&fanout.window, options);
    if (opened) {
        loop(&fanout);
        deliveries_close(&fanout.deliveries);
    }
    return report(&fanout, opened) ? 0 : 1;
}
