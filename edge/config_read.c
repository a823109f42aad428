/* config_read.c - the configuration from YAML and from the environment. See config.h. */
#include "edge/config.h"

#include <errno.h>
#include <stdlib.h>
#include <yaml.h>

enum { DEPTH_MAX = 4 };

typedef struct {
    gr_config *config;
    yaml_document_t document;
    const char *file;
    gr_config_mistakes *mistakes;
    bool *seen; /* one per key of the table */
} reader;

static void mistake_at(reader *r, const yaml_mark_t *mark, const char *text)
{
    gr_config_mistakes_add(r->mistakes, r->file, (uint32_t)mark->line + 1, (uint32_t)mark->column + 1, text);
}

static gr_str scalar_of(const yaml_node_t *node)
{
    return gr_str_of(node->data.scalar.value, node->data.scalar.length);
}

/* Is there a key that begins with "name."? */
static bool is_section(gr_str name)
{
    size_t count;
    const gr_config_key *keys = gr_config_keys(&count);
    for (size_t i = 0; i < count; i++) {
        gr_str key = gr_str_c(keys[i].name);
        if (key.size > name.size && gr_str_starts(key, name) && key.ptr[name.size] == '.') return true;
    }
    return false;
}

/* A YAML list as the text with commas that gr_config_set takes. */
static bool list_text(reader *r, const yaml_node_t *node, gr_str *out)
{
    *out = (gr_str){0};
    for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top;
         item++) {
        yaml_node_t *entry = yaml_document_get_node(&r->document, *item);
        if (entry->type != YAML_SCALAR_NODE || gr_str_find(scalar_of(entry), ',') >= 0) {
            mistake_at(r, &entry->start_mark, "an entry of this list must be a text without a comma");
            return false;
        }
        *out = gr_arena_printf(r->config->memory, "%" GR_FMT "%s%" GR_FMT, GR_ARG(*out), out->size ? "," : "",
                               GR_ARG(scalar_of(entry)));
    }
    return true;
}

/* One map of a table. */
static void read_row(reader *r, const gr_config_key *table, const yaml_node_t *node, void *row)
{
    gr_arena *a = r->mistakes->memory;
    bool *seen = gr_arena_alloc(a, table->column_count);
    gr_config_row_init(r->config, table, row);
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        yaml_node_t *name = yaml_document_get_node(&r->document, pair->key);
        yaml_node_t *value = yaml_document_get_node(&r->document, pair->value);
        gr_str text = {0};
        if (value->type == YAML_SEQUENCE_NODE) {
            if (!list_text(r, value, &text)) continue;
        } else if (value->type == YAML_SCALAR_NODE && name->type == YAML_SCALAR_NODE) text = scalar_of(value);
        else {
            mistake_at(r, &value->start_mark, "the value of this key must be a text or a list of texts");
            continue;
        }
        gr_err e = gr_config_row_set(r->config, table, row, scalar_of(name), text);
        if (gr_failed(e)) mistake_at(r, &value->start_mark, e.text);
        for (size_t i = 0; i < table->column_count; i++) seen[i] |= gr_str_is(scalar_of(name), table->columns[i].name);
    }
    for (size_t i = 0; i < table->column_count; i++)
        if (table->columns[i].needed && !seen[i])
            mistake_at(r, &node->start_mark,
                       gr_arena_printf(a, "this entry of %s lacks %s", table->name, table->columns[i].name).ptr);
}

static bool id_taken(const gr_config_key *table, const char *rows, size_t count, const char *id)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(*(const char *const *)(rows + i * table->row_size + table->columns[0].offset), id) == 0) return true;
    return false;
}

