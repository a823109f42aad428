/* cli_table.c - tables and a progress bar. See cli_table.h. */
#include "edge/cli_table.h"

#include "proto/printable.h"

#include <stdlib.h>
#include <unistd.h>

typedef struct {
    gr_str text;
    int64_t number;
    bool none;
} cell;

struct gr_cli_table {
    gr_arena *arena;
    const gr_cli_table_column *columns;
    size_t width; /* columns */
    cell *cells;
    size_t count, room; /* cells */
};

gr_cli_table *gr_cli_table_new(const gr_cli_table_column *columns, size_t count)
{
    gr_assert(count > 0);
    gr_cli_table *t = gr_alloc(sizeof *t);
    *t = (gr_cli_table){.arena = gr_arena_new(0), .columns = columns, .width = count};
    return t;
}

void gr_cli_table_free(gr_cli_table **t)
{
    if (!*t) return;
    gr_arena_free(&(*t)->arena);
    free((*t)->cells);
    free(*t);
    *t = NULL;
}

static void add(gr_cli_table *t, cell c)
{
    if (t->count == t->room) {
        t->room = t->room ? t->room * 2 : 64;
        t->cells = gr_realloc(t->cells, t->room * sizeof *t->cells);
    }
    t->cells[t->count++] = c;
}

static gr_cli_table_kind kind_next(const gr_cli_table *t) { return t->columns[t->count % t->width].kind; }

void gr_cli_table_text(gr_cli_table *t, gr_str text)
{
    gr_assert(kind_next(t) == GR_CLI_TABLE_TEXT);
    add(t, (cell){.text = gr_arena_str(t->arena, text)});
}

void gr_cli_table_number(gr_cli_table *t, int64_t number)
{
    gr_assert(kind_next(t) != GR_CLI_TABLE_TEXT);
    add(t, (cell){.number = number});
}

void gr_cli_table_none(gr_cli_table *t) { add(t, (cell){.none = true}); }

size_t gr_cli_table_rows(const gr_cli_table *t) { return t->count / t->width; }

static int compare(const cell *a, const cell *b, bool text)
{
    if (a->none || b->none) return (int)b->none - (int)a->none;
    if (text) return gr_str_cmp(a->text, b->text);
    return (a->number > b->number) - (a->number < b->number);
}

static bool out_of_order(const gr_cli_table *t, const cell *a, const cell *b, size_t column, bool descending)
{
    int order = compare(&a[column], &b[column], t->columns[column].kind == GR_CLI_TABLE_TEXT);
    return descending ? order < 0 : order > 0;
}

static void merge(const gr_cli_table *t, cell *from, cell *to, size_t low, size_t middle, size_t high,
                  size_t column, bool descending)
{
    size_t w = t->width, left = low, right = middle;
    for (size_t row = low; row < high; row++) {
        bool take_right =
            left >= middle
            || (right < high && out_of_order(t, from + left * w, from + right * w, column, descending));
        memcpy(to + row * w, from + (take_right ? right++ : left++) * w, w * sizeof *to);
    }
}

void gr_cli_table_sort(gr_cli_table *t, size_t column, bool descending)
{
    size_t rows = gr_cli_table_rows(t);
    gr_assert(column < t->width && t->count % t->width == 0);
    if (rows < 2) return;
    cell *other = gr_alloc(t->count * sizeof *other);
    for (size_t step = 1; step < rows; step *= 2) {
        for (size_t low = 0; low < rows; low += 2 * step) {
            size_t middle = low + step < rows ? low + step : rows,
                   high = low + 2 * step < rows ? low + 2 * step : rows;
            merge(t, t->cells, other, low, middle, high, column, descending);
        }
        memcpy(t->cells, other, t->count * sizeof *other);
    }
    free(other);
}

static void grouped(gr_buf *out, int64_t n)
{
    char digits[24];
    uint64_t size = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    int count = snprintf(digits, sizeof digits, "%llu", (unsigned long long)size);
    if (n < 0) gr_buf_char(out, '-');
    for (int i = 0; i < count; i++) {
        if (i && (count - i) % 3 == 0) gr_buf_char(out, ',');
        gr_buf_char(out, digits[i]);
    }
}

