/* cluster_file.c - reading and writing the cluster file. See cluster_file.h. */
#include "edge/cluster_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>
#include <yaml.h>

typedef struct {
    gr_cluster *cluster;
    yaml_document_t document;
    const char *file;
    gr_config_mistakes *mistakes;
    bool leaves_open, is_silent; /* is_silent: a node does not say which shards it has */
    bool is_bad;
} reader;

typedef struct {
    gr_str name, address, key, shards;
    const yaml_node_t *at, *shards_at;
    bool is_revoked;
} entry;

/* --- reading ------------------------------------------------------------------------------------------------- */
static void mistake_at(reader *r, const yaml_node_t *at, const char *text)
{
    uint32_t line = at ? (uint32_t)at->start_mark.line + 1 : 0, column = at ? (uint32_t)at->start_mark.column + 1 : 0;
    gr_config_mistakes_add(r->mistakes, r->file, line, column, text);
    r->is_bad = true;
}

static void mistake_text(reader *r, const yaml_node_t *at, const char *format, gr_str about)
{
    gr_buf text = {0};
    for (const char *c = format; *c; c++)
        if (*c == '@') gr_buf_str(&text, about);
        else gr_buf_char(&text, *c);
    mistake_at(r, at, gr_arena_str(r->mistakes->memory, gr_buf_view(&text)).ptr);
    gr_buf_free(&text);
}

static yaml_node_t *node_at(reader *r, int index) { return yaml_document_get_node(&r->document, index); }

static gr_str text_of(reader *r, const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE) {
        mistake_at(r, node, "this must be plain text");
        return (gr_str){0};
    }
    return gr_str_of(node->data.scalar.value, node->data.scalar.length);
}

static bool truth_of(reader *r, const yaml_node_t *node)
{
    gr_str text = text_of(r, node);
    if (gr_str_is(text, "true") || gr_str_is(text, "yes")) return true;
    if (!gr_str_is(text, "false") && !gr_str_is(text, "no")) mistake_at(r, node, "revoked is true or false");
    return false;
}

static void read_field(reader *r, entry *e, const yaml_node_t *name_node, yaml_node_t *value)
{
    gr_str name = text_of(r, name_node);
    if (gr_str_is(name, "name")) e->name = text_of(r, value);
    else if (gr_str_is(name, "address")) e->address = text_of(r, value);
    else if (gr_str_is(name, "public_key")) e->key = text_of(r, value);
    else if (gr_str_is(name, "revoked")) e->is_revoked = truth_of(r, value);
    else if (gr_str_is(name, "shards")) {
        e->shards = text_of(r, value);
        e->shards_at = value;
    } else {
        mistake_text(r, name_node, "a node has no key \"@\": it has name, address, public_key, shards and revoked", name);
    }
}

/* "0-85, 200": each part a number or two with a dash. */
static void deal(reader *r, const entry *e)
{
    gr_str rest = e->shards;
    if (gr_str_is(rest, "none")) return;
    while (rest.size) {
        ptrdiff_t comma = gr_str_find(rest, ',');
        gr_str part = comma < 0 ? rest : gr_str_head(rest, (size_t)comma);
        rest = gr_str_from(rest, part.size + 1);
        while (part.size && part.ptr[0] == ' ') part = gr_str_from(part, 1);
        while (part.size && part.ptr[part.size - 1] == ' ') part.size--;
        ptrdiff_t dash = gr_str_find(part, '-');
        uint64_t first = 0, last = 0;
        bool good = dash < 0 ? gr_str_u64(part, &first) && gr_str_u64(part, &last)
                             : gr_str_u64(gr_str_head(part, (size_t)dash), &first)
                                   && gr_str_u64(gr_str_from(part, (size_t)dash + 1), &last);
        if (!good || first > last || last >= GR_SHARDS) {
            mistake_text(r, e->shards_at, "\"@\" is no range of shards: write for example 0-85, or none", part);
            return;
        }
        gr_err err = gr_cluster_deal(r->cluster, r->mistakes->memory, e->name, (unsigned)first, (unsigned)last);
        if (gr_failed(err)) mistake_at(r, e->shards_at, err.text);
    }
}

