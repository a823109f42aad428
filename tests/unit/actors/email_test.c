/* The email actor: mails by which people show that an address is theirs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actors/email/email.h"
#include "bus/stage.h"
#include "tests/unit/actors/mail_rig.h"

static const gr_env env = {.server_name = {"here", 4},
                           .email = {.from = {"<noreply@here>", 14}, .base_url = {"https://here", 12}}};
static const gr_actor_kind *const kinds[] = {&gr_email_kind, NULL};

static gr_stage *stage(void) { return gr_stage_new(kinds, "email/session1", &env); }

static void ask(gr_stage *s, const char *purpose, uint64_t attempt)
{
    gr_email_ask m = {.address = GR_STR("a@example.org"), .secret_hash = GR_STR("secret"), .attempt = attempt,
                      .purpose = gr_str_c(purpose)};
    gr_stage_ask(s, &gr_type_email_ask, &m);
    assert_non_null(gr_stage_replied(s, &gr_type_done));
}

/* Says whether the address is somebody's; answers the mail that was written, or NULL. */
static const gr_stage_effect *told_holder(gr_stage *s, bool known)
{
    const gr_stage_effect *look = gr_stage_find(s, GR_ASK, &gr_type_name_look, 0);
    assert_non_null(look);
    assert_true(gr_str_is(look->to, "name/3pid/email/a@example.org"));
    gr_result result = {.body = GR_STR("{\"user_id\":\"@a:here\"}")};
    gr_stage_answer(s, look, &gr_type_result, &result, known ? gr_ok() : gr_fail(GR_NOT_FOUND, "none"));
    return gr_stage_fetching(s, 0);
}

static gr_arena *arena;        /* of one test */

static gr_str read_by_people(const gr_stage_effect *mail) { return mail_rig_read(arena, mail->fetch->content); }

static gr_str token_of(const gr_stage_effect *mail)
{
    gr_str text = read_by_people(mail);
    const char *at = memmem(text.ptr, text.size, "?token=", 7);
    assert_non_null(at);
    return gr_str_of(at + 7, 32);
}

static bool says(const gr_stage_effect *mail, const char *part)
{
    gr_str text = read_by_people(mail);
    return memmem(text.ptr, text.size, part, strlen(part)) != NULL;
}

static gr_errcode submit(gr_stage *s, gr_str token)
{
    gr_stage_ask(s, &gr_type_email_submit, &(gr_email_submit){.token = token});
    return gr_stage_error(s).code;
}

static uint64_t validated_ms(gr_stage *s)
{
    gr_stage_ask(s, &gr_type_email_look, &(gr_email_look){.secret_hash = GR_STR("secret")});
    const gr_email_is *is = gr_stage_replied(s, &gr_type_email_is);
    return is ? is->validated_ms : 0;
}

static void what_the_mail_says_validates_the_address(void **state)
{
    (void)state;
    gr_stage *s = stage();
    ask(s, "register", 1);
    const gr_stage_effect *mail = told_holder(s, false);
    assert_non_null(mail);
    assert_true(gr_str_is(mail->fetch->method, "MAIL") && gr_str_is(mail->fetch->uri, "a@example.org"));
    assert_true(says(mail, "https://here/_greenroom/email/session1?token="));
    gr_str token = token_of(mail), row;
    assert_true(gr_stage_get(s, GR_STR("s"), &row));
    assert_null(memmem(row.ptr, row.size, token.ptr, token.size));         /* only its hash is kept */
    gr_stage_fetched(s, mail, &(gr_fetched){.failure = GR_FETCH_ANSWERED});
    assert_false(gr_stage_timer_set(s, "send", &(uint64_t){0}));
    assert_int_equal(validated_ms(s), 0);
    assert_int_equal(submit(s, GR_STR("wrong")), GR_FORBIDDEN);
    assert_int_equal(submit(s, token), GR_OK);
    gr_stage_reload(s);
    assert_int_equal(validated_ms(s), gr_stage_now(s));
    gr_stage_ask(s, &gr_type_email_look, &(gr_email_look){.secret_hash = GR_STR("others")});
    assert_int_equal(gr_stage_error(s).code, GR_NOT_FOUND);
    gr_stage_free(&s);
}

/* RFC 5322, 2045: lines of at most 76 characters, all of them ASCII. */
static void every_mail_is_there_in_every_language_and_fits_any_mail_server(void **state)
{
    static const char *const languages[] = {"en", "de", ""}, *const begins[] = {"Subject: ", "Subject: =?utf-8?B?", "Subject: "};
    (void)state;
    for (int text = GR_MAIL_REGISTER; text <= GR_MAIL_RENEW; text++)
        for (size_t l = 0; l < 3; l++) {
            gr_mail mail = {.text = (gr_mail_text)text, .language = gr_str_c(languages[l]), .to = GR_STR("a@example.org"),
                            .link = GR_STR("https://here/?token=abcdefghijklmnopqrstuvwxyz0123456789"), .id = GR_STR("1")};
            gr_str message = gr_mail_write(arena, &env, &mail);
            bool is_ascii_subject = text == GR_MAIL_TAKEN;         /* in German, too */
            const char *begin = is_ascii_subject ? begins[0] : begins[l];
            assert_non_null(memmem(message.ptr, message.size, begin, strlen(begin)));
            size_t column = 0;
            for (size_t i = 0; i < message.size; i++) {
                assert_true(message.ptr[i] > 0);
                column = message.ptr[i] == '\n' ? 0 : column + 1;
                assert_true(column <= 77);                         /* with the CR */
            }
        }
}

