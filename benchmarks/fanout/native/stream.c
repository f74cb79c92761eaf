#include "stream.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static bool watch(struct stream *stream, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = stream->owner};
    return epoll_ctl(stream->epoll, operation, stream->fd, &event) == 0;
}

ssize_t stream_read(struct stream *stream, uint8_t *scratch)
{
    size_t kept = stream->tail_size;
    if (kept > 0)
        memcpy(scratch, stream->tail, kept);
    ssize_t got = recv(stream->fd, scratch + kept, STREAM_CHUNK, MSG_DONTWAIT);
    if (got < 0 && stream_would_block())
        return 0;
    if (got <= 0)
        return -1;
    if (kept > 0) {
        free(stream->tail);
        stream->tail = NULL;
        stream->tail_size = 0;
    }
    return (ssize_t)kept + got;
}

bool stream_keep(struct stream *stream, const uint8_t *rest, size_t size)
{
    if (size == 0)
        return true;
    if (size > STREAM_TAIL_LIMIT)
        return false;
    stream->tail = malloc(size);
    if (stream->tail == NULL)
        return false;
    memcpy(stream->tail, rest, size);
    stream->tail_size = size;
    return true;
}

bool stream_queue(struct stream *stream, const uint8_t *bytes, size_t size)
{
    if (stream->queue_size == 0 && stream->epoll >= 0 && !watch(stream, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT))
        return false;
    size_t needed = stream->queue_size + size;
    if (needed > stream->queue_capacity) {
        size_t capacity = needed * 2;
        uint8_t *grown = realloc(stream->queue, capacity);
        if (grown == NULL)
            return false;
        stream->queue = grown;
        stream->queue_capacity = capacity;
    }
    memcpy(stream->queue + stream->queue_size, bytes, size);
    stream->queue_size = needed;
    return true;
}

bool stream_flush(struct stream *stream)
{
    if (stream->queue_size == 0)
        return true;
    ssize_t sent = send(stream->fd, stream->queue, stream->queue_size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0)
        return stream_would_block();
    stream->queue_size -= (size_t)sent;
    if (stream->queue_size > 0) {
        memmove(stream->queue, stream->queue + sent, stream->queue_size);
        return true;
    }
    free(stream->queue);
    stream->queue = NULL;
    stream->queue_capacity = 0;
    return stream->epoll < 0 || watch(stream, EPOLL_CTL_MOD, EPOLLIN);
}

bool stream_watch(struct stream *stream, int epoll, void *owner)
{
    stream->epoll = epoll;
    stream->owner = owner;
    return watch(stream, EPOLL_CTL_ADD, stream->queue_size > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void stream_unwatch(struct stream *stream)
{
    if (stream->epoll >= 0)
        watch(stream, EPOLL_CTL_DEL, 0);
    stream->epoll = -1;
}

void stream_close(struct stream *stream)
{
    if (stream->fd < 0)
        return;
    close(stream->fd);
    free(stream->tail);
    free(stream->queue);
    *stream = (struct stream){.fd = -1, .epoll = -1};
}