static void add(reader *r, const entry *e)
{
    if (e->name.size == 0 || e->address.size == 0 || e->key.size == 0) {
        mistake_at(r, e->at, e->name.size == 0      ? "this node has no name"
                             : e->address.size == 0 ? "this node has no address: write host:port"
                                                    : "this node has no public_key: `greenroom init` prints it");
        return;
    }
    gr_err err = gr_cluster_add(r->cluster, r->mistakes->memory, e->name, e->address, e->key, e->is_revoked);
    if (gr_failed(err)) mistake_at(r, e->at, err.text);
}

static void read_nodes(reader *r, yaml_node_t *list)
{
    entry entries[GR_CLUSTER_NODES_MAX];
    unsigned count = 0;
    if (list->type != YAML_SEQUENCE_NODE) {
        mistake_at(r, list, "nodes is a list: each node begins with a dash");
        return;
    }
    for (yaml_node_item_t *item = list->data.sequence.items.start; item < list->data.sequence.items.top; item++) {
        yaml_node_t *node = node_at(r, *item);
        if (node->type != YAML_MAPPING_NODE || count == GR_CLUSTER_NODES_MAX) {
            mistake_at(r, node, count == GR_CLUSTER_NODES_MAX ? "there are too many nodes: 64 at most"
                                                              : "a node has name, address and public_key");
            return;
        }
        entry *e = &entries[count++];
        *e = (entry){.at = node};
        for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++)
            read_field(r, e, node_at(r, p->key), node_at(r, p->value));
        add(r, e);
    }
    for (unsigned i = 0; i < count && !r->is_bad; i++) {
        if (entries[i].shards_at) deal(r, &entries[i]);
        else r->is_silent = r->is_silent || !entries[i].is_revoked;
    }
}

static void read_root(reader *r)
{
    yaml_node_t *root = yaml_document_get_root_node(&r->document), *nodes = NULL;
    if (!root || root->type != YAML_MAPPING_NODE) {
        mistake_at(r, root, "a cluster file has generation and nodes; `greenroom cluster init` makes one");
        return;
    }
    for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top; p++) {
        yaml_node_t *name = node_at(r, p->key), *value = node_at(r, p->value);
        gr_str text = text_of(r, name);
        if (gr_str_is(text, "nodes")) nodes = value;
        else if (!gr_str_is(text, "generation"))
            mistake_text(r, name, "there is no key \"@\" here: a cluster file has generation and nodes", text);
        else if (!gr_str_u64(text_of(r, value), &r->cluster->generation) || r->cluster->generation == 0)
            mistake_at(r, value, "generation is a whole number from 1: raise it with every change");
    }
    if (r->cluster->generation == 0 && !r->is_bad) mistake_at(r, root, "generation is missing: begin with generation: 1");
    if (nodes) read_nodes(r, nodes);
    else mistake_at(r, root, "nodes is missing: the list of the cluster's nodes");
    if (r->is_bad) return;
    gr_cluster whole = *r->cluster;
    gr_cluster_deal_evenly(&whole);
    if (!r->leaves_open || r->is_silent) *r->cluster = whole;
    gr_err err = gr_cluster_check(&whole, r->mistakes->memory);
    if (gr_failed(err)) mistake_at(r, nodes, err.text);
}

static bool parse(gr_cluster *c, gr_str yaml, const char *file, bool leaves_open, gr_config_mistakes *m)
{
    yaml_parser_t parser;
    reader r = {.cluster = c, .file = file, .mistakes = m, .leaves_open = leaves_open};
    gr_cluster_init(c, 0);
    gr_assert(yaml_parser_initialize(&parser));
    yaml_parser_set_input_string(&parser, (const unsigned char *)(yaml.ptr ? yaml.ptr : ""), yaml.size);
    if (yaml_parser_load(&parser, &r.document)) {
        read_root(&r);
        yaml_document_delete(&r.document);
    } else {
        const char *why = gr_arena_printf(m->memory, "this is not YAML: %s", parser.problem ? parser.problem : "unreadable").ptr;
        gr_config_mistakes_add(m, file, (uint32_t)parser.problem_mark.line + 1, (uint32_t)parser.problem_mark.column + 1, why);
        r.is_bad = true;
    }
    yaml_parser_delete(&parser);
    return !r.is_bad;
}

