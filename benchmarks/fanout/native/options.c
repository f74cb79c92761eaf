#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char USAGE[] =
    "usage: load MODE --port N [options]\n"
    "  fanout    events from one publisher to many subscribers, every delivery checked\n"
    "  publish   events from one publisher, as fast as they are acknowledged\n"
    "  conflate  operation:progress at --rate over --operations\n"
    "  idle      open --subscribers, hold them for --seconds, weigh the server\n"
    "  http      POST events over --connections, --batch at a time\n"
    "options: --host A.B.C.D --path P --publisher-path P --subscribers N --stalled N\n"
    "  --in-flight N | --rate EVENTS_PER_S   --events N --seconds S --warm-up S --quiet-ms MS\n"
    "  --commands --greeted --event-bytes N --operations N --connections N --batch N\n"
    "  --server-pid PID --server-core N\n";

static const char *const MODES[] = {"fanout", "publish", "conflate", "idle", "http"};

enum flag {
    FLAG_HOST = 1, FLAG_PORT, FLAG_PATH, FLAG_PUBLISHER_PATH, FLAG_SUBSCRIBERS, FLAG_STALLED, FLAG_IN_FLIGHT,
    FLAG_RATE, FLAG_EVENTS, FLAG_SECONDS, FLAG_WARM_UP, FLAG_QUIET_MS, FLAG_COMMANDS, FLAG_GREETED,
    FLAG_EVENT_BYTES, FLAG_OPERATIONS, FLAG_CONNECTIONS, FLAG_BATCH, FLAG_SERVER_PID, FLAG_SERVER_CORE,
};

static const struct option FLAGS[] = {
    {"host", required_argument, NULL, FLAG_HOST},
    {"port", required_argument, NULL, FLAG_PORT},
    {"path", required_argument, NULL, FLAG_PATH},
    {"publisher-path", required_argument, NULL, FLAG_PUBLISHER_PATH},
    {"subscribers", required_argument, NULL, FLAG_SUBSCRIBERS},
    {"stalled", required_argument, NULL, FLAG_STALLED},
    {"in-flight", required_argument, NULL, FLAG_IN_FLIGHT},
    {"rate", required_argument, NULL, FLAG_RATE},
    {"events", required_argument, NULL, FLAG_EVENTS},
    {"seconds", required_argument, NULL, FLAG_SECONDS},
    {"warm-up", required_argument, NULL, FLAG_WARM_UP},
    {"quiet-ms", required_argument, NULL, FLAG_QUIET_MS},
    {"commands", no_argument, NULL, FLAG_COMMANDS},
    {"greeted", no_argument, NULL, FLAG_GREETED},
    {"event-bytes", required_argument, NULL, FLAG_EVENT_BYTES},
    {"operations", required_argument, NULL, FLAG_OPERATIONS},
    {"connections", required_argument, NULL, FLAG_CONNECTIONS},
    {"batch", required_argument, NULL, FLAG_BATCH},
    {"server-pid", required_argument, NULL, FLAG_SERVER_PID},
    {"server-core", required_argument, NULL, FLAG_SERVER_CORE},
    {NULL, 0, NULL, 0},
};

static bool set(struct options *options, int flag, const char *value)
{
    switch (flag) {
    case FLAG_HOST: options->host = value; return true;
    case FLAG_PORT: options->port = atoi(value); return true;
    case FLAG_PATH: options->path = value; return true;
    case FLAG_PUBLISHER_PATH: options->publisher_path = value; return true;
    case FLAG_SUBSCRIBERS: options->subscribers = atoi(value); return true;
    case FLAG_STALLED: options->stalled = atoi(value); return true;
    case FLAG_IN_FLIGHT: options->in_flight = atoi(value); return true;
    case FLAG_RATE: options->rate = atof(value); return true;
    case FLAG_EVENTS: options->events = strtoull(value, NULL, 10); return true;
    case FLAG_SECONDS: options->seconds = atof(value); return true;
    case FLAG_WARM_UP: options->warm_up = atof(value); return true;
    case FLAG_QUIET_MS: options->quiet_ms = atoi(value); return true;
    case FLAG_COMMANDS: options->commands = true; return true;
    case FLAG_GREETED: options->greeted = true; return true;
    case FLAG_EVENT_BYTES: options->event_bytes = atoi(value); return true;
    case FLAG_OPERATIONS: options->operations = atoi(value); return true;
    case FLAG_CONNECTIONS: options->connections = atoi(value); return true;
    case FLAG_BATCH: options->batch = atoi(value); return true;
    case FLAG_SERVER_PID: options->server_pid = atoi(value); return true;
    case FLAG_SERVER_CORE: options->server_core = atoi(value); return true;
    default: return false;
    }
}

static bool complain(const char *what)
{
    fprintf(stderr, "load: %s\n%s", what, USAGE);
    return false;
}

bool options_read(struct options *options, int argc, char **argv)
{
    *options = (struct options){
        .host = "127.0.0.1", .path = "/ws", .publisher_path = "/ws?channels=none", .in_flight = 1, .seconds = 5,
        .quiet_ms = 3000, .event_bytes = 250, .operations = 100, .connections = 16, .batch = 1, .server_core = -1,
    };
    if (argc < 2)
        return complain("a mode is needed");
    bool known = false;
    for (int mode = 0; mode < (int)(sizeof MODES / sizeof *MODES); mode++)
        if (strcmp(argv[1], MODES[mode]) == 0) {
            options->mode = (enum mode)mode;
            options->mode_name = MODES[mode];
            known = true;
        }
    if (!known)
        return complain("unknown mode");
    optind = 2;
    for (int flag; (flag = getopt_long(argc, argv, "", FLAGS, NULL)) != -1;)
        if (!set(options, flag, optarg))
            return complain("unknown option");
    if (options->port <= 0 || options->port > 65535)
        return complain("--port is needed");
    if (options->subscribers < 0 || options->stalled < 0 || options->in_flight < 1 || options->operations < 1 ||
        options->connections < 1 || options->batch < 1 || options->seconds <= 0 || options->warm_up < 0 ||
        options->quiet_ms < 1 || options->rate < 0)
        return complain("a number is out of range");
    if (options->mode == MODE_FANOUT && options->subscribers == 0)
        return complain("fanout needs --subscribers");
    if (options->mode == MODE_PUBLISH && !options->commands)
        return complain("publish counts replies, so it needs --commands");
    if (options->mode == MODE_CONFLATE && options->rate == 0)
        return complain("conflate needs --rate");
    return true;
}
