/* join_fuzz.c - any bytes as the answer to send_join: read in two parts it comes to the same as read at once, and to an end.
 * What is left of an answer that makes no sense does not matter.
 *
 * Input: room version (1), where to cut (1, in 256ths), the answer.
 */
#include "actors/env.h"
#include "actors/join/join_private.h"
#include "bus/work.h"
#include "persistence/memory_engine.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TURNS_MAX = 100000 };

static gr_arena *opened;              /* what the store was opened with */
static gr_store *store;
static gr_env env;

static void open_store(void)
{
    opened = gr_arena_new(0);
    gr_store_options options = {.server_name = GR_STR("here"), .create = true, .incarnation = 1,
                                .engine = gr_memory_engine_new(gr_memory_disk_new(), &(gr_memory_options){.seed = 1})};
    gr_err err = gr_store_open(&options, opened, &store);
    gr_assert(!gr_failed(err));
    env.server_name = GR_STR("here");
}

static void handed_back(void *arg, gr_job *job) { (void)arg, (void)job; }

typedef struct { uint64_t mode, members_omitted, staged, bad; gr_buf rest; } reading;

static void read_once(reading *r, gr_str version, bool *is_full)
{
    gr_str address = GR_STR("join/!room:there");
    gr_join_read got;
    gr_job *job = gr_alloc(sizeof *job);
    *job = (gr_job){.work = &gr_join_reply_work, .actor = {gr_str_dup(address), address.size}, .store = store, .env = &env,
                    .shard = gr_address_shard(address), .hand_back = handed_back};
    gr_join_reply_input(&job->input, 1, &(gr_join_part){.mode = r->mode, .members_omitted = r->members_omitted,
                                                        .version = version, .event_id = GR_STR("$own"),
                                                        .text = gr_buf_view(&r->rest)});
    gr_job_run(job);
    gr_assert(!job->failed);
    gr_join_reply_output(gr_buf_view(&job->output), &got);
    gr_assert(got.read <= r->rest.size && (!got.is_full || got.read));
    gr_buf left = {0};
    gr_buf_str(&left, gr_str_from(gr_buf_view(&r->rest), (size_t)got.read));
    gr_buf_free(&r->rest);
    r->rest = left;
    r->mode = got.mode;
    r->members_omitted = got.members_omitted;
    r->staged += got.staged;
    r->bad += got.bad;
    *is_full = got.is_full;
    gr_job_free(&job);
}

static void read_part(reading *r, gr_str version, gr_str text)
{
    bool is_full = true;
    gr_buf_str(&r->rest, text);
    for (int i = 0; is_full; i++) {
        gr_assert(i < TURNS_MAX);
        read_once(r, version, &is_full);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    reading whole = {.mode = 0}, parts = {.mode = 0};
    if (size < 2) return 0;
    if (!store) open_store();
    gr_str version = gr_str_c(gr_room_version_at(data[0] % GR_ROOM_VERSION_COUNT)->id);
    gr_str text = gr_str_of((const char *)data + 2, size - 2);
    size_t cut = text.size * data[1] / 256;
    read_part(&whole, version, text);
    read_part(&parts, version, gr_str_head(text, cut));
    read_part(&parts, version, gr_str_from(text, cut));
    gr_assert(whole.mode == parts.mode && whole.staged == parts.staged && whole.bad == parts.bad);
    gr_assert(whole.members_omitted == parts.members_omitted);
    gr_buf_free(&whole.rest);
    gr_buf_free(&parts.rest);
    return 0;
}
