/* message_log.h - what messages went where and how long they took, in rotating binary files under
 * DIR/messages.
 *
 * Each writing thread puts records into a ring of its own, without locks and without ever waiting: a full
 * ring drops the record and counts it. One log thread empties the rings into segments (mode 0600), bounded in
 * bytes and age. A record is about 100 bytes: envelope and times; addresses are written once per segment.
 * Bodies are kept only in `full`, with secret fields blanked and unknown trailing fields left out. Segments
 * can be read while they are written, and copied.
 */
#pragma once
#include "bus/worker.h"

enum {
    GR_MESSAGE_LOG_BYTES = 256 << 20, GR_MESSAGE_LOG_AGE_MS = 24 * 3600 * 1000,
    GR_MESSAGE_LOG_RING = 1 << 20,            /* bytes of one thread's ring */
    GR_MESSAGE_LOG_TAG_MAX = 255,
};

typedef struct gr_message_log gr_message_log;
typedef struct {
    const char *dir;                          /* of the segments; made when missing */
    const char *node;
    bool full;                                /* keep bodies */
    uint64_t bytes_max, age_max_ms;           /* 0: the defaults above */
    unsigned writers;                         /* threads that add records, at least 1 */
    size_t ring_size;                         /* a power of two; 0: GR_MESSAGE_LOG_RING */
    bool threaded;                            /* otherwise gr_message_log_step empties the rings */
    uint64_t (*clock_ms)(void *arg);          /* of segments; NULL: the system's */
    void *clock_arg;
} gr_message_log_options;

GR_MUST_USE gr_err gr_message_log_open(const gr_message_log_options *, gr_arena *, gr_message_log **);
/* Writes what the rings hold; all writers have ended. */
void gr_message_log_close(gr_message_log **);
/* Each writer number belongs to one thread. record->body should be there: event and transaction ids are found
 * in it. */
void gr_message_log_add(gr_message_log *, unsigned writer, const gr_log_record *);
/* Not threaded only: how many records were written. */
size_t gr_message_log_step(gr_message_log *);
/* Any thread. failed: records lost because the disk did not take them. */
typedef struct { uint64_t written, dropped, failed, bytes; } gr_message_log_counters;
void gr_message_log_count(const gr_message_log *, gr_message_log_counters *);

/* --- reading --- */
typedef struct {
    gr_log_record record;                     /* body: blanked, only from `full` */
    gr_str node;
    gr_str tag;                /* the event id or transaction id named in the body; may be empty */
    uint64_t dropped;                         /* records lost right before this one */
} gr_logged;
/* False stops. Views live during the call. */
typedef bool gr_logged_fn(void *arg, const gr_logged *);
/* All records of a folder, segment by segment, oldest first; records of several threads are only roughly in
 * order of time. A segment that ends in the middle of a record (a crash, or it is being written) is read up
 * to there. */
GR_MUST_USE gr_err gr_message_log_read(const char *dir, gr_arena *, gr_logged_fn *, void *arg);
