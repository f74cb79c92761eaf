// Weighs what an idle connection costs the server in resident memory.
#include "clock.h"
#include "link.h"
#include "process.h"
#include "run.h"
#include "window.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

// Opened before the first weighing, so that what any first connection loads is not counted.
#define PRIMING 50

static void ignore_frame(struct client *client, struct link *link, const uint8_t *payload, size_t size, int64_t now)
{
    (void)client, (void)link, (void)payload, (void)size, (void)now;
}

static void hold(struct client *client, double seconds)
{
    struct epoll_event events[64];
    int64_t until = now_ns() + (int64_t)(seconds * NS_PER_S);
    for (int64_t now = now_ns(); now < until; now = now_ns()) {
        int ready = epoll_wait(client->epoll, events, 64, (int)((until - now) / NS_PER_MS) + 1);
        for (int i = 0; i < ready; i++)
            link_handle(client, events[i].data.ptr, events[i].events);
    }
}

int run_idle(const struct options *options)
{
    struct client client;
    struct link_setup setup = {.path = options->path, .greeted = options->greeted};
    struct link *links = calloc((size_t)options->subscribers + PRIMING, sizeof *links);
    struct process_usage before = {0}, after;
    if (links == NULL || !client_start(&client, options->host, options->port, ignore_frame, NULL))
        return 1;
    bool opened = client_open(&client, links + options->subscribers, PRIMING, &setup);
    if (opened) {
        hold(&client, 1);
        before = process_usage(options->server_pid, options->server_core);
        opened = client_open(&client, links, options->subscribers, &setup);
    }
    if (opened)
        hold(&client, options->seconds);
    after = process_usage(options->server_pid, options->server_core);
    printf("{\"mode\":\"idle\",\"connections\":%d,\"resident_kib_before\":%ld,\"resident_kib_after\":%ld,"
           "\"server_cpu_s\":%.3f,\"links_gone\":%llu,\"missing\":0,\"late\":0,\"refused\":0,\"complaint\":",
           options->subscribers, before.resident_kib, after.resident_kib, after.cpu_s - before.cpu_s,
           (unsigned long long)client.links_gone);
    print_json_string(client.complaint);
    printf("}\n");
    return opened && client.links_gone == 0 ? 0 : 1;
}
