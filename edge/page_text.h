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
#define GR_PAGE_TEXTS_ACCOUNT(T) \
    T(stage_password_title, "Confirm that it is you", "Bestätige, dass du es bist") \
    T(stage_password_hint, "Enter the password of {1}.", "Gib das Passwort von {1} ein.") \
    T(stage_token_title, "Registration token", "Registrierungsschlüssel") \
    T(stage_token_hint, "{1} lets people register who were given a token. Enter yours.", \
      "Auf {1} kann sich registrieren, wer einen Schlüssel bekommen hat. Gib deinen ein.") \
    T(stage_token_label, "Token", "Schlüssel") \
    T(stage_terms_title, "Terms of {1}", "Bedingungen von {1}") \
    T(stage_terms_hint, "Please read these, and agree to them if you want to have an account:", \
      "Bitte lies dies und stimme zu, wenn du ein Konto haben möchtest:") \
    T(stage_terms_link, "{1}", "{1}") \
    T(stage_terms_agree, "I have read this and agree to it", "Ich habe das gelesen und stimme zu") \
    T(stage_dummy_title, "Go on", "Weiter geht es") \
    T(stage_dummy_hint, "There is nothing to be filled in. Go on to return to your app.", \
      "Hier ist nichts auszufüllen. Gehe weiter, um zu deiner App zurückzukehren.") \
    T(stage_done_title, "Done", "Erledigt") \
    T(stage_done_hint, "You can close this page and go back to your app.", \
      "Du kannst diese Seite schließen und zu deiner App zurückkehren.") \
    T(stage_wrong, "That was not right. Try again.", "Das war nicht richtig. Versuche es noch einmal.") \
    T(login_title, "Log in to {1}", "Anmelden bei {1}") \
    T(login_failed, "The user name or the password is wrong.", "Der Benutzername oder das Passwort ist falsch.") \
    T(login_wait, "Too many attempts. Wait a while, then try again.", \
      "Zu viele Versuche. Warte eine Weile und versuche es dann noch einmal.") \
    T(login_button, "Log in", "Anmelden") \
    T(logged_in_title, "You are logged in", "Du bist angemeldet") \
    T(logged_in_hint, "You can go back to your app.", "Du kannst zu deiner App zurückkehren.") \
    T(register_title, "Make an account on {1}", "Konto anlegen auf {1}") \
    T(register_closed, "{1} takes no registrations. Ask whoever runs it for an account.", \
      "{1} nimmt keine Registrierungen an. Bitte die Betreiber um ein Konto.") \
    T(register_elsewhere, "An account on {1} can be made in your app only.", \
      "Ein Konto auf {1} kann nur in deiner App angelegt werden.") \
    T(register_name_taken, "This user name is taken. Choose another.", "Dieser Benutzername ist vergeben. Wähle einen anderen.") \
    T(register_name_bad, "A user name has only a to z, 0 to 9 and . _ = - / +", \
      "Ein Benutzername besteht nur aus a bis z, 0 bis 9 und . _ = - / +") \
    T(register_password_weak, "This password is not good enough. Choose a longer one, of several kinds of characters.", \
      "Dieses Passwort ist nicht gut genug. Wähle ein längeres, aus verschiedenen Arten von Zeichen.") \
    T(register_button, "Make the account", "Konto anlegen") \
    T(registered_title, "Your account is {1}", "Dein Konto ist {1}")

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