bool gr_cluster_file_parse(gr_cluster *c, gr_str yaml, const char *file, gr_config_mistakes *m)
{
    return parse(c, yaml, file, false, m);
}

static bool read_file(gr_cluster *c, const char *path, bool leaves_open, gr_config_mistakes *m)
{
    gr_buf text = {0};
    char piece[4096];
    size_t n;
    FILE *in = fopen(path, "re");
    if (!in) {
        const char *why = gr_arena_printf(m->memory, "can't open the cluster file (%s)", strerror(errno)).ptr;
        gr_config_mistakes_add(m, path, 0, 0, why);
        return false;
    }
    while (text.size <= GR_CONFIG_BYTES_MAX && (n = fread(piece, 1, sizeof piece, in)) > 0) gr_buf_add(&text, piece, n);
    bool bad = ferror(in) || text.size > GR_CONFIG_BYTES_MAX;
    fclose(in);
    if (bad) gr_config_mistakes_add(m, path, 0, 0, "this can't be a cluster file");
    bool good = !bad && parse(c, gr_buf_view(&text), path, leaves_open, m);
    gr_buf_free(&text);
    return good;
}

bool gr_cluster_file_read(gr_cluster *c, const char *path, gr_config_mistakes *m) { return read_file(c, path, false, m); }

bool gr_cluster_file_read_open(gr_cluster *c, const char *path, gr_config_mistakes *m) { return read_file(c, path, true, m); }

/* --- writing ------------------------------------------------------------------------------------------------- */
static void print_shards(gr_buf *out, const gr_cluster *c, unsigned node)
{
    size_t before = out->size;
    for (unsigned s = 0; s < GR_SHARDS; s++) {
        unsigned last = s;
        if (c->owner[s] != node) continue;
        while (last + 1 < GR_SHARDS && c->owner[last + 1] == node) last++;
        gr_buf_c(out, out->size > before ? ", " : "");
        if (last > s) gr_buf_printf(out, "%u-%u", s, last);
        else gr_buf_printf(out, "%u", s);
        s = last;
    }
    if (out->size == before) gr_buf_c(out, "none");
}

void gr_cluster_file_print_node(gr_buf *out, const gr_cluster *c, unsigned node)
{
    const gr_cluster_node *n = &c->nodes[node];
    char key[64];
    sodium_bin2base64(key, sizeof key, n->public_key, sizeof n->public_key, sodium_base64_VARIANT_ORIGINAL);
    gr_buf_printf(out, "  - name: %s\n    address: \"%s\"\n    public_key: %s\n    shards: ", n->name, n->address, key);
    print_shards(out, c, node);
    gr_buf_c(out, n->is_revoked ? "\n    revoked: true\n" : "\n");
}

void gr_cluster_file_print(gr_buf *out, const gr_cluster *c)
{
    gr_buf_printf(out, "# The nodes of this cluster: the same file on all of them. See docs/cluster.md.\n"
                       "# Raise the generation with every change; nodes with different files do not talk to each other.\n"
                       "generation: %llu\nnodes:\n", (unsigned long long)c->generation);
    for (unsigned i = 0; i < c->node_count; i++) gr_cluster_file_print_node(out, c, i);
}

gr_err gr_cluster_file_write(gr_arena *a, const char *path, const gr_cluster *c)
{
    const char *fresh = gr_arena_printf(a, "%s.new", path).ptr;
    gr_buf text = {0};
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return gr_failf(a, GR_UNAVAILABLE, "can't write %s: %s", fresh, strerror(errno));
    gr_cluster_file_print(&text, c);
    bool good = write(fd, text.ptr, text.size) == (ssize_t)text.size && fsync(fd) == 0 && rename(fresh, path) == 0;
    int problem = errno;
    close(fd);
    gr_buf_free(&text);
    if (good) return gr_ok();
    unlink(fresh);
    return gr_failf(a, GR_UNAVAILABLE, "can't write %s: %s", path, strerror(problem));
}
