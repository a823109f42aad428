/* appservice.c - registration files of application services. See appservice.h. */
#include "edge/appservice.h"

#include "proto/ident.h"
#include "proto/sha256.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

struct gr_appservices {
    gr_appservice *all;
    size_t count;
};

typedef struct {
    gr_arena *arena;
    yaml_document_t document;
    const char *file;
    gr_str server_name;
} reader;

/* --- reading ----------------------------------------------------------------------------------------------- */
static gr_err wrong(reader *r, const char *what)
{
    return gr_failf(r->arena, GR_INVALID_PARAM, "%s: %s", r->file, what);
}

static yaml_node_t *member(reader *r, yaml_node_t *map, const char *name)
{
    if (!map || map->type != YAML_MAPPING_NODE) return NULL;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        yaml_node_t *key = yaml_document_get_node(&r->document, p->key);
        if (key->type == YAML_SCALAR_NODE && strcmp((const char *)key->data.scalar.value, name) == 0)
            return yaml_document_get_node(&r->document, p->value);
    }
    return NULL;
}

/* Empty when it is not there or no plain text. */
static gr_str text_of(reader *r, yaml_node_t *map, const char *name)
{
    yaml_node_t *node = member(r, map, name);
    if (!node || node->type != YAML_SCALAR_NODE) return (gr_str){0};
    return gr_arena_str(r->arena, gr_str_of(node->data.scalar.value, node->data.scalar.length));
}

/* A pattern has to fit the whole id. */
static gr_err read_pattern(reader *r, yaml_node_t *entry, gr_appservice *a)
{
    gr_str pattern = text_of(r, entry, "regex"), exclusive = text_of(r, entry, "exclusive");
    if (pattern.size == 0 || a->user_count == GR_APPSERVICE_PATTERNS_MAX)
        return wrong(r, pattern.size ? "it has too many patterns for users" : "a pattern for users has no `regex`");
    gr_str whole = gr_arena_printf(r->arena, "^(%" GR_FMT ")$", GR_ARG(pattern));
    if (regcomp(&a->users[a->user_count].regex, whole.ptr, REG_EXTENDED | REG_NOSUB) != 0)
        return gr_failf(r->arena, GR_INVALID_PARAM, "%s: `%" GR_FMT "` is not a pattern that can be used here", r->file,
                        GR_ARG(pattern));
    a->users[a->user_count++].is_exclusive = gr_str_is(exclusive, "true") || gr_str_is(exclusive, "yes");
    return gr_ok();
}

static gr_err read_root(reader *r, yaml_node_t *root, gr_appservice *a)
{
    gr_str token = text_of(r, root, "as_token"), sender = text_of(r, root, "sender_localpart");
    a->id = text_of(r, root, "id");
    a->sender = gr_arena_printf(r->arena, "@%" GR_FMT ":%" GR_FMT, GR_ARG(sender), GR_ARG(r->server_name));
    if (a->id.size == 0 || token.size == 0 || sender.size == 0)
        return wrong(r, "a registration needs id, as_token and sender_localpart");
    gr_sha256(token.ptr, token.size, a->token_hash);
    explicit_bzero((char *)token.ptr, token.size);
    yaml_node_t *users = member(r, member(r, root, "namespaces"), "users");
    if (!users || users->type != YAML_SEQUENCE_NODE) return gr_ok();
    for (yaml_node_item_t *item = users->data.sequence.items.start; item < users->data.sequence.items.top; item++) {
        gr_err err = read_pattern(r, yaml_document_get_node(&r->document, *item), a);
        if (gr_failed(err)) return err;
    }
    return gr_ok();
}

static gr_err read_file(reader *r, gr_appservice *a)
{
    yaml_parser_t parser;
    FILE *file = fopen(r->file, "r");
    if (!file) return gr_failf(r->arena, GR_INVALID_PARAM, "can't read %s: %s", r->file, strerror(errno));
    gr_assert(yaml_parser_initialize(&parser));
    yaml_parser_set_input_file(&parser, file);
    gr_err err = wrong(r, "it is no YAML");
    if (yaml_parser_load(&parser, &r->document)) {
        err = read_root(r, yaml_document_get_root_node(&r->document), a);
        yaml_document_delete(&r->document);
    }
    yaml_parser_delete(&parser);
    fclose(file);
    return err;
}

gr_err gr_appservices_read(gr_arena *arena, const gr_config_list *files, gr_str server_name, gr_appservices **out)
{
    gr_err err = gr_ok();
    *out = NULL;
    if (files->count == 0) return err;
    if (files->count > GR_APPSERVICES_MAX) return gr_fail(GR_INVALID_PARAM, "there are too many application services");
    gr_appservices *s = *out = gr_alloc(sizeof *s);
    s->all = gr_alloc(files->count * sizeof *s->all);
    for (size_t i = 0; i < files->count && !gr_failed(err); i++) {
        reader r = {.arena = arena, .file = files->at[i], .server_name = server_name};
        err = read_file(&r, &s->all[s->count++]);
    }
    if (gr_failed(err)) gr_appservices_free(out);
    return err;
}

void gr_appservices_free(gr_appservices **at)
{
    gr_appservices *s = *at;
    if (!s) return;
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < s->all[i].user_count; k++) regfree(&s->all[i].users[k].regex);
    free(s->all);
    free(s);
    *at = NULL;
}

/* --- asking ------------------------------------------------------------------------------------------------ */
const gr_appservice *gr_appservices_find(const gr_appservices *s, gr_str token)
{
    unsigned char hash[GR_SHA256_SIZE];
    const gr_appservice *found = NULL;
    if (!s || token.size == 0) return NULL;
    gr_sha256(token.ptr, token.size, hash);
    for (size_t i = 0; i < s->count; i++)
        if (sodium_memcmp(hash, s->all[i].token_hash, sizeof hash) == 0) found = &s->all[i];
    return found;
}

static bool fits(const gr_appservice *a, gr_str user, bool exclusive_only)
{
    char text[GR_IDENT_MAX + 1];
    if (user.size > GR_IDENT_MAX || memchr(user.ptr, 0, user.size)) return false;
    memcpy(text, user.ptr, user.size);
    text[user.size] = 0;
    for (size_t i = 0; i < a->user_count; i++)
        if ((a->users[i].is_exclusive || !exclusive_only) && regexec(&a->users[i].regex, text, 0, NULL, 0) == 0) return true;
    return gr_str_eq(user, a->sender);
}

bool gr_appservice_owns(const gr_appservice *a, gr_str user) { return fits(a, user, false); }

bool gr_appservices_exclusive(const gr_appservices *s, gr_str user)
{
    for (size_t i = 0; s && i < s->count; i++)
        if (fits(&s->all[i], user, true)) return true;
    return false;
}
