/* config_write.c - the commented file of `greenroom init`, and docs/configuration.md. See config.h. */
#include "edge/config.h"

const char *gr_config_type_name(const gr_config_key *key)
{
    switch (key->type) {
    case GR_CONFIG_TEXT:
    case GR_CONFIG_SECRET: return "text";
    case GR_CONFIG_SERVER_NAME: return "server name";
    case GR_CONFIG_URL: return "URL";
    case GR_CONFIG_PATH: return "path";
    case GR_CONFIG_ADDRESS: return "address:port or off";
    case GR_CONFIG_CHOICE:
    case GR_CONFIG_WORD: return key->choices;
    case GR_CONFIG_SWITCH: return "on or off";
    case GR_CONFIG_COUNT: return "whole number";
    case GR_CONFIG_REAL: return "number";
    case GR_CONFIG_SIZE: return "size (KB, MB, GB)";
    case GR_CONFIG_DURATION: return "duration (ms, s, m, h, d)";
    case GR_CONFIG_LIST: return "list of texts";
    case GR_CONFIG_TABLE: return "list of entries";
    }
    return "";
}

static void indent(gr_buf *out, size_t depth)
{
    for (size_t i = 0; i < depth; i++) gr_buf_c(out, "  ");
}

/* Text broken at blanks into lines of at most 96 bytes, each after the indent and "# ". */
static void comment(gr_buf *out, size_t depth, const char *text)
{
    gr_str rest = gr_str_c(text);
    while (rest.size) {
        size_t take = rest.size, room = 96 - 2 * depth;
        if (take > room)
            for (take = room; take > 1 && rest.ptr[take] != ' '; take--) {}
        indent(out, depth);
        gr_buf_c(out, "# ");
        gr_buf_str(out, gr_str_head(rest, take));
        gr_buf_char(out, '\n');
        rest = gr_str_from(rest, take + 1);
    }
}

/* Plain where YAML reads it as the same text, else in double quotes. */
static void value_text(gr_buf *out, gr_str value)
{
    bool plain = value.size && !strchr("-./:@", value.ptr[0]) && value.ptr[value.size - 1] != ':';
    for (size_t i = 0; i < value.size && plain; i++) {
        char b = value.ptr[i];
        plain = (b >= '0' && b <= '9') || ((b | 0x20) >= 'a' && (b | 0x20) <= 'z') || strchr("-._/:@", b);
    }
    if (plain) {
        gr_buf_str(out, value);
        return;
    }
    gr_buf_char(out, '"');
    for (size_t i = 0; i < value.size; i++) {
        unsigned char b = (unsigned char)value.ptr[i];
        if (b == '"' || b == '\\') gr_buf_printf(out, "\\%c", b);
        else if (b < ' ' || b == 127) gr_buf_printf(out, "\\x%02X", b);
        else gr_buf_char(out, (char)b);
    }
    gr_buf_char(out, '"');
}

static void list_value(gr_buf *out, gr_str value)
{
    gr_buf_char(out, '[');
    for (bool first = true; value.size; first = false) {
        ptrdiff_t comma = gr_str_find(value, ',');
        gr_str one = comma < 0 ? value : gr_str_head(value, (size_t)comma);
        value = gr_str_from(value, one.size + 1);
        if (!first) gr_buf_c(out, ", ");
        value_text(out, one);
    }
    gr_buf_char(out, ']');
}

/* Writes the section lines between the key before and this one; gives the depth of the key. */
static size_t open_sections(gr_buf *out, const char *before, const char *name, const char **leaf)
{
    size_t same = 0, depth = 0;
    *leaf = name;
    for (size_t i = 0; name[i] && name[i] == before[i]; i++)
        if (name[i] == '.') same = i + 1;
    for (const char *dot; (dot = strchr(*leaf, '.')); *leaf = dot + 1, depth++) {
        if ((size_t)(dot - name) < same) continue;
        if (depth == 0) gr_buf_char(out, '\n');
        indent(out, depth);
        gr_buf_printf(out, "%" GR_FMT ":\n", (int)(dot - *leaf), *leaf);
    }
    return depth;
}

static const gr_str *given(const char *name, size_t count, const gr_str *names, const gr_str *values)
{
    for (size_t i = count; i > 0; i--) /* the last one counts, as on every command line */
        if (gr_str_is(names[i - 1], name)) return &values[i - 1];
    return NULL;
}