static void bytes_text(gr_buf *out, int64_t n)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    double value = (double)n;
    size_t unit = 0;
    for (; (value >= 1024 || value <= -1024) && unit < 4; unit++) value /= 1024;
    gr_buf_printf(out, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

static void us_text(gr_buf *out, int64_t us)
{
    long long s = us / 1000000;
    if (us < 1000) gr_buf_printf(out, "%lld us", (long long)us);
    else if (us < 1000000) gr_buf_printf(out, "%.1f ms", (double)us / 1e3);
    else if (s < 120) gr_buf_printf(out, "%.1f s", (double)us / 1e6);
    else if (s < 7200) gr_buf_printf(out, "%lld m %lld s", s / 60, s % 60);
    else if (s < 172800) gr_buf_printf(out, "%lld h %lld m", s / 3600, s / 60 % 60);
    else gr_buf_printf(out, "%lld d %lld h", s / 86400, s / 3600 % 24);
}

void gr_cli_table_amount(gr_buf *out, gr_cli_table_kind kind, int64_t n)
{
    if (kind == GR_CLI_TABLE_BYTES) bytes_text(out, n);
    else if (kind == GR_CLI_TABLE_US) us_text(out, n);
    else grouped(out, n);
}

/* Appends at most max characters of s (0: all), gives how many columns were used. */
static size_t shown(gr_buf *out, gr_str s, size_t max)
{
    size_t used = 0;
    for (size_t i = 0; i < s.size;) {
        size_t size = gr_printable_at(s, i), need = size ? 1 : 4;
        if (max && used + need > max - 1 && !(used + need == max && i + (size ? size : 1) == s.size)) {
            gr_buf_c(out, "\xe2\x80\xa6");
            return used + 1;
        }
        if (size) gr_buf_add(out, s.ptr + i, size);
        else gr_buf_printf(out, "\\x%02x", (unsigned char)s.ptr[i]);
        used += need;
        i += size ? size : 1;
    }
    return used;
}

static size_t cell_text(gr_buf *out, const gr_cli_table_column *column, const cell *c)
{
    size_t before = out->size;
    if (!c->none && column->kind == GR_CLI_TABLE_TEXT) return shown(out, c->text, column->width_max);
    if (c->none) gr_buf_char(out, '-');
    else gr_cli_table_amount(out, column->kind, c->number);
    return out->size - before;
}

static void pad(gr_buf *out, size_t blanks)
{
    while (blanks--) gr_buf_char(out, ' ');
}

/* One line of cells; numbers lean right.  row NULL prints the titles. */
static void print_line(const gr_cli_table *t, gr_buf *out, const cell *row, const size_t *widths)
{
    gr_buf one = {0};
    size_t begin = out->size;
    for (size_t i = 0; i < t->width; i++) {
        gr_buf_clear(&one);
        size_t used =
            row ? cell_text(&one, &t->columns[i], &row[i]) : shown(&one, gr_str_c(t->columns[i].title), 0);
        bool right = t->columns[i].kind != GR_CLI_TABLE_TEXT;
        if (i) pad(out, 2);
        if (right) pad(out, widths[i] - used);
        gr_buf_str(out, gr_buf_view(&one));
        if (!right) pad(out, widths[i] - used);
    }
    while (out->size > begin && out->ptr[out->size - 1] == ' ') out->size--;
    gr_buf_char(out, '\n');
    gr_buf_free(&one);
}

static void print_text(const gr_cli_table *t, gr_buf *out)
{
    size_t *widths = gr_alloc(t->width * sizeof *widths);
    gr_buf one = {0};
    for (size_t i = 0; i < t->width; i++) widths[i] = shown(&one, gr_str_c(t->columns[i].title), 0);
    for (size_t i = 0; i < t->count; i++) {
        gr_buf_clear(&one);
        size_t used = cell_text(&one, &t->columns[i % t->width], &t->cells[i]);
        if (used > widths[i % t->width]) widths[i % t->width] = used;
    }
    print_line(t, out, NULL, widths);
    for (size_t i = 0; i < t->count; i += t->width) print_line(t, out, t->cells + i, widths);
    gr_buf_free(&one);
    free(widths);
}

static void json_string(gr_buf *out, gr_str s)
{
    bool utf8 = gr_str_utf8(s);
    gr_buf_char(out, '"');
    for (size_t i = 0; i < s.size; i++) {
        unsigned char b = (unsigned char)s.ptr[i];
        if (b == '"' || b == '\\') gr_buf_printf(out, "\\%c", b);
        else if (b < ' ' || b == 127) gr_buf_printf(out, "\\u%04x", b);
        else if (b >= 128 && !utf8) gr_buf_c(out, "\\ufffd");
        else gr_buf_char(out, (char)b);
    }
    gr_buf_char(out, '"');
}

static void print_json(const gr_cli_table *t, gr_buf *out)
{
    gr_buf_char(out, '[');
    for (size_t i = 0; i < t->count; i++) {
        const gr_cli_table_column *column = &t->columns[i % t->width];
        const cell *c = &t->cells[i];
        gr_buf_c(out, i % t->width ? "," : i ? ",\n{" : "\n{");
        gr_buf_printf(out, "\"%s\":", column->key);
        if (c->none) gr_buf_c(out, "null");
        else if (column->kind == GR_CLI_TABLE_TEXT) json_string(out, c->text);
        else gr_buf_printf(out, "%lld", (long long)c->number);
        if (i % t->width == t->width - 1) gr_buf_char(out, '}');
    }
    gr_buf_c(out, t->count ? "\n]\n" : "]\n");
}

void gr_cli_table_print(const gr_cli_table *t, gr_buf *out, bool json)
{
    gr_assert(t->count % t->width == 0);
    if (json) print_json(t, out);
    else print_text(t, out);
}

void gr_cli_table_progress_show(gr_cli_table_progress *p, uint64_t done, uint64_t total)
{
    enum { BAR = 30 };
    char bar[BAR + 1];
    if (!p->to && !isatty(STDERR_FILENO)) return;
    FILE *to = p->to ? p->to : stderr;
    int percent = total ? (int)((double)(done < total ? done : total) * 100 / (double)total) : 100;
    if (percent == p->last_percent) return;
    p->last_percent = percent;
    memset(bar, ' ', BAR);
    memset(bar, '#', (size_t)(percent * BAR / 100));
    bar[BAR] = 0;
    fprintf(to, "\r%s [%s] %3d %%%s", p->what, bar, percent, percent == 100 ? "\n" : "");
    fflush(to);
}
