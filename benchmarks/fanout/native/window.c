#include "window.h"

#include "clock.h"

#include <stdio.h>
#include <sys/resource.h>

static struct tally snapshot(const struct window *window, int64_t at)
{
    struct tally tally = window->count;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    tally.at = at;
    tally.load_cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    tally.server = process_usage(window->options->server_pid, window->options->server_core);
    return tally;
}

void window_begin(struct window *window, const struct options *options)
{
    int64_t now = now_ns();
    *window = (struct window){.options = options, .begun_at = now, .last_sign = now};
}

bool window_quiet(const struct window *window, int64_t now)
{
    return now - window->last_sign > window->options->quiet_ms * NS_PER_MS;
}

bool window_advance(struct window *window, bool pending)
{
    const struct options *options = window->options;
    int64_t now = now_ns();
    bool quiet = pending && window_quiet(window, now);
    if (window->phase == PHASE_WARM_UP && (now - window->begun_at >= (int64_t)(options->warm_up * NS_PER_S) || quiet)) {
        window->phase = PHASE_MEASURE;
        window->start = snapshot(window, now);
        return true;
    }
    if (window->phase != PHASE_MEASURE)
        return false;
    // Without anything in flight the last event is in: the window must not count the waiting after it.
    bool enough = options->events > 0 && window->count.events - window->start.events >= options->events && !pending;
    if (enough || quiet || now - window->start.at >= (int64_t)(options->seconds * NS_PER_S)) {
        window->phase = PHASE_DRAIN;
        window->stalled = quiet;
        window->end = snapshot(window, enough || quiet ? window->last_sign : now);
    }
    return false;
}

void window_print(const struct window *window)
{
    const struct tally *start = &window->start, *end = &window->end;
    double seconds = (double)(end->at - start->at) / NS_PER_S;
    printf("{\"mode\":\"%s\",\"seconds\":%.6f,\"events\":%llu,\"deliveries\":%llu,\"bytes\":%llu,\"posts\":%llu,",
           window->options->mode_name, seconds > 0 ? seconds : 1e-9,
           (unsigned long long)(end->events - start->events), (unsigned long long)(end->deliveries - start->deliveries),
           (unsigned long long)(end->bytes - start->bytes), (unsigned long long)(end->posts - start->posts));
    printf("\"latency_us\":{\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f,\"readings\":%llu},",
           (double)histogram_quantile(&window->latency, 0.5) / 1e3,
           (double)histogram_quantile(&window->latency, 0.99) / 1e3, (double)window->latency.greatest / 1e3,
           (unsigned long long)window->latency.total);
    printf("\"server_cpu_s\":%.3f,\"server_core_busy_s\":%.3f,\"load_cpu_s\":%.3f,",
           end->server.cpu_s - start->server.cpu_s, end->server.core_busy_s - start->server.core_busy_s,
           end->load_cpu_s - start->load_cpu_s);
    printf("\"resident_kib_before\":%ld,\"resident_kib_after\":%ld,\"stalled\":%s", start->server.resident_kib,
           end->server.resident_kib, window->stalled ? "true" : "false");
}

void print_json_string(const char *text)
{
    putchar('"');
    for (; *text != 0; text++) {
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
            printf("\\u%04x", (unsigned char)*text);
        else
            putchar(*text);
    }
    putchar('"');
}