void gr_config_write(gr_buf *out, size_t count, const gr_str *names, const gr_str *values)
{
    size_t rows;
    const gr_config_key *keys = gr_config_keys(&rows);
    const char *before = "", *leaf;
    gr_buf_c(out,
             "# The configuration of a Greenroom server.  Lines that begin with # show the defaults: remove "
             "the #\n"
             "# to change one.  Every key can be overridden by an environment variable: listen.client by\n"
             "# GREENROOM_LISTEN_CLIENT.  `greenroom check-config DIR` finds mistakes; a change counts after "
             "a restart.\n");
    for (size_t i = 0; i < rows; i++) {
        const gr_config_key *key = &keys[i];
        const gr_str *value = given(key->name, count, names, values);
        size_t depth = open_sections(out, before, key->name, &leaf);
        if (depth == 0) gr_buf_char(out, '\n');
        comment(out, depth, key->text);
        indent(out, depth);
        gr_buf_printf(out, "%s%s: ", value || key->needed ? "" : "#", leaf);
        gr_str text = value ? *value : gr_str_c(key->otherwise);
        if (key->type == GR_CONFIG_LIST || key->type == GR_CONFIG_TABLE) list_value(out, text);
        else value_text(out, text);
        gr_buf_char(out, '\n');
        before = key->name;
    }
}

static void docs_bounds(gr_buf *out, const gr_config_key *key)
{
    if (key->type == GR_CONFIG_CHOICE || key->type == GR_CONFIG_WORD) {
        for (const char *c = key->choices; *c; c++) {
            if (*c == '|') gr_buf_c(out, ", ");
            else gr_buf_char(out, *c);
        }
    } else gr_buf_c(out, gr_config_type_name(key));
    if (key->type == GR_CONFIG_COUNT || key->type == GR_CONFIG_REAL)
        gr_buf_printf(out, " from %.10g to %.10g", key->low, key->high);
}

static void docs_columns(gr_buf *out, const gr_config_key *table)
{
    gr_buf_c(out, "\n\nKeys of an entry:\n\n");
    for (size_t i = 0; i < table->column_count; i++) {
        const gr_config_key *key = &table->columns[i];
        gr_buf_printf(out, "- `%s` (", key->name);
        docs_bounds(out, key);
        if (key->needed) gr_buf_c(out, "; must be set");
        else if (key->otherwise[0]) gr_buf_printf(out, "; default `%s`", key->otherwise);
        gr_buf_printf(out, "): %s%s", key->text, i + 1 < table->column_count ? "\n" : "");
    }
}

void gr_config_docs(gr_buf *out)
{
    size_t rows;
    const gr_config_key *keys = gr_config_keys(&rows);
    gr_arena *a = gr_arena_new(0);
    gr_buf_c(out,
             "# Configuration\n\n"
             "This page is printed by `greenroom config-docs` from the table the server itself reads.\n\n"
             "`greenroom init DIR --server-name NAME` writes `DIR/" GR_CONFIG_FILE
             "` with all keys explained; a dot in a key\n"
             "is a section there:\n\n"
             "```yaml\nserver_name: example.org\nlisten:\n  client: 127.0.0.1:8008\n```\n\n"
             "An environment variable overrides the file. Its name is the key in upper case with dots as `_` "
             "after\n"
             "`GREENROOM_`; entries of a list are separated by commas. `greenroom check-config DIR` names "
             "the line of every\n"
             "mistake. Relative paths start at DIR. Sizes are in KB, MB, GB of 1024; durations in ms, s, m, "
             "h, d, w.\n");
    for (size_t i = 0; i < rows; i++) {
        const gr_config_key *key = &keys[i];
        gr_buf_printf(out, "\n## %s\n\n%s\n\n- Value: ", key->name, key->text);
        docs_bounds(out, key);
        if (key->needed) gr_buf_c(out, "; must be set");
        else if (key->otherwise[0]) gr_buf_printf(out, "; default `%s`", key->otherwise);
        else gr_buf_c(out, "; empty by default");
        if (key->type == GR_CONFIG_TABLE) {
            docs_columns(out, key);
            gr_buf_c(out, "\n- Environment: none; only in the file\n");
            continue;
        }
        gr_buf_printf(out, "\n- Environment: `%s`\n", gr_config_variable(a, key).ptr);
    }
    gr_arena_free(&a);
}
