/* page_test.c - pages escape what they are given, forms are good for one browser and one path, and texts have all languages. */
#include "edge/cookie.h"
#include "edge/edge.h"
#include "edge/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static gr_arena *arena;
static gr_config config;
static const unsigned char key[32] = {9};
static gr_edge edge;

static int set_up(void **state)
{
    (void)state;
    arena = gr_arena_new(0);
    gr_config_init(&config, "/tmp");
    edge = (gr_edge){.config = &config, .openid_key = key};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_config_free(&config);
    gr_arena_free(&arena);
    return 0;
}

static gr_call browser_call(const char *path, const char *cookies)
{
    return (gr_call){.edge = &edge, .arena = arena, .path = gr_str_c(path), .cookies = gr_str_c(cookies), .now_ms = 1000000};
}

static const char *text_of(gr_page *p)
{
    const char *text = gr_arena_str(arena, gr_buf_view(&p->out)).ptr;
    gr_buf_free(&p->out);
    return text;
}

static void every_text_is_there_in_every_language(void **state)
{
    (void)state;
    for (unsigned t = GR_PAGE_TEXT_none + 1; t < GR_PAGE_TEXT_COUNT; t++)
        for (unsigned l = 0; l < GR_PAGE_LANGUAGES; l++) {
            gr_str english = gr_page_text_in(GR_PAGE_ENGLISH, (gr_page_text)t);
            gr_str here = gr_page_text_in((gr_page_language)l, (gr_page_text)t);
            if (here.size == 0 || !gr_str_utf8(here)) fail_msg("no text for '%s'", english.ptr);
            for (int arg = 1; arg <= 2; arg++) {
                char slot[4] = {'{', (char)('0' + arg), '}', 0};
                if (!strstr(english.ptr, slot) != !strstr(here.ptr, slot)) fail_msg("'%s' lacks %s", here.ptr, slot);
            }
        }
}

static void the_language_is_the_one_that_the_browser_likes_best(void **state)
{
    (void)state;
    assert_int_equal(gr_page_text_choose(GR_STR("")), GR_PAGE_ENGLISH);
    assert_int_equal(gr_page_text_choose(GR_STR("de-AT, en;q=0.8")), GR_PAGE_GERMAN);
    assert_int_equal(gr_page_text_choose(GR_STR("fr, en;q=0.5, de;q=0.7")), GR_PAGE_GERMAN);
    assert_int_equal(gr_page_text_choose(GR_STR("en, de")), GR_PAGE_ENGLISH);
    assert_int_equal(gr_page_text_choose(GR_STR("de;q=0, en;q=0.1")), GR_PAGE_ENGLISH);
    assert_int_equal(gr_page_text_choose(GR_STR("den;q=1, ;;,,q=")), GR_PAGE_ENGLISH);
}

static void what_is_put_in_is_never_markup(void **state)
{
    (void)state;
    gr_call call = browser_call("/x", "");
    gr_page p = gr_page_begin(&call, GR_SAY(error_detail, GR_STR("<script>\"&'")));
    gr_page_para(&p, GR_SAY(error_detail, GR_STR("{1}<b>")));
    gr_page_data(&p, GR_STR("{\"a\":\"</script>\"}"));
    const char *text = text_of(&p);
    assert_non_null(strstr(text, "&lt;script&gt;&quot;&amp;&#39;"));
    assert_non_null(strstr(text, "<bdi>{1}&lt;b&gt;</bdi>"));
    assert_non_null(strstr(text, "\\u003c/script>"));
    assert_null(strstr(text, "<script>\""));
    assert_null(strstr(text, "<b>"));
}

/* The hidden field of a form as the browser would post it. */
static gr_str proof_in(const char *html)
{
    const char *at = strstr(html, "name=\"form_proof\" value=\"");
    assert_non_null(at);
    at += strlen("name=\"form_proof\" value=\"");
    return gr_str_of(at, (size_t)(strchr(at, '"') - at));
}

static bool post(const char *path, const char *cookies, gr_str proof, uint64_t now_ms)
{
    gr_call call = browser_call(path, cookies);
    gr_http_header field = {GR_STR("form_proof"), proof};
    call.form = (gr_route_query){&field, 1};
    call.now_ms = now_ms;
    return gr_page_form_good(&call);
}

