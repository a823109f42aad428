/* cli_table.h - tables for people or programs, and a progress bar for long work.
 *
 * A table is filled row by row and printed once: aligned columns with units, or with --json an array of
 * objects with bare numbers (bytes, microseconds).  Texts may come from strangers: control bytes are
 * shown as \xNN, so that no name can drive the terminal.
 */
#pragma once
#include "proto/str.h"

#include <stdio.h>

typedef enum {
    GR_CLI_TABLE_TEXT,
    GR_CLI_TABLE_COUNT,       /* 12,345 */
    GR_CLI_TABLE_BYTES,       /* 1.2 MB */
    GR_CLI_TABLE_US           /* microseconds, printed as 850 us, 1.2 ms, 3.4 s, 2 h 5 m */
} gr_cli_table_kind;

/* title heads the column for people, key names the member in JSON.  width_max 0 is no bound. */
typedef struct {
    const char *title, *key;
    gr_cli_table_kind kind;
    size_t width_max;
} gr_cli_table_column;

typedef struct gr_cli_table gr_cli_table;

/* columns must outlive the table. */
gr_cli_table *gr_cli_table_new(const gr_cli_table_column *columns, size_t count);
void gr_cli_table_free(gr_cli_table **);
/* The next cell of the present row; the row ends by itself after its last column. The text is copied. */
void gr_cli_table_text(gr_cli_table *, gr_str);
void gr_cli_table_number(gr_cli_table *, int64_t);
void gr_cli_table_none(gr_cli_table *);              /* "-", null in JSON */
size_t gr_cli_table_rows(const gr_cli_table *);
/* Rows with the same first cells stay in the order they were added. */
void gr_cli_table_sort(gr_cli_table *, size_t column, bool descending);
/* Prints; asserts that the last row is complete. */
void gr_cli_table_print(const gr_cli_table *, gr_buf *out, bool json);

/* A number as a table shows it. */
void gr_cli_table_amount(gr_buf *out, gr_cli_table_kind, int64_t);

/* A bar on standard error, drawn anew at most at each whole percent and only on a terminal. done = total
 * ends it. */
typedef struct {
    const char *what;
    FILE *to;                /* NULL: standard error if it is a terminal */
    int last_percent;        /* -1 at first */
} gr_cli_table_progress;
void gr_cli_table_progress_show(gr_cli_table_progress *, uint64_t done, uint64_t total);
