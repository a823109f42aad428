/* page_text.c - texts by language, and which language. See page_text.h. */
#include "proto/page_text.h"

#include <strings.h>

static const char *const texts[GR_PAGE_TEXT_COUNT][GR_PAGE_LANGUAGES] = {
#define T(name, ...) [GR_PAGE_TEXT_##name] = {__VA_ARGS__},
    GR_PAGE_TEXTS(T)
#undef T
};

static const char *const tags[GR_PAGE_LANGUAGES] = {[GR_PAGE_ENGLISH] = "en", [GR_PAGE_GERMAN] = "de"};

gr_str gr_page_text_in(gr_page_language language, gr_page_text text)
{
    gr_assert(language < GR_PAGE_LANGUAGES && text < GR_PAGE_TEXT_COUNT);
    return gr_str_c(texts[text][language]);
}

const char *gr_page_text_tag(gr_page_language language) { return tags[language]; }

static gr_str cut(gr_str *rest, char at)
{
    ptrdiff_t end = gr_str_find(*rest, at);
    gr_str one = end < 0 ? *rest : gr_str_head(*rest, (size_t)end);
    *rest = end < 0 ? (gr_str){0} : gr_str_from(*rest, (size_t)end + 1);
    while (one.size && one.ptr[0] == ' ') one = gr_str_from(one, 1);
    while (one.size && one.ptr[one.size - 1] == ' ') one.size--;
    return one;
}

/* "q=0.8" in thousandths; 1000 without one. */
static unsigned weight_of(gr_str parameters)
{
    while (parameters.size) {
        gr_str one = cut(&parameters, ';');
        unsigned value = 0, unit = 1000;
        if (!gr_str_starts(one, GR_STR("q=")) && !gr_str_starts(one, GR_STR("Q="))) continue;
        for (size_t i = 2; i < one.size && unit; i++) {
            if (one.ptr[i] == '.') continue;
            if (one.ptr[i] < '0' || one.ptr[i] > '9') return 0;
            value += (unsigned)(one.ptr[i] - '0') * unit;
            unit /= 10;
        }
        return value;
    }
    return 1000;
}

gr_page_language gr_page_text_choose(gr_str accepted)
{
    gr_page_language best = GR_PAGE_ENGLISH;
    unsigned best_weight = 0;
    while (accepted.size) {
        gr_str parameters = cut(&accepted, ','), tag = cut(&parameters, ';');
        unsigned weight = weight_of(parameters);
        for (unsigned i = 0; i < GR_PAGE_LANGUAGES; i++) {
            size_t size = strlen(tags[i]);
            bool fits = tag.size >= size && strncasecmp(tag.ptr, tags[i], size) == 0
                && (tag.size == size || tag.ptr[size] == '-');
            if (!fits || weight <= best_weight) continue;
            best = (gr_page_language)i;
            best_weight = weight;
        }
    }
    return best;
}
