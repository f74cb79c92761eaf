// A non-blocking TCP socket whose reader keeps nothing but an unfinished tail, and whose writer
// queues only what the kernel would not take: an idle connection costs this struct and no buffer.
#ifndef FANOUT_STREAM_H
#define FANOUT_STREAM_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

// One read takes at most this much: a busy tick of one subscriber (200 events of 250 bytes) fits,
// and the buffer stays inside the second-level cache between the kernel's copy and our parsing.
#define STREAM_CHUNK (128 * 1024)
// The longest unfinished tail that is kept; twice the hub's frame limit of 256 KiB.
#define STREAM_TAIL_LIMIT (512 * 1024)
#define STREAM_SCRATCH (STREAM_CHUNK + STREAM_TAIL_LIMIT)

struct stream {
    int fd;
    int epoll;       // -1 while the socket is not watched
    void *owner;     // what epoll hands back for this socket
    uint8_t *tail;   // bytes read but not consumed, NULL when there are none
    size_t tail_size;
    uint8_t *queue;  // bytes written but not taken by the kernel
    size_t queue_size;
    size_t queue_capacity;
};

// Fills scratch (STREAM_SCRATCH bytes) with the kept tail and one chunk from the socket.
// Returns the bytes now in scratch, 0 when nothing was there to read, -1 when the peer has gone.
ssize_t stream_read(struct stream *stream, uint8_t *scratch);

// Keeps the unconsumed end of what stream_read returned. Returns false if it is over the limit.
bool stream_keep(struct stream *stream, const uint8_t *rest, size_t size);

// Queues bytes and asks epoll for writability. Use stream_send.
bool stream_queue(struct stream *stream, const uint8_t *bytes, size_t size);

// Sends what is queued. Returns false when the peer has gone.
bool stream_flush(struct stream *stream);

bool stream_watch(struct stream *stream, int epoll, void *owner);
void stream_unwatch(struct stream *stream);
void stream_close(struct stream *stream);

static inline bool stream_would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

// Sends with one send(2) when nothing is queued; what the kernel does not take is queued.
// Returns false when the peer has gone.
static inline bool stream_send(struct stream *stream, const uint8_t *bytes, size_t size)
{
    if (stream->queue_size == 0) {
        ssize_t sent = send(stream->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent == (ssize_t)size)
            return true;
        if (sent < 0) {
            if (!stream_would_block())
                return false;
        } else {
            bytes += sent;
            size -= (size_t)sent;
        }
    }
    return stream_queue(stream, bytes, size);
}

#endif
