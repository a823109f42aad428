/* messages_doc_test.c - docs/messages.md tells of the messages there are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "proto/message.h"

static void the_page_of_messages_is_what_catalogue_prints(void **state)
{
    gr_buf wanted = {0}, found = {0};
    char piece[4096];
    (void)state;
    FILE *in = fopen("docs/messages.md", "r");
    assert_non_null(in);
    for (size_t n; (n = fread(piece, 1, sizeof piece, in)) > 0;) gr_buf_add(&found, piece, n);
    fclose(in);
    gr_catalogue_document(&wanted);
    if (!gr_str_eq(gr_buf_view(&wanted), gr_buf_view(&found)))
        fail_msg("docs/messages.md is old: run `greenroom catalogue > docs/messages.md`");
    gr_buf_free(&wanted);
    gr_buf_free(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_page_of_messages_is_what_catalogue_prints)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
