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
    GR_MESSAGE_LOG_NODE_MAX = 127,
};

typedef struct gr_message_log gr_message_log;
typedef struct {
    const char *dir;                          /* of the segments; made when missing */
    const char *node;                         /* its name, at most GR_MESSAGE_LOG_NODE_MAX bytes */
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
/* How far the clock of another node is from this one's: traces over several nodes are drawn with these. */
typedef struct {
    gr_str peer;
    uint64_t at_us, rtt_us;                   /* when it was measured, by the own clock, and how exactly */
    int64_t offset_us;                        /* the peer's clock minus the own one */
} gr_log_clock;
void gr_message_log_clock(gr_message_log *, unsigned writer, const gr_log_clock *);
/* Not threaded only: how many records were written. */
size_t gr_message_log_step(gr_message_log *);
/* Any thread. failed: records lost because the disk did not take them; removed: old segments. */
typedef struct { uint64_t written, dropped, failed, bytes, removed; } gr_message_log_counters;
void gr_message_log_count(const gr_message_log *, gr_message_log_counters *);

/* --- reading --- */
typedef struct {
    gr_log_record record;                     /* body: blanked, only from `full` */
    gr_str node;
    gr_str tag;                /* the event id or transaction id named in the body; may be empty */
    uint64_t dropped;                         /* records lost right before this one */
} gr_logged;
/* Called for each record, and each measurement of a clock. False stops. Views live during the call. */
typedef struct {
    bool (*message)(void *arg, const gr_logged *);
    void (*clock)(void *arg, gr_str node, const gr_log_clock *);   /* may be NULL */
    void *arg;
} gr_log_reader;

/* A place between two entries of a folder: the segment's number, and bytes of it. */
typedef struct { uint64_t segment, offset; } gr_log_place;

/* All records of a folder, segment by segment, oldest first; records of several threads are only roughly in
 * order of time. from, to: only those between these places; NULL: no bound. Clocks before `from` are told too.
 * end: where the reading ended; may be NULL. A segment that ends in the middle of a record (a crash, or it is
 * being written) is read up to there. GR_NOT_FOUND: there is no such folder. */
GR_MUST_USE gr_err gr_message_log_read(const char *dir, gr_arena *, const gr_log_place *from,
                                       const gr_log_place *to, const gr_log_reader *, gr_log_place *end);
/* The same of one segment in memory. */
void gr_message_log_read_segment(gr_str bytes, const gr_log_reader *);
