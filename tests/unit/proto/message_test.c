/* message_test.c - every type of the catalogue through its tables: coded, decoded, printed, read by hand; envelopes. */
#include "proto/catalogue.h"
#include "proto/json.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { ROUNDS = 8 };

static gr_arena *arena;
static uint64_t seed;
static const gr_type *const *types;
static size_t type_count;

static int set_up(void **state)
{
    (void)state;
    arena = gr_arena_new(0);
    seed = 20240611;
    types = gr_type_all(&type_count);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_arena_free(&arena);
    return 0;
}

static uint64_t draw(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

/* --- bodies filled by their tables ------------------------------------------------------------------------- */
typedef enum { ANY_BYTES, TEXT, MARKED } filling;

/* MARKED: what is secret or content says so, everywhere. */
static gr_str fill_str(const gr_field *f, filling how)
{
    if (how == MARKED && f->class == GR_CLASS_SECRET) return GR_STR("SECRET-MARK");
    if (how == MARKED && f->class == GR_CLASS_CONTENT) return GR_STR("CONTENT-MARK");
    size_t size = draw() % 4 ? draw() % 24 : draw() % 600;
    char *bytes = gr_arena_alloc(arena, size + 1);
    for (size_t i = 0; i < size; i++) bytes[i] = (char)(how == ANY_BYTES ? draw() : ' ' + draw() % 95);
    return gr_str_of(bytes, size);
}

static uint64_t fill_number(filling how) { return draw() >> (how == ANY_BYTES ? draw() % 64 : 1 + draw() % 63); }

static void fill(const gr_type *t, void *body, filling how);

static void fill_list(const gr_field *f, gr_list *list, filling how)
{
    size_t size = f->kind == GR_FIELD_STRS ? sizeof(gr_str) : f->kind == GR_FIELD_U64S ? sizeof(uint64_t) : f->record->size;
    size_t count = how == MARKED ? 1 : draw() % 8 ? draw() % 4 : 20;
    *list = (gr_list){gr_arena_alloc(arena, count * size), count};
    for (size_t i = 0; i < count; i++) {
        char *at = (char *)list->at + i * size;
        if (f->kind == GR_FIELD_STRS) *(gr_str *)at = fill_str(f, how);
        else if (f->kind == GR_FIELD_U64S) *(uint64_t *)at = fill_number(how);
        else fill(f->record, at, how);
    }
}

static void fill(const gr_type *t, void *body, filling how)
{
    for (size_t i = 0; i < t->field_count; i++) {
        const gr_field *f = &t->fields()[i];
        void *at = (char *)body + f->offset;
        switch (f->kind) {
        case GR_FIELD_STR: *(gr_str *)at = fill_str(f, how); break;
        case GR_FIELD_U64: *(uint64_t *)at = fill_number(how); break;
        case GR_FIELD_I64: *(int64_t *)at = (int64_t)draw() >> draw() % 64; break;
        case GR_FIELD_BOOL: *(bool *)at = draw() & 1; break;
        default: fill_list(f, at, how);
        }
    }
}

static void *made(const gr_type *t, filling how)
{
    void *body = gr_arena_alloc(arena, t->size);
    fill(t, body, how);
    return body;
}

static gr_str encoded(const gr_type *t, const void *body)
{
    gr_buf out = {0};
    gr_body_encode(&out, t, body);
    gr_str bytes = gr_arena_str(arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return bytes;
}

static void *decoded(const gr_type *t, gr_str bytes)
{
    void *body = NULL;
    assert_int_equal(gr_body_decode(arena, t, bytes, &body).code, GR_OK);
    return body;
}

static void refused(const gr_type *t, gr_str bytes)
{
    void *body = arena;
    assert_int_equal(gr_body_decode(arena, t, bytes, &body).code, GR_BAD_JSON);
    assert_null(body);
}

static gr_str printed(const gr_type *t, const void *body, bool with_content)
{
    gr_buf out = {0};
    gr_body_print(&out, t, body, with_content);
    gr_str text = gr_arena_str(arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

static bool has(gr_str text, const char *part) { return strstr(gr_arena_str(arena, text).ptr, part) != NULL; }

/* Is there a field of this class, in the type or in what it lists? */
static bool has_class(const gr_type *t, gr_field_class class)
{
    for (size_t i = 0; i < t->field_count; i++) {
        const gr_field *f = &t->fields()[i];
        bool bytes = f->kind == GR_FIELD_STR || f->kind == GR_FIELD_STRS;
        if ((bytes && f->class == class) || (f->record && has_class(f->record, class))) return true;
    }
    return false;
}

/* --- coding ------------------------------------------------------------------------------------------------ */
static void every_type_is_the_same_after_encoding_and_decoding(void **state)
{
    (void)state;
    for (size_t i = 0; i < type_count; i++)
        for (int round = 0; round < ROUNDS; round++) {
            void *body = made(types[i], ANY_BYTES);
            void *again = decoded(types[i], encoded(types[i], body));
            if (!gr_body_equal(types[i], body, again)) fail_msg("%s differs after decoding", types[i]->name);
            assert_true(gr_str_eq(encoded(types[i], body), encoded(types[i], again)));
        }
}

static void a_difference_in_any_single_field_is_seen(void **state)
{
    (void)state;
    for (size_t i = 0; i < type_count; i++)
        for (size_t k = 0; k < types[i]->field_count; k++) {
            const gr_field *f = &types[i]->fields()[k];
            gr_type one = *types[i];
            char *x = made(&one, MARKED), *y = gr_arena_alloc(arena, one.size);
            memcpy(y, x, one.size);
            size_t size = f->kind == GR_FIELD_BOOL ? sizeof(bool) : f->kind == GR_FIELD_U64 || f->kind == GR_FIELD_I64
                        ? sizeof(uint64_t) : sizeof(gr_str);
            if (f->kind == GR_FIELD_BOOL) *(bool *)(y + f->offset) ^= 1;
            else if (size == sizeof(uint64_t)) *(uint64_t *)(y + f->offset) ^= 1;
            else if (f->kind == GR_FIELD_STR) *(gr_str *)(y + f->offset) = GR_STR("something else than before");
            else ((gr_list *)(y + f->offset))->count = 0;
            if (gr_body_equal(&one, x, y)) fail_msg("%s.%s is not compared", one.name, f->name);
        }
}

static void fields_come_in_the_order_of_their_levels(void **state)
{
    (void)state;
    for (size_t i = 0; i < type_count; i++)
        for (size_t k = 0; k + 1 < types[i]->field_count; k++)
            if (types[i]->fields()[k].since > types[i]->fields()[k + 1].since)
                fail_msg("%s.%s is newer than the field after it", types[i]->name, types[i]->fields()[k].name);
}

typedef struct { uint64_t old, young; } item;
typedef struct { gr_str old; gr_list items; uint64_t young; } grown;
static const gr_field item_fields[] = {{"old", GR_FIELD_U64, offsetof(item, old), GR_CLASS_PLAIN, 1, NULL},
                                       {"young", GR_FIELD_U64, offsetof(item, young), GR_CLASS_PLAIN, 2, NULL}};
static const gr_field *fields_of_item(void) { return item_fields; }
static const gr_type item_type = {0, "item", sizeof(item), fields_of_item, 2, false, ""};
static const gr_field grown_fields[] = {{"old", GR_FIELD_STR, offsetof(grown, old), GR_CLASS_PLAIN, 1, NULL},
                                        {"items", GR_FIELD_LIST, offsetof(grown, items), GR_CLASS_PLAIN, 1, &item_type},
                                        {"young", GR_FIELD_U64, offsetof(grown, young), GR_CLASS_PLAIN, 3, NULL}};
static const gr_field *fields_of_grown(void) { return grown_fields; }
static const gr_type grown_type = {99, "grown", sizeof(grown), fields_of_grown, 3, false, ""};

static void fields_above_the_level_are_left_out_also_of_records(void **state)
{
    (void)state;
    item items[2] = {{1, 2}, {3, 4}};
    grown body = {.old = GR_STR("x"), .items = {items, 2}, .young = 5};
    for (unsigned level = 1; level <= 3; level++) {
        gr_buf out = {0};
        gr_body_encode_at(&out, &grown_type, &body, level);
        const grown *got = decoded(&grown_type, gr_buf_view(&out));
        const item *at = got->items.at;
        assert_true(gr_str_is(got->old, "x") && got->items.count == 2 && at[0].old == 1 && at[1].old == 3);
        assert_int_equal(at[0].young, level >= 2 ? 2 : 0);
        assert_int_equal(at[1].young, level >= 2 ? 4 : 0);
        assert_int_equal(got->young, level >= 3 ? 5 : 0);
        gr_buf_free(&out);
    }
    assert_int_equal(gr_type_since(&grown_type), 1);
    assert_int_equal(gr_type_since(&gr_type_done), 1);
}

static void an_envelope_tells_its_level_unless_that_is_the_first(void **state)
{
    (void)state;
    gr_envelope e = {.from = GR_STR("echo/a"), .to = GR_STR("echo/b"), .verb = GR_POST, .type = GR_T_echo, .level = 1}, got;
    gr_buf first = {0}, second = {0};
    gr_envelope_encode(&first, &e);
    e.level = 2;
    gr_envelope_encode(&second, &e);
    assert_int_equal(first.ptr[0] & 0x0f, 15);     /* as nodes of the first version wrote it, and read it */
    assert_int_equal(gr_envelope_decode(gr_buf_view(&first), &got).code, GR_OK);
    assert_int_equal(got.level, 1);
    assert_int_equal(gr_envelope_decode(gr_buf_view(&second), &got).code, GR_OK);
    assert_int_equal(got.level, 2);
    gr_buf_free(&first);
    gr_buf_free(&second);
}

/* A neighbour of another version is one whose table is shorter. */
static void fields_that_an_older_node_does_not_send_are_zero(void **state)
{
    (void)state;
    for (size_t i = 0; i < type_count; i++)
        for (size_t count = 0; count < types[i]->field_count; count++) {
            gr_type older = *types[i];
            older.field_count = count;
            void *body = made(types[i], ANY_BYTES), *wanted = gr_arena_alloc(arena, older.size);
            void *got = decoded(types[i], encoded(&older, body));
            if (count) memcpy(wanted, body, types[i]->fields()[count].offset);
            if (!gr_body_equal(types[i], got, wanted)) fail_msg("%s with %zu fields", older.name, count);
        }
}

static void fields_that_a_newer_node_sends_are_ignored(void **state)
{
    (void)state;
    for (size_t i = 0; i < type_count; i++)
        for (size_t count = 0; count < types[i]->field_count; count++) {
            gr_type older = *types[i];
            older.field_count = count;
            void *body = made(types[i], ANY_BYTES);
            assert_true(gr_body_equal(&older, body, decoded(&older, encoded(types[i], body))));
        }
    /* By hand: text "hi", number 7, and then true, -1, nil, 1.5 and ["x"]. */
    const gr_echo *e = decoded(&gr_type_echo, GR_STR("\x97\xc4\x02hi\x07\xc3\xff\xc0\xcb\x3f\xf8\0\0\0\0\0\0\x91\xa1x"));
    assert_true(gr_str_is(e->text, "hi"));
    assert_int_equal(e->number, 7);
    assert_int_equal(((const gr_echo *)decoded(&gr_type_echo, GR_STR("\x90")))->number, 0);
}

static void bytes_that_are_no_body_are_refused(void **state)
{
    (void)state;
    refused(&gr_type_echo, GR_STR(""));
    refused(&gr_type_echo, GR_STR("\xc0"));                    /* nil */
    refused(&gr_type_echo, GR_STR("\x07"));                    /* a number */
    refused(&gr_type_echo, GR_STR("\x80"));                    /* a map */
    refused(&gr_type_echo, GR_STR("\x92\xa1x"));               /* less than promised */
    refused(&gr_type_echo, GR_STR("\x91\xa1x\xc0"));           /* more than promised */
    refused(&gr_type_echo, GR_STR("\x91\x05"));                /* a number for a text */
    refused(&gr_type_echo, GR_STR("\x92\xa1x\xff"));           /* a negative number for an unsigned one */
    refused(&gr_type_work_done, GR_STR("\x92\xa1x\x01"));      /* a number for a boolean */
    refused(&gr_type_post_ack, GR_STR("\x91\x91\xa1x"));       /* a text for an unsigned number */
    for (size_t i = 0; i < type_count; i++) {
        gr_str whole = encoded(types[i], made(types[i], TEXT));
        for (size_t size = 0; size < whole.size && size < 200; size++) refused(types[i], gr_str_head(whole, size));
    }
}

static void lists_that_are_too_long_are_refused_without_room_being_made(void **state)
{
    (void)state;
    gr_buf out = {0};
    uint64_t *numbers = gr_arena_alloc(arena, (GR_LIST_MAX + 1) * sizeof *numbers);
    gr_post_ack body = {.pairs = {numbers, GR_LIST_MAX}};
    gr_body_encode(&out, &gr_type_post_ack, &body);
    const gr_post_ack *got = decoded(&gr_type_post_ack, gr_buf_view(&out));
    assert_int_equal(got->pairs.count, GR_LIST_MAX);
    gr_buf_clear(&out);
    body.pairs.count++;
    gr_body_encode(&out, &gr_type_post_ack, &body);
    refused(&gr_type_post_ack, gr_buf_view(&out));
    gr_buf_free(&out);
    size_t before = gr_arena_used(arena), heap_before = mallinfo2().hblkhd;
    refused(&gr_type_post_ack, GR_STR("\x91\xdd\xff\xff\xff\xff"));
    refused(&gr_type_post_ack, GR_STR("\xdd\xff\xff\xff\xff\x01"));
    refused(&gr_type_post_ack, GR_STR("\x91\xdc\xff\xff\x01"));
    refused(&gr_type_echo, GR_STR("\x91\xc6\xff\xff\xff\xff"));
    refused(&gr_type_echo, GR_STR("\x92\xa1x\xdf\xff\xff\xff\xff"));
    assert_true(gr_arena_used(arena) - before < 4096);
    refused(&gr_type_post_ack, GR_STR("\x91\xdd\x08\0\0\0"));
    assert_true(mallinfo2().hblkhd - heap_before < 1 << 24);   /* the decoder keeps its room until the next message */
}

/* --- the catalogue ----------------------------------------------------------------------------------------- */
static void numbers_and_names_of_types_are_unique_and_found(void **state)
{
    (void)state;
    assert_true(type_count > 100);
    for (size_t i = 0; i < type_count; i++) {
        assert_ptr_equal(gr_type_find(types[i]->id), types[i]);
        assert_ptr_equal(gr_type_named(gr_str_c(types[i]->name)), types[i]);
        assert_true(types[i]->doc[0]);
        for (size_t k = 0; k < types[i]->field_count; k++)
            for (size_t j = 0; j < k; j++) assert_string_not_equal(types[i]->fields()[k].name, types[i]->fields()[j].name);
    }
    assert_null(gr_type_find(0));
    assert_null(gr_type_find(100000));
    assert_null(gr_type_named(GR_STR("no_such_type")));
    assert_null(gr_type_named(GR_STR("")));
}

/* Only bytes can be hidden: a number that is content would be printed. */
static void only_bytes_and_lists_are_classed_and_only_upwards(void **state)
{
    (void)state;
    for (size_t i = 0; i < type_count; i++)
        for (size_t k = 0; k < types[i]->field_count; k++) {
            const gr_field *f = &types[i]->fields()[k];
            bool bytes = f->kind == GR_FIELD_STR || f->kind == GR_FIELD_STRS || f->kind == GR_FIELD_LIST;
            if (f->class != GR_CLASS_PLAIN && !bytes) fail_msg("%s.%s can't be hidden", types[i]->name, f->name);
            if (f->class == GR_CLASS_SECRET && f->record) fail_msg("%s.%s: class its fields", types[i]->name, f->name);
            if (k && f->since < f[-1].since) fail_msg("%s.%s stands after a newer field", types[i]->name, f->name);
        }
}

static void what_is_named_a_password_is_secret(void **state)
{
    (void)state;
    for (size_t i = 0; i < type_count; i++)
        for (size_t k = 0; k < types[i]->field_count; k++) {
            const gr_field *f = &types[i]->fields()[k];
            bool telling = strstr(f->name, "password") || strcmp(f->name, "auth") == 0 || strcmp(f->name, "access") == 0
                        || strcmp(f->name, "refresh") == 0;
            if (telling && f->kind == GR_FIELD_STR && f->class != GR_CLASS_SECRET)
                fail_msg("%s.%s is not secret", types[i]->name, f->name);
        }
}

static void the_document_names_every_message(void **state)
{
    (void)state;
    gr_buf out = {0};
    gr_catalogue_document(&out);
    gr_str text = gr_arena_str(arena, gr_buf_view(&out));
    gr_buf_free(&out);
    for (size_t i = 0; i < type_count; i++)
        assert_true(has(text, gr_arena_printf(arena, "| %u | `%s`", types[i]->id, types[i]->name).ptr));
    assert_true(has(text, "`password` bytes (secret)"));
}

/* --- for people -------------------------------------------------------------------------------------------- */
static void secrets_are_never_printed_and_content_only_when_asked_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < type_count; i++) {
        void *body = made(types[i], MARKED);
        gr_str hidden = printed(types[i], body, false), shown = printed(types[i], body, true);
        if (has(hidden, "SECRET-MARK") || has(shown, "SECRET-MARK")) fail_msg("%s tells a secret", types[i]->name);
        if (has(hidden, "CONTENT-MARK")) fail_msg("%s tells content", types[i]->name);
        assert_int_equal(has(shown, "\"***\""), has_class(types[i], GR_CLASS_SECRET));
        assert_int_equal(has(shown, "CONTENT-MARK"), has_class(types[i], GR_CLASS_CONTENT));
        const gr_json *tree;
        assert_int_equal(gr_json_parse(arena, hidden, GR_JSON_LAX, &tree).code, GR_OK);
    }
}

static void printing_shows_numbers_whole_and_hidden_text_by_size_and_hash(void **state)
{
    (void)state;
    gr_echo echo = {.text = GR_STR("a\"b"), .number = UINT64_MAX};
    assert_string_equal(printed(&gr_type_echo, &echo, false).ptr, "{\"text\":\"a\\\"b\",\"number\":18446744073709551615}");
    echo = (gr_echo){.text = GR_STR("\xff")};
    assert_true(has(printed(&gr_type_echo, &echo, true), "{\"text\":{\"size\":1,\"hash\":\""));
    uint64_t pairs[] = {1, UINT64_MAX};
    gr_post_ack ack = {.pairs = {pairs, 2}};
    assert_string_equal(printed(&gr_type_post_ack, &ack, false).ptr, "{\"pairs\":[1,18446744073709551615]}");
    gr_result result = {.body = GR_STR("{}")};
    assert_true(has(printed(&gr_type_result, &result, false), "\"size\":2,"));
    assert_string_equal(printed(&gr_type_result, &result, true).ptr, "{\"body\":\"{}\"}");
}

static void what_is_printed_can_be_given_by_hand(void **state)
{
    (void)state;
    size_t tried = 0;
    for (size_t i = 0; i < type_count; i++) {
        if (has_class(types[i], GR_CLASS_SECRET)) continue;
        tried++;
        for (int round = 0; round < ROUNDS; round++) {
            void *body = made(types[i], TEXT), *again = NULL;
            assert_int_equal(gr_body_parse(arena, types[i], printed(types[i], body, true), &again).code, GR_OK);
            if (!gr_body_equal(types[i], body, again)) fail_msg("%s differs after parsing", types[i]->name);
        }
    }
    assert_true(tried > 50);
}

static void by_hand(const gr_type *t, const char *json, gr_errcode code, const char *text)
{
    void *body = arena;
    gr_err err = gr_body_parse(arena, t, gr_str_c(json), &body);
    assert_int_equal(err.code, code);
    assert_null(body);
    if (!strstr(err.text, text)) fail_msg("'%s' does not say '%s'", err.text, text);
}

static void a_mistake_by_hand_names_its_field(void **state)
{
    (void)state;
    by_hand(&gr_type_echo, "{\"nmber\":1}", GR_INVALID_PARAM, "echo has no field 'nmber'");
    by_hand(&gr_type_echo, "{\"number\":\"1\"}", GR_INVALID_PARAM, "echo.number");
    by_hand(&gr_type_echo, "{\"number\":-1}", GR_INVALID_PARAM, "echo.number");
    by_hand(&gr_type_echo, "{\"number\":1.5}", GR_INVALID_PARAM, "echo.number");
    by_hand(&gr_type_echo, "{\"text\":null}", GR_INVALID_PARAM, "echo.text");
    by_hand(&gr_type_echo, "[]", GR_INVALID_PARAM, "echo is given as a JSON object");
    by_hand(&gr_type_echo, "{", GR_NOT_JSON, "");
    by_hand(&gr_type_post_ack, "{\"pairs\":[1,-2]}", GR_INVALID_PARAM, "post_ack.pairs");
    by_hand(&gr_type_post_ack, "{\"pairs\":3}", GR_INVALID_PARAM, "post_ack.pairs");
    by_hand(&gr_type_work_done, "{\"failed\":1}", GR_INVALID_PARAM, "work_done.failed");
    void *body = NULL;
    assert_int_equal(gr_body_parse(arena, &gr_type_echo, GR_STR("{\"text\":{\"b\":[1, 2]}}"), &body).code, GR_OK);
    assert_true(gr_str_is(((gr_echo *)body)->text, "{\"b\":[1,2]}"));
}

/* --- envelopes --------------------------------------------------------------------------------------------- */
static gr_envelope full(void)
{
    return (gr_envelope){.trace = UINT64_MAX, .span = 2, .parent = 3, .from = GR_STR("edge/n1/0"), .to = GR_STR("echo/x"),
                         .verb = GR_POST, .seq = 1ull << 40, .incarnation = 5, .wait_ms = 6, .type = GR_T_echo,
                         .body = GR_STR("\x90"), .attachment = GR_STR("\0\xff"), .reply_to = GR_STR("room/!r"), .reply_seq = 9};
}

static gr_str envelope_bytes(const gr_envelope *e)
{
    gr_buf out = {0};
    gr_envelope_encode(&out, e);
    gr_str bytes = gr_arena_str(arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return bytes;
}

static void an_envelope_is_the_same_after_encoding_and_decoding(void **state)
{
    (void)state;
    for (int verb = GR_TELL; verb <= GR_CONTROL; verb++) {
        gr_envelope e = full(), got;
        e.verb = (gr_verb)verb;
        e.sent_us = verb == GR_ASK ? 1ull << 50 : 0;
        gr_str bytes = envelope_bytes(&e);
        assert_int_equal(gr_envelope_decode(bytes, &got).code, GR_OK);
        assert_true(got.trace == e.trace && got.span == e.span && got.parent == e.parent && got.verb == e.verb);
        assert_true(got.seq == e.seq && got.incarnation == e.incarnation && got.wait_ms == e.wait_ms);
        assert_true(got.type == e.type && got.reply_seq == e.reply_seq && got.sent_us == e.sent_us);
        assert_true(gr_str_eq(got.from, e.from) && gr_str_eq(got.to, e.to) && gr_str_eq(got.body, e.body));
        assert_true(gr_str_eq(got.attachment, e.attachment) && gr_str_eq(got.reply_to, e.reply_to));
        assert_true(got.to.ptr > bytes.ptr && got.to.ptr < bytes.ptr + bytes.size);
    }
}

static void not_an_envelope(gr_str bytes)
{
    gr_envelope e = full();
    assert_int_equal(gr_envelope_decode(bytes, &e).code, GR_BAD_JSON);
    assert_true(e.to.size == 0 && e.type == 0);
}

static void bytes_that_are_no_envelope_are_refused(void **state)
{
    (void)state;
    gr_envelope e = full(), got;
    gr_str bytes = envelope_bytes(&e);
    for (size_t size = 0; size < bytes.size; size++) not_an_envelope(gr_str_head(bytes, size));
    not_an_envelope(gr_arena_cat(arena, 2, (gr_str[]){bytes, GR_STR("\xc0")}));
    e.verb = (gr_verb)0;
    not_an_envelope(envelope_bytes(&e));
    e.verb = (gr_verb)(GR_CONTROL + 1);
    not_an_envelope(envelope_bytes(&e));
    /* One field less is refused, one more is a newer node's. */
    char *head = gr_arena_alloc(arena, bytes.size + 8);
    memcpy(head, bytes.ptr, bytes.size);
    assert_int_equal((unsigned char)head[0], 0x9f);
    head[0] = (char)0x9e;
    not_an_envelope(gr_str_of(head, bytes.size - 1));
    gr_str more[] = {GR_STR("\xdc\0\x12"), gr_str_from(bytes, 1), GR_STR("\x02\x07\xc3")};
    gr_str longer = gr_arena_cat(arena, 3, more);
    assert_int_equal(gr_envelope_decode(longer, &got).code, GR_OK);
    assert_true(got.reply_seq == 9 && got.sent_us == 7);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(every_type_is_the_same_after_encoding_and_decoding),
        CASE(a_difference_in_any_single_field_is_seen),
        CASE(fields_come_in_the_order_of_their_levels),
        CASE(fields_above_the_level_are_left_out_also_of_records),
        CASE(an_envelope_tells_its_level_unless_that_is_the_first),
        CASE(fields_that_an_older_node_does_not_send_are_zero),
        CASE(fields_that_a_newer_node_sends_are_ignored),
        CASE(bytes_that_are_no_body_are_refused),
        CASE(lists_that_are_too_long_are_refused_without_room_being_made),
        CASE(numbers_and_names_of_types_are_unique_and_found),
        CASE(only_bytes_and_lists_are_classed_and_only_upwards),
        CASE(what_is_named_a_password_is_secret),
        CASE(the_document_names_every_message),
        CASE(secrets_are_never_printed_and_content_only_when_asked_for),
        CASE(printing_shows_numbers_whole_and_hidden_text_by_size_and_hash),
        CASE(what_is_printed_can_be_given_by_hand),
        CASE(a_mistake_by_hand_names_its_field),
        CASE(an_envelope_is_the_same_after_encoding_and_decoding),
        CASE(bytes_that_are_no_envelope_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
