/* oauth_fuzz.c - any bytes as scope, redirect URI and metadata of a client: what is registered stands a second reading. */
#include "proto/oauth.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_scope(gr_arena *arena, gr_str text)
{
    gr_oauth_scope scope, again;
    if (gr_oauth_scope_read(arena, text, &scope)) return;
    gr_assert(scope.device.size && gr_oauth_scope_has_api(scope.granted));
    gr_assert(!gr_oauth_scope_read(arena, scope.granted, &again));
    gr_assert(gr_str_eq(scope.device, again.device) && gr_str_eq(scope.granted, again.granted));
}

static void try_client(gr_arena *arena, gr_str text)
{
    const gr_json *request = NULL, *metadata = NULL;
    gr_str out, again;
    if (gr_failed(gr_json_parse(arena, text, GR_JSON_LAX, &request)) || gr_oauth_client_read(arena, request, &out).error) return;
    gr_assert(!gr_failed(gr_json_parse(arena, out, GR_JSON_LAX, &metadata)));
    gr_assert(!gr_oauth_client_read(arena, metadata, &again).error && gr_str_eq(out, again));
    const gr_json *uris = gr_json_get(metadata, "redirect_uris");
    for (uint32_t i = 0; uris && i < uris->count; i++) {
        gr_str uri = gr_json_string(&uris->items[i]);
        gr_assert(gr_oauth_redirect_known(metadata, uri) && gr_oauth_uri_where(uri).size);
        gr_assert(gr_str_find(uri, '#') < 0 && gr_str_find(uri, '\\') < 0 && gr_str_find(uri, ' ') < 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gr_arena *arena = gr_arena_new(0);
    /* An own copy on the heap, so that a read past the end is seen. */
    char *copy = malloc(size ? size : 1);
    if (size) memcpy(copy, data, size);
    try_scope(arena, (gr_str){copy, size});
    try_client(arena, (gr_str){copy, size});
    gr_oauth_uri_where((gr_str){copy, size});
    free(copy);
    gr_arena_free(&arena);
    return 0;
}