static const char *cookie_of(gr_call *call)
{
    gr_cookie_set(call, "gr_form", call->browser, GR_PAGE_FORM_MS);
    gr_str set = call->set_cookies[call->set_cookie_count - 1];
    return gr_arena_str(arena, gr_str_head(set, (size_t)gr_str_find(set, ';'))).ptr;
}

static void a_form_is_good_for_its_browser_and_its_path_and_for_an_hour(void **state)
{
    (void)state;
    gr_call call = browser_call("/ask", ""), other = browser_call("/ask", "");
    gr_page p = gr_page_begin(&call, GR_SAY(error_title)), q = gr_page_begin(&other, GR_SAY(error_title));
    gr_page_form(&p, GR_STR("/do?id=1"));
    gr_page_form(&q, GR_STR("/do?id=1"));
    gr_str proof = proof_in(text_of(&p));
    text_of(&q);
    const char *mine = cookie_of(&call), *theirs = cookie_of(&other);
    assert_true(post("/do", mine, proof, 1000001));
    assert_true(post("/do", gr_arena_printf(arena, "a=b; gr_form=forged; %s", mine).ptr, proof, 1000001));
    assert_false(post("/other", mine, proof, 1000001));
    assert_false(post("/do", theirs, proof, 1000001));
    assert_false(post("/do", "", proof, 1000001));
    assert_false(post("/do", mine, GR_STR(""), 1000001));
    assert_false(post("/do", mine, proof, 1000000 + GR_PAGE_FORM_MS));
}

static void a_sealed_text_is_good_for_one_purpose_and_unchanged(void **state)
{
    (void)state;
    gr_call call = browser_call("/x", "");
    gr_str sealed = gr_cookie_seal(&call, "a", GR_STR("flow 1"), 1000), content;
    assert_true(gr_cookie_open(&call, "a", sealed, &content));
    assert_true(gr_str_is(content, "flow 1"));
    assert_false(gr_cookie_open(&call, "b", sealed, &content));
    for (size_t i = 0; i < sealed.size; i++) {
        char *changed = (char *)gr_arena_str(arena, sealed).ptr;
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        assert_false(gr_cookie_open(&call, "a", gr_str_of(changed, sealed.size), &content));
    }
    call.now_ms += 1000;
    assert_false(gr_cookie_open(&call, "a", sealed, &content));
}

static void cookies_are_bound_to_this_host_where_it_is_https(void **state)
{
    (void)state;
    gr_call call = browser_call("/x", "");
    config.public_base_url = "https://m.example.org";
    gr_cookie_set(&call, "gr_sso", GR_STR("1"), 60000);
    assert_true(gr_str_starts(call.set_cookies[0], GR_STR("__Host-gr_sso=")));
    assert_non_null(strstr(call.set_cookies[0].ptr, "; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"));
    config.public_base_url = "";
}

static void urls_that_run_or_hide_something_are_bad(void **state)
{
    static const char *const good[] = {"https://a.example/x?y=1#z", "http://127.0.0.1:8080", "element://vector/webapp?x",
                                       "im.fluffychat://login"};
    static const char *const bad[] = {
        "", "/path", "//a.example", "javascript:alert(1)", "JavaScript://a.example/%0aalert(1)", "data:text/html,x", "vbscript:x",
        "https://a.example@b.example/", "https:a.example", "https://", "https:///x", "http://:80/", "https://a\\b", "x:",
        "https://a.example/\r\nX: y", "https://a.example/ b", "https://a/\"", "java\tscript:x", "1x://a"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!gr_page_url_good(gr_str_c(good[i]))) fail_msg("%s is good", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (gr_page_url_good(gr_str_c(bad[i]))) fail_msg("%s is bad", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_is_there_in_every_language),
        cmocka_unit_test(the_language_is_the_one_that_the_browser_likes_best),
        cmocka_unit_test(what_is_put_in_is_never_markup),
        cmocka_unit_test(a_form_is_good_for_its_browser_and_its_path_and_for_an_hour),
        cmocka_unit_test(a_sealed_text_is_good_for_one_purpose_and_unchanged),
        cmocka_unit_test(cookies_are_bound_to_this_host_where_it_is_https),
        cmocka_unit_test(urls_that_run_or_hide_something_are_bad),
    };
    return cmocka_run_group_tests_name("page", tests, set_up, tear_down);
}