/* A list of maps, each with an id of its own (the first column). */
static void read_table(reader *r, const gr_config_key *table, const yaml_node_t *node)
{
    gr_arena *a = r->mistakes->memory;
    struct { void *at; size_t count; } *field = (void *)((char *)r->config + table->offset);
    yaml_node_item_t *item = node->data.sequence.items.start;
    size_t room = (size_t)(node->data.sequence.items.top - item), count = 0;
    if (node->type != YAML_SEQUENCE_NODE || room > table->row_max) {
        mistake_at(r, &node->start_mark,
                   gr_arena_printf(a, "%s must be a list of at most %zu entries", table->name, table->row_max).ptr);
        return;
    }
    char *rows = gr_arena_alloc(r->config->memory, room * table->row_size);
    for (; item < node->data.sequence.items.top; item++) {
        yaml_node_t *entry = yaml_document_get_node(&r->document, *item);
        char *row = rows + count * table->row_size;
        if (entry->type != YAML_MAPPING_NODE) {
            mistake_at(r, &entry->start_mark,
                       gr_arena_printf(a, "an entry of %s must consist of lines like `id: name`", table->name).ptr);
            continue;
        }
        read_row(r, table, entry, row);
        const char *id = *(const char *const *)(row + table->columns[0].offset);
        if (id_taken(table, rows, count, id))
            mistake_at(r, &entry->start_mark, gr_arena_printf(a, "there is another entry with the id %s", id).ptr);
        else count++;
    }
    field->at = rows;
    field->count = count;
}

static void read_value(reader *r, const gr_config_key *key, const yaml_node_t *name, const yaml_node_t *node)
{
    size_t count, place = (size_t)(key - gr_config_keys(&count));
    gr_arena *a = r->mistakes->memory;
    gr_str text = {0};
    if (r->seen[place]) {
        mistake_at(r, &name->start_mark,
                   gr_arena_printf(a, "%s stands here a second time: keep one of the two", key->name).ptr);
        return;
    }
    r->seen[place] = true;
    if (key->type == GR_CONFIG_TABLE) {
        read_table(r, key, node);
        return;
    }
    if (node->type == YAML_SEQUENCE_NODE && key->type == GR_CONFIG_LIST) {
        if (!list_text(r, node, &text)) return;
    } else if (node->type != YAML_SCALAR_NODE) {
        mistake_at(r, &node->start_mark,
                   gr_arena_printf(a, "%s must be %s, not a %s", key->name, gr_config_type_name(key),
                                   node->type == YAML_MAPPING_NODE ? "section" : "list")
                       .ptr);
        return;
    } else {
        text = scalar_of(node);
        if (text.size == 0 && key->otherwise[0]) {
            mistake_at(r, &name->start_mark,
                       gr_arena_printf(a,
                                       "%s has no value: write one, or remove the line for the "
                                       "default (%s)",
                                       key->name, key->otherwise)
                           .ptr);
            return;
        }
    }
    gr_err e = gr_config_set(r->config, gr_str_c(key->name), text);
    if (gr_failed(e)) mistake_at(r, &node->start_mark, e.text);
}

static void read_unknown(reader *r, gr_str name, const yaml_node_t *at)
{
    gr_err e = gr_config_set(r->config, name, (gr_str){0});
    gr_assert(gr_failed(e));
    mistake_at(r, &at->start_mark, e.text);
}

static void read_section(reader *r, gr_str prefix, const yaml_node_t *node, int depth)
{
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top;
         pair++) {
        yaml_node_t *name = yaml_document_get_node(&r->document, pair->key);
        yaml_node_t *value = yaml_document_get_node(&r->document, pair->value);
        if (name->type != YAML_SCALAR_NODE) {
            mistake_at(r, &name->start_mark, "the name of a key must be plain text");
            continue;
        }
        gr_str full = gr_arena_printf(r->config->memory, "%" GR_FMT "%s%" GR_FMT, GR_ARG(prefix),
                                      prefix.size ? "." : "", GR_ARG(scalar_of(name)));
        const gr_config_key *key = gr_config_key_find(full);
        if (key) read_value(r, key, name, value);
        else if (!is_section(full)) read_unknown(r, full, name);
        else if (value->type == YAML_MAPPING_NODE && depth < DEPTH_MAX)
            read_section(r, full, value, depth + 1);
        else if (value->type != YAML_SCALAR_NODE || value->data.scalar.length)
            mistake_at(r, &value->start_mark,
                       gr_arena_printf(
                           r->mistakes->memory,
                           "%s is a section: its keys go on the next lines, indented by two blanks", full.ptr)
                           .ptr);
    }
}

static void read_document(reader *r)
{
    yaml_node_t *root = yaml_document_get_root_node(&r->document);
    if (!root) return; /* nothing but comments */
    if (root->type == YAML_MAPPING_NODE) read_section(r, (gr_str){0}, root, 0);
    else mistake_at(r, &root->start_mark, "this file must consist of lines like `server_name: example.org`");
}

