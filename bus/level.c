/* level.c - reading and raising the feature level of a node. See level.h. */
#include "bus/level.h"

#define ROW GR_STR("level")

static gr_err write_row(gr_store *store, uint32_t level)
{
    gr_arena *a = gr_arena_new(0);
    gr_buf value = {0};
    gr_ops ops = {0};
    gr_buf_u32be(&value, level);
    gr_ops_put(&ops, gr_key_node(a, ROW), gr_buf_view(&value));
    gr_err err = gr_store_write(store, &ops);
    gr_ops_free(&ops);
    gr_buf_free(&value);
    gr_arena_free(&a);
    return err;
}

/* A store that has no such row begins at the lowest: the other nodes may not understand more. */
static gr_err read_row(gr_store *store, uint32_t lowest, gr_arena *a, uint32_t *level)
{
    gr_str value;
    *level = lowest;
    gr_err err = gr_store_get(store, gr_key_node(a, ROW), a, &value);
    if (gr_failed(err) || !value.ptr) return err;
    if (value.size != 4) return gr_fail(GR_BAD_STATE, "the store's record of its feature level is damaged");
    *level = gr_u32be(value.ptr);
    return gr_ok();
}

gr_err gr_level_open(gr_level *l, gr_store *store, uint32_t low, uint32_t high, bool is_alone, gr_arena *a)
{
    uint32_t level;
    gr_assert(low > 0 && low <= high);
    gr_err err = read_row(store, low, a, &level);
    l->store = store;
    l->low = low;
    l->high = high;
    pthread_mutex_init(&l->lock, NULL);
    atomic_store(&l->now, level);
    if (gr_failed(err)) return err;
    if (level > high)
        return gr_failf(a, GR_BAD_STATE, "the store is at feature level %u, and this greenroom understands levels up to %u: an "
                        "upgrade was finished, so use the newer one", level, high);
    if (level < low)
        return gr_failf(a, GR_BAD_STATE, "the store is at feature level %u, and this greenroom understands levels from %u on: "
                        "finish the upgrade to the version before it first", level, low);
    return gr_level_raise(l, is_alone ? high : level);
}

void gr_level_close(gr_level *l)
{
    if (l->store) pthread_mutex_destroy(&l->lock);
    l->store = NULL;
}

gr_err gr_level_raise(gr_level *l, uint32_t to)
{
    gr_err err = gr_ok();
    gr_assert(to <= l->high);
    pthread_mutex_lock(&l->lock);
    if (to > atomic_load(&l->now)) {
        err = write_row(l->store, to);
        if (!gr_failed(err)) atomic_store(&l->now, to);
    }
    pthread_mutex_unlock(&l->lock);
    return err;
}
