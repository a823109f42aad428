/* page_text.h - every text that people read on the server's pages, in every language. See page.h.
 *
 * One row a text: its name, then what it is in each language, in the order of gr_page_language.  {1} and {2} stand for what
 * is put in (escaped; never markup).  A new text has all languages; a new language is a column here and a line in
 * page_text.c.  Lists by topic, so that each has its place.
 */
#pragma once
#include "proto/str.h"

typedef enum { GR_PAGE_ENGLISH, GR_PAGE_GERMAN, GR_PAGE_LANGUAGES } gr_page_language;

#define GR_PAGE_TEXTS_COMMON(T) \
    T(error_title, "This did not work", "Das hat nicht geklappt") \
    T(error_denied, "This is not allowed.", "Das ist nicht erlaubt.") \
    T(error_not_found, "There is no such page.", "Diese Seite gibt es nicht.") \
    T(error_busy, "The server is busy just now. Wait a moment, then try again.", \
      "Der Server ist gerade ausgelastet. Warte einen Augenblick und versuche es dann noch einmal.") \
    T(error_request, "The server could not understand what your browser sent.", \
      "Der Server konnte nicht verstehen, was dein Browser geschickt hat.") \
    T(error_server, "Something is wrong with the server. It is not your fault; try again later.", \
      "Mit dem Server stimmt etwas nicht. Es liegt nicht an dir; versuche es später noch einmal.") \
    T(error_stale, "This page is too old, or it was not opened in this browser. Go back to your app and begin again.", \
      "Diese Seite ist zu alt oder wurde nicht in diesem Browser geöffnet. Gehe zurück zu deiner App und beginne noch einmal.") \
    T(error_detail, "For those who look after the server: {1}", "Für die Betreuung des Servers: {1}") \
    T(go_on, "Continue", "Weiter") \
    T(cancel, "Cancel", "Abbrechen") \
    T(user_name, "User name", "Benutzername") \
    T(password, "Password", "Passwort")

/* Single sign-on. */
#define GR_PAGE_TEXTS_SSO(T)

/* The built-in OAuth 2.0 server. */
#define GR_PAGE_TEXTS_OAUTH(T)

/* Accounts: registration, terms, email, stages of user-interactive authentication. */
#define GR_PAGE_TEXTS_ACCOUNT(T)

#define GR_PAGE_TEXTS(T) GR_PAGE_TEXTS_COMMON(T) GR_PAGE_TEXTS_SSO(T) GR_PAGE_TEXTS_OAUTH(T) GR_PAGE_TEXTS_ACCOUNT(T)

typedef enum {
    GR_PAGE_TEXT_none,                 /* nothing */
#define T(name, ...) GR_PAGE_TEXT_##name,
    GR_PAGE_TEXTS(T)
#undef T
    GR_PAGE_TEXT_COUNT
} gr_page_text;

/* A text with what is put in: GR_SAY(user_name), GR_SAY(error_detail, detail). */
typedef struct { gr_page_text text; gr_str args[2]; } gr_page_say;
#define GR_SAY(name, ...) ((gr_page_say){GR_PAGE_TEXT_##name, {__VA_ARGS__}})

gr_str gr_page_text_in(gr_page_language, gr_page_text);
const char *gr_page_text_tag(gr_page_language);                    /* "en", as HTML has it */
/* The best of ours by an Accept-Language header (RFC 9110, 12.5.4); English when none fits. */
gr_page_language gr_page_text_choose(gr_str accept_language);
