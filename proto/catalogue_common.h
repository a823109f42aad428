/* catalogue_common.h - messages that any actor may send or get. See catalogue.h. */
#pragma once

#define GR_MESSAGES_COMMON(M) \
    M(1, error, false, "An ask failed: the Matrix error code (number of gr_errcode), a text for people") \
    M(2, done, false, "An ask worked and there is nothing to tell") \
    M(3, result, false, "An answer that is JSON text, ready to be spliced into a response") \
    M(4, inspect, true, "What an actor has to say of itself; every kind answers with result") \
    M(5, work_done, false, "Work given to a pool has ended: its output, and the resume value of who gave it") \
    M(6, timer, false, "A timer of the actor is due") \
    M(12, answer_moved, false, "Not the answer to an ask yet: it will come from this shard, to which the ask was posted on") \
    M(8, post_ack, false, "Between workers: the posts of these pairs of shards up to these numbers are durably applied") \
    M(9, post_where, false, "Between workers: up to which number were the posts of these pairs applied") \
    M(10, post_at, false, "Between workers: applied up to here, send what follows again; answers post_where, and a gap") \
    M(11, post_stop, false, "Between workers: the numbers of these pairs do not fit what is stored; the pairs are stopped") \
    M(14, upkeep_step, false, "From the worker: do a bounded step of the upkeep of this name; answered with upkeep_done") \
    M(15, upkeep_done, false, "What the step of an upkeep did, and whether the actor has no more of it to do")

#define GR_FIELDS_error(F, L) \
    F(u64, code, PLAIN, 1) F(str, text, PLAIN, 1) F(u64, retry_after_ms, PLAIN, 1) F(str, extra, PLAIN, 1)
#define GR_FIELDS_done(F, L)
#define GR_FIELDS_result(F, L) F(str, body, CONTENT, 1)
#define GR_FIELDS_inspect(F, L)
#define GR_FIELDS_work_done(F, L) F(str, output, SECRET, 1) F(bool, failed, PLAIN, 1)
#define GR_FIELDS_timer(F, L) F(str, name, PLAIN, 1) F(u64, due_ms, PLAIN, 1)
#define GR_FIELDS_answer_moved(F, L) F(u64, shard, PLAIN, 1)
/* pairs: for each pair of shards four numbers: sender shard, receiver shard, number, incarnation of the sender shard. */
#define GR_FIELDS_post_ack(F, L) F(u64s, pairs, PLAIN, 1)
#define GR_FIELDS_post_where(F, L) F(u64s, pairs, PLAIN, 1)
#define GR_FIELDS_post_at(F, L) F(u64s, pairs, PLAIN, 1)
#define GR_FIELDS_post_stop(F, L) F(u64s, pairs, PLAIN, 1)
#define GR_FIELDS_upkeep_step(F, L) F(str, name, PLAIN, 1)
/* skipped: records that it cannot work on, each with the reason. */
#define GR_FIELDS_upkeep_done(F, L) F(bool, finished, PLAIN, 1) F(u64, worked, PLAIN, 1) F(strs, skipped, PLAIN, 1)
