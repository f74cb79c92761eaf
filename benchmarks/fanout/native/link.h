// A client's WebSocket connection, and the set of them that one epoll descriptor serves.
#ifndef FANOUT_LINK_H
#define FANOUT_LINK_H

#include "stream.h"
#include "wire.h"

#include <netinet/in.h>

enum link_state { LINK_SHAKING, LINK_GREETING, LINK_OPEN, LINK_GONE };

struct link {
    struct stream stream;
    enum link_state state;
    bool greeted;       // the hub's connection:established is awaited before the link is open
    uint32_t number;    // its place among its kind
    uint64_t expected;  // the next event index
    uint64_t *latest;   // per operation, one past the newest index received; NULL unless conflating
};

struct client;
// Called for each data frame of an open link; now is the time the bytes were read.
typedef void frame_handler(struct client *client, struct link *link, const uint8_t *payload, size_t size, int64_t now);

struct client {
    int epoll;
    uint8_t *scratch;
    struct sockaddr_in address;
    frame_handler *handler;
    void *context;
    uint64_t links_gone;     // ended by the server, or by a violation of the protocol
    char complaint[512];     // the first thing that went wrong, for a person to read
};

struct link_setup {
    const char *path;        // with its query
    const char *subprotocol; // NULL to offer none
    bool greeted;
    int receive_buffer;      // SO_RCVBUF in bytes, 0 for the system's own sizing
};

bool client_start(struct client *client, const char *host, int port, frame_handler *handler, void *context);

// Remembers the first complaint.
void client_complain(struct client *client, const char *what, const uint8_t *detail, size_t size);

// Opens count links and returns when all are open, or false after complaining.
bool client_open(struct client *client, struct link *links, int count, const struct link_setup *setup);

// Handles one readiness event of a link.
void link_handle(struct client *client, struct link *link, uint32_t events);

#endif
