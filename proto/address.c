/* address.c - addresses of actors. See address.h. */
#include "proto/address.h"

static const struct { const char *name; size_t size; bool per_shard; } kinds[GR_KIND_COUNT] = {
    {"none", 4, false},
#define X(name, wire, per_shard) {wire, sizeof(wire) - 1, per_shard},
    GR_KINDS(X)
#undef X
};

gr_kind gr_address_kind(gr_str address)
{
    ptrdiff_t slash = gr_str_find(address, '/');
    if (slash <= 0) return GR_KIND_NONE;
    for (int k = 1; k < GR_KIND_COUNT; k++)
        if (kinds[k].size == (size_t)slash && memcmp(address.ptr, kinds[k].name, (size_t)slash) == 0) return (gr_kind)k;
    return GR_KIND_NONE;
}

gr_str gr_address_id(gr_str address)
{
    ptrdiff_t slash = gr_str_find(address, '/');
    return slash < 0 ? (gr_str){0} : gr_str_from(address, (size_t)slash + 1);
}

/* One text per number: "feed/017" would be a second actor for the rows of shard 17. */
static bool shard_number(gr_str id, uint64_t *shard)
{
    return gr_str_u64(id, shard) && *shard < GR_SHARDS && (id.size == 1 || id.ptr[0] != '0');
}

bool gr_address_valid(gr_str address)
{
    gr_kind kind = gr_address_kind(address);
    gr_str id = gr_address_id(address);
    uint64_t shard = 0;
    if (kind == GR_KIND_NONE || id.size == 0 || address.size > GR_ADDRESS_MAX) return false;
    return !kinds[kind].per_shard || shard_number(id, &shard);
}

uint8_t gr_id_shard(gr_str id) { return (uint8_t)(gr_str_hash(id) % GR_SHARDS); }

uint8_t gr_address_shard(gr_str address)
{
    gr_kind kind = gr_address_kind(address);
    gr_assert(kind != GR_KIND_NONE && kind != GR_KIND_EDGE);
    gr_str id = gr_address_id(address);
    uint64_t shard = 0;
    if (kinds[kind].per_shard) {
        bool number = shard_number(id, &shard);
        gr_assert(number);
        return (uint8_t)shard;
    }
    for (size_t i = 0; i + 6 <= id.size; i++)
        if (memcmp(id.ptr + i, "/flow/", 6) == 0) id.size = i;
    return gr_id_shard(id);
}

const char *gr_kind_name(gr_kind kind) { return kinds[kind].name; }

gr_str gr_address(gr_arena *a, gr_kind kind, gr_str id)
{
    return gr_arena_cat(a, 3, (gr_str[]){gr_str_c(kinds[kind].name), GR_STR("/"), id});
}

gr_str gr_address_of_shard(gr_arena *a, gr_kind kind, uint8_t shard)
{
    gr_assert(kinds[kind].per_shard);
    return gr_arena_printf(a, "%s/%u", kinds[kind].name, shard);
}