void gr_config_parse(gr_config *c, gr_str yaml, const char *file, gr_config_mistakes *m)
{
    yaml_parser_t parser;
    reader r = {.config = c, .file = file, .mistakes = m};
    size_t count;
    gr_config_keys(&count);
    gr_assert(yaml_parser_initialize(&parser));
    yaml_parser_set_input_string(&parser, (const unsigned char *)(yaml.ptr ? yaml.ptr : ""), yaml.size);
    if (!yaml_parser_load(&parser, &r.document)) {
        gr_str text = gr_arena_printf(m->memory, "this is not YAML: %s%s%s",
                                      parser.problem ? parser.problem : "unreadable",
                                      parser.context ? ", " : "", parser.context ? parser.context : "");
        mistake_at(&r, &parser.problem_mark, text.ptr);
        yaml_parser_delete(&parser);
        return;
    }
    r.seen = gr_alloc(count * sizeof *r.seen);
    read_document(&r);
    free(r.seen);
    yaml_document_delete(&r.document);
    yaml_parser_delete(&parser);
}

gr_str gr_config_variable(gr_arena *a, const gr_config_key *key)
{
    gr_str name = gr_arena_printf(a, "GREENROOM_%s", key->name);
    char *out = gr_arena_alloc(a, name.size + 1);
    for (size_t i = 0; i < name.size; i++) {
        char b = name.ptr[i];
        out[i] = b == '.' ? '_' : b >= 'a' && b <= 'z' ? (char)(b - 32) : b;
    }
    return gr_str_of(out, name.size);
}

void gr_config_environment(gr_config *c, char *const *environment, gr_config_mistakes *m)
{
    size_t count;
    const gr_config_key *keys = gr_config_keys(&count);
    for (; environment && *environment; environment++) {
        gr_str line = gr_str_c(*environment);
        ptrdiff_t equals = gr_str_find(line, '=');
        if (!gr_str_starts(line, GR_STR("GREENROOM_")) || equals < 0) continue;
        for (size_t i = 0; i < count; i++) {
            gr_str name = gr_config_variable(m->memory, &keys[i]);
            if (!gr_str_eq(name, gr_str_head(line, (size_t)equals))) continue;
            gr_err e = gr_config_set(c, gr_str_c(keys[i].name), gr_str_from(line, (size_t)equals + 1));
            if (gr_failed(e))
                gr_config_mistakes_add(m, gr_arena_printf(m->memory, "environment variable %s", name.ptr).ptr,
                                       0, 0, e.text);
        }
    }
}

static bool read_file(const char *path, gr_buf *out, gr_config_mistakes *m)
{
    FILE *in = fopen(path, "re");
    char piece[4096];
    size_t n;
    const char *problem = NULL;
    if (!in) {
        gr_str text = gr_arena_printf(m->memory,
                                      "can't open it (%s); `greenroom init DIR --server-name NAME` makes one",
                                      strerror(errno));
        gr_config_mistakes_add(m, path, 0, 0, text.ptr);
        return false;
    }
    while (out->size <= GR_CONFIG_BYTES_MAX && (n = fread(piece, 1, sizeof piece, in)) > 0)
        gr_buf_add(out, piece, n);
    if (out->size > GR_CONFIG_BYTES_MAX) problem = "this file is too long for a configuration (1 MB at most)";
    else if (ferror(in)) problem = "can't read it: is it a directory, or the disk damaged?";
    fclose(in);
    if (problem) gr_config_mistakes_add(m, path, 0, 0, problem);
    return !problem;
}

bool gr_config_load(gr_config *c, const char *dir, char *const *environment, gr_config_mistakes *m)
{
    size_t before = m->count;
    gr_buf text = {0};
    gr_config_init(c, dir);
    const char *path = gr_arena_printf(c->memory, "%s/" GR_CONFIG_FILE, dir).ptr;
    if (read_file(path, &text, m)) {
        gr_config_parse(c, gr_buf_view(&text), path, m);
        gr_config_environment(c, environment, m);
        gr_config_check(c, path, m);
    }
    gr_buf_free(&text);
    return m->count == before;
}