static void a_mail_is_in_the_language_of_who_asked_for_it(void **state)
{
    (void)state;
    gr_stage *s = stage();
    gr_email_ask m = {.address = GR_STR("a@example.org"), .secret_hash = GR_STR("secret"), .attempt = 1,
                      .purpose = GR_STR("register"), .language = GR_STR("de")};
    gr_stage_ask(s, &gr_type_email_ask, &m);
    const gr_stage_effect *mail = told_holder(s, false);
    assert_true(says(mail, "öffne diese Seite") && says(mail, "https://here/_greenroom/email/session1?token="));
    assert_int_equal(submit(s, token_of(mail)), GR_OK);
    gr_stage_ask(s, &gr_type_email_look, &(gr_email_look){.secret_hash = GR_STR("secret")});
    assert_true(gr_str_is(((const gr_email_is *)gr_stage_replied(s, &gr_type_email_is))->language, "de"));
    gr_stage_free(&s);
}

static void only_the_mail_says_whether_the_address_is_known(void **state)
{
    static const struct { const char *purpose; bool known; const char *says; bool has_link; } cases[] = {
        {"register", true, "You have an account", false}, {"add", true, "You have an account", false},
        {"add", false, "Confirm your email address", true}, {"password", true, "A new password", true},
        {"password", false, NULL, false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gr_stage *s = stage();
        ask(s, cases[i].purpose, 1);
        const gr_stage_effect *mail = told_holder(s, cases[i].known);
        assert_int_equal(mail != NULL, cases[i].says != NULL);
        if (mail) assert_true(says(mail, cases[i].says) && says(mail, "?token=") == cases[i].has_link);
        else assert_false(gr_stage_timer_set(s, "send", &(uint64_t){0}));
        gr_stage_free(&s);
    }
}

static void a_mail_that_could_not_be_sent_is_written_anew_later(void **state)
{
    (void)state;
    bool fired = false;
    gr_stage *s = stage();
    ask(s, "register", 1);
    const gr_stage_effect *mail = told_holder(s, false);
    gr_str first = token_of(mail);
    gr_stage_fetched(s, mail, &(gr_fetched){.failure = GR_FETCH_UNREACHABLE});
    for (int i = 1; i < GR_EMAIL_TRIES_MAX; i++) {
        gr_stage_reload(s);
        gr_stage_fire(s, &fired);
        mail = told_holder(s, false);
        assert_non_null(mail);
        gr_stage_fetched(s, mail, &(gr_fetched){.failure = GR_FETCH_UNREACHABLE});
    }
    assert_false(gr_stage_timer_set(s, "send", &(uint64_t){0}));           /* there is an end */
    assert_int_equal(submit(s, first), GR_FORBIDDEN);
    assert_int_equal(submit(s, token_of(mail)), GR_OK);
    gr_stage_free(&s);
}

static void a_mail_is_sent_again_only_when_the_client_asks_for_another(void **state)
{
    (void)state;
    gr_stage *s = stage();
    ask(s, "register", 7);
    told_holder(s, false);
    ask(s, "register", 7);
    assert_null(gr_stage_find(s, GR_ASK, &gr_type_name_look, 0));
    for (uint64_t n = 1; n < GR_EMAIL_MAILS_MAX; n++) {
        ask(s, "register", 7 + n);
        assert_non_null(told_holder(s, false));
    }
    ask(s, "register", 100);
    assert_null(gr_stage_find(s, GR_ASK, &gr_type_name_look, 0));
    gr_stage_free(&s);
}

static void tokens_end_with_time_and_with_guesses(void **state)
{
    (void)state;
    gr_stage *s = stage();
    ask(s, "register", 1);
    gr_str token = token_of(told_holder(s, false));
    for (int i = 0; i < GR_EMAIL_GUESSES_MAX; i++) assert_int_equal(submit(s, GR_STR("guess")), GR_FORBIDDEN);
    assert_int_equal(submit(s, token), GR_FORBIDDEN);
    gr_stage_free(&s);
    s = stage();
    ask(s, "register", 1);
    token = token_of(told_holder(s, false));
    gr_stage_clock(s, gr_stage_now(s) + GR_EMAIL_TOKEN_MS);
    assert_int_equal(submit(s, token), GR_FORBIDDEN);
    gr_stage_free(&s);
}

static void a_session_leaves_nothing_behind(void **state)
{
    (void)state;
    bool fired = true;
    gr_stage *s = stage();
    ask(s, "register", 1);
    gr_stage_fetched(s, told_holder(s, false), &(gr_fetched){.failure = GR_FETCH_ANSWERED});
    gr_stage_fire(s, &fired);
    assert_true(fired);
    assert_int_equal(gr_stage_keys(s), 0);
    gr_stage_fire(s, &fired);
    assert_false(fired);
    gr_stage_free(&s);
}

static int set_up(void **state)
{
    (void)state;
    arena = gr_arena_new(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_arena_free(&arena);
    return 0;
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(every_mail_is_there_in_every_language_and_fits_any_mail_server),
        UNIT(a_mail_is_in_the_language_of_who_asked_for_it),
        UNIT(what_the_mail_says_validates_the_address),
        UNIT(only_the_mail_says_whether_the_address_is_known),
        UNIT(a_mail_that_could_not_be_sent_is_written_anew_later),
        UNIT(a_mail_is_sent_again_only_when_the_client_asks_for_another),
        UNIT(tokens_end_with_time_and_with_guesses),
        UNIT(a_session_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
