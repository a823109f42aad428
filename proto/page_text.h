/* page_text.h - every text that people read on the server's pages and in its mails, in every language.
 *
 * One row a text: its name, then what it is in each language, in the order of gr_page_language.  {1} and {2} stand for what
 * is put in (on pages escaped; never markup).  A new text has all languages; a new language is a column here and a line in
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
    T(user_name_or_email, "User name or email address", "Benutzername oder E-Mail-Adresse") \
    T(password, "Password", "Passwort")

/* Single sign-on. */
#define GR_PAGE_TEXTS_SSO(T) \
    T(choose_title, "Sign in to {1}", "Anmelden bei {1}") \
    T(choose_hint, "Choose who vouches for you.", "Wähle, wer für dich bürgt.") \
    T(choose_with, "Continue with {1}", "Weiter mit {1}") \
    T(sso_none, "This server has no single sign-on.", "Dieser Server bietet keine Anmeldung über andere Dienste.") \
    T(sso_bad_url, "The app that sent you here does not say where to go back to, or names an address that is not allowed.", \
      "Die App, die dich hierher geschickt hat, nennt keine erlaubte Adresse, zu der es zurückgeht.") \
    T(name_title, "Choose your user name", "Wähle deinen Benutzernamen") \
    T(name_hint, "You are new on {1}. Others will find you by this name, and it can't be changed later.", \
      "Du bist neu auf {1}. Unter diesem Namen finden dich andere; er kann später nicht geändert werden.") \
    T(name_rules, "Small letters a to z, digits, and . _ = - / +", "Kleine Buchstaben a bis z, Ziffern und . _ = - / +") \
    T(name_bad, "A user name has only small letters, digits and . _ = - / +", \
      "Ein Benutzername hat nur kleine Buchstaben, Ziffern und . _ = - / +") \
    T(name_taken, "The name {1} is taken. Choose another.", "Der Name {1} ist vergeben. Wähle einen anderen.") \
    T(confirm_title, "Continue to your app?", "Weiter zu deiner App?") \
    T(confirm_who, "You are signed in as", "Du bist angemeldet als") \
    T(confirm_where, "The app at this address wants to use your account. Go on only if you know it:", \
      "Die App unter dieser Adresse möchte dein Konto benutzen. Gehe nur weiter, wenn du sie kennst:") \
    T(uia_title, "Confirm that it is you", "Bestätige, dass du es bist") \
    T(uia_hint, "Your app asks for this before it changes something important in your account. If you did not just do " \
      "something there, close this page.", \
      "Deine App fragt danach, bevor sie etwas Wichtiges an deinem Konto ändert. Wenn du dort nicht gerade etwas getan hast, " \
      "schließe diese Seite.") \
    T(uia_confirm, "Yes, it is me", "Ja, ich bin es") \
    T(uia_done_title, "Done", "Fertig") \
    T(uia_done, "You can close this page and go back to your app.", \
      "Du kannst diese Seite schließen und zu deiner App zurückkehren.")

/* The built-in OAuth 2.0 server. */
#define GR_PAGE_TEXTS_OAUTH(T) \
    T(sign_in_to_register, "Make a new account", "Ein neues Konto anlegen") \
    T(sign_in_again, "Sign in again", "Wieder anmelden") \
    T(sign_out_button, "Sign out of these pages", "Von diesen Seiten abmelden") \
    T(signed_out_title, "Signed out", "Abgemeldet") \
    T(signed_out, "You are signed out of these pages. Your apps stay signed in.", \
      "Du bist von diesen Seiten abgemeldet. Deine Apps bleiben angemeldet.") \
    T(consent_title, "Let {1} in?", "{1} Zugang geben?") \
    T(consent_as, "You are signed in as {1}.", "Du bist als {1} angemeldet.") \
    T(consent_what, "An app that calls itself {1}, of {2}, wants to read and send messages as you, with all of your account.", \
      "Eine App, die sich {1} nennt, von {2}, möchte in deinem Namen Nachrichten lesen und senden, mit deinem ganzen Konto.") \
    T(consent_where, "Then you are sent on to {1}. Allow it only if you have just begun there.", \
      "Danach geht es weiter zu {1}. Erlaube es nur, wenn du gerade eben dort begonnen hast.") \
    T(consent_tos, "Terms of the app", "Bedingungen der App") \
    T(consent_policy, "How the app uses your data", "Wie die App mit deinen Daten umgeht") \
    T(consent_allow, "Allow", "Erlauben") \
    T(consent_other, "Use another account", "Ein anderes Konto nehmen") \
    T(consent_client_unknown, "The app that sent you here is not known to this server. Begin again in the app.", \
      "Die App, die dich hierher geschickt hat, ist diesem Server nicht bekannt. Beginne noch einmal in der App.") \
    T(consent_redirect_unknown, "The app wants you to be sent to an address that it has not registered. This is not done.", \
      "Die App möchte dich an eine Adresse schicken, die sie nicht angemeldet hat. Das wird nicht getan.") \
    T(link_title, "Connect a device", "Ein Gerät verbinden") \
    T(link_hint, "Type the code that your device shows.", "Gib den Code ein, den dein Gerät zeigt.") \
    T(link_code, "Code", "Code") \
    T(link_unknown, "Nothing waits for this code. It may have expired: begin again on your device.", \
      "Auf diesen Code wartet nichts. Vielleicht ist er abgelaufen: Beginne auf deinem Gerät noch einmal.") \
    T(link_compare, "Your device must show this very code:", "Dein Gerät muss genau diesen Code zeigen:") \
    T(link_warning, "Allow it only if you have the device before you. Nobody who helps you needs this from you.", \
      "Erlaube es nur, wenn du das Gerät vor dir hast. Niemand, der dir hilft, braucht das von dir.") \
    T(link_done_title, "Connected", "Verbunden") \
    T(link_done, "Go on with your device. You can close this page.", \
      "Mache auf deinem Gerät weiter. Du kannst diese Seite schließen.") \
    T(link_denied_title, "Not connected", "Nicht verbunden") \
    T(link_denied, "The device was refused. You can close this page.", \
      "Das Gerät wurde abgelehnt. Du kannst diese Seite schließen.") \
    T(manage_title, "Your account", "Dein Konto") \
    T(manage_back, "Back to your account", "Zurück zum Konto") \
    T(manage_profile, "Profile", "Profil") \
    T(manage_devices, "Devices", "Geräte") \
    T(manage_password, "Change the password", "Passwort ändern") \
    T(manage_deactivate, "Close the account", "Konto schließen") \
    T(save, "Save", "Speichern") \
    T(saved_title, "Saved", "Gespeichert") \
    T(saved, "It holds from now on.", "Es gilt von jetzt an.") \
    T(profile_name, "Display name", "Anzeigename") \
    T(profile_hint, "Everybody in your rooms sees it.", "Alle in deinen Räumen sehen ihn.") \
    T(device_line, "{1}, last seen {2}", "{1}, zuletzt gesehen {2}") \
    T(device_title, "Device {1}", "Gerät {1}") \
    T(device_seen, "Last seen {1} from {2}.", "Zuletzt gesehen {1} von {2}.") \
    T(device_end_button, "Sign this device out", "Dieses Gerät abmelden") \
    T(device_ended_title, "Signed out", "Abgemeldet") \
    T(device_ended, "The device is signed out.", "Das Gerät ist abgemeldet.") \
    T(devices_none, "No app is signed in to your account.", "Keine App ist mit deinem Konto angemeldet.") \
    T(password_old, "Present password", "Bisheriges Passwort") \
    T(password_new, "New password", "Neues Passwort") \
    T(password_logout, "Sign all devices out", "Alle Geräte abmelden") \
    T(password_refused, "The password was not changed: {1}.", "Das Passwort wurde nicht geändert: {1}.") \
    T(deactivate_what, "This is for good: you leave all rooms, all devices are signed out, and nobody can use the name again.", \
      "Das ist endgültig: Du verlässt alle Räume, alle Geräte werden abgemeldet, und niemand kann den Namen wieder benutzen.") \
    T(deactivate_erase, "Hide my messages from people who join later", \
      "Meine Nachrichten vor denen verbergen, die später dazukommen") \
    T(deactivate_confirm, "Your user id", "Deine Benutzer-ID") \
    T(deactivate_hint, "Type {1} to confirm.", "Gib zur Bestätigung {1} ein.") \
    T(deactivated_title, "The account is closed", "Das Konto ist geschlossen") \
    T(deactivated, "Goodbye. You can close this page.", "Auf Wiedersehen. Du kannst diese Seite schließen.") \
    T(reset_title, "Reset your cryptographic identity", "Kryptografische Identität zurücksetzen") \
    T(reset_what, "An app of yours wants to make new keys for you. People you have verified have to be verified again, and " \
      "messages may be lost whose keys are nowhere else. Allow it only if you have just begun this in your app.", \
      "Eine deiner Apps möchte dir neue Schlüssel machen. Wen du bestätigt hast, musst du neu bestätigen, und Nachrichten " \
      "können verloren gehen, deren Schlüssel sonst nirgends sind. Erlaube es nur, wenn du es gerade in deiner App begonnen " \
      "hast.") \
    T(reset_button, "Reset", "Zurücksetzen") \
    T(reset_from_app, "Begin the reset in your app: it leads you to this page.", \
      "Beginne das Zurücksetzen in deiner App: Sie führt dich auf diese Seite.") \
    T(reset_not_yours, "This request is not one of yours, or it has taken too long. Begin again in your app.", \
      "Diese Anfrage ist keine von dir, oder es hat zu lange gedauert. Beginne noch einmal in deiner App.") \
    T(reset_done_title, "Allowed", "Erlaubt") \
    T(reset_done, "Go back to your app, which goes on with it. You can close this page.", \
      "Gehe zurück zu deiner App, die damit weitermacht. Du kannst diese Seite schließen.")

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
    T(stage_email_title, "Confirm your email address", "Bestätige deine E-Mail-Adresse") \
    T(stage_email_hint, "{1} sends you a mail with a link.", "{1} schickt dir eine Mail mit einem Link.") \
    T(stage_email_label, "Email address", "E-Mail-Adresse") \
    T(stage_email_sent, "If {1} can be used, a mail is on its way. Open the link in it, then go on here.", \
      "Wenn {1} verwendet werden kann, ist eine Mail unterwegs. Öffne den Link darin und gehe dann hier weiter.") \
    T(email_title, "Confirm your email address", "Bestätige deine E-Mail-Adresse") \
    T(email_hint, "Somebody, probably you, has given this address to {1}. Go on only if that was you.", \
      "Jemand, wahrscheinlich du, hat diese Adresse bei {1} angegeben. Gehe nur weiter, wenn du das warst.") \
    T(email_confirm, "That was me: confirm", "Das war ich: bestätigen") \
    T(email_old, "This link is too old, was used in another way, or is not whole. Ask for a new mail.", \
      "Dieser Link ist zu alt, wurde anders verwendet oder ist nicht vollständig. Lass dir eine neue Mail schicken.") \
    T(email_done_title, "Your address is confirmed", "Deine Adresse ist bestätigt") \
    T(email_done_hint, "{1} is confirmed. Go back to your app to go on there.", \
      "{1} ist bestätigt. Gehe zurück zu deiner App, dort geht es weiter.") \
    T(email_back, "Back to the app", "Zurück zur App") \
    T(renew_title, "Go on using your account on {1}", "Dein Konto auf {1} weiter nutzen") \
    T(renew_hint, "Your account is valid for a while only. Here you can make it valid again.", \
      "Dein Konto gilt nur eine Zeit lang. Hier kannst du es verlängern.") \
    T(renew_button, "Renew the account", "Konto verlängern") \
    T(renew_done_title, "Your account is renewed", "Dein Konto ist verlängert") \
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
    T(register_email_hint, "Give {1} your email address first: by it you get in again if you forget your password. It has to " \
      "be confirmed.", \
      "Gib {1} zuerst deine E-Mail-Adresse: Mit ihr kommst du wieder hinein, wenn du dein Passwort vergisst. Sie muss " \
      "bestätigt werden.") \
    T(register_email_skip, "Go on without an email address", "Ohne E-Mail-Adresse weiter") \
    T(register_email_bad, "This is not an email address.", "Das ist keine E-Mail-Adresse.") \
    T(register_email_sent, "If {1} can be used, a mail is on its way. Open the link in it, then fill in this page.", \
      "Wenn {1} verwendet werden kann, ist eine Mail unterwegs. Öffne den Link darin und fülle dann diese Seite aus.") \
    T(register_email_not_yet, "The address is not confirmed yet: open the link in the mail first.", \
      "Die Adresse ist noch nicht bestätigt: Öffne zuerst den Link in der Mail.") \
    T(register_email_taken, "This email address belongs to an account already.", \
      "Diese E-Mail-Adresse gehört schon zu einem Konto.") \
    T(register_button, "Make the account", "Konto anlegen") \
    T(registered_title, "Your account is {1}", "Dein Konto ist {1}")

/* Mails: {1} is the server, {2} the link.  Of each first the subject. */
#define GR_PAGE_TEXTS_MAIL(T) \
    T(mail_register_subject, "Confirm your email address for {1}", "Bestätige deine E-Mail-Adresse für {1}") \
    T(mail_register, "Somebody, probably you, is making an account on {1} with this email address.\n\n" \
      "To confirm that the address is yours, open this page and go on there:\n\n{2}\n\n" \
      "If it was not you, there is nothing to do: without this page no account is made.\n", \
      "Jemand, wahrscheinlich du, legt auf {1} ein Konto mit dieser E-Mail-Adresse an.\n\n" \
      "Um zu bestätigen, dass die Adresse deine ist, öffne diese Seite und gehe dort weiter:\n\n{2}\n\n" \
      "Wenn du es nicht warst, brauchst du nichts zu tun: Ohne diese Seite entsteht kein Konto.\n") \
    T(mail_taken_subject, "You have an account on {1}", "Du hast ein Konto auf {1}") \
    T(mail_taken, "Somebody, probably you, wanted to use this email address on {1}. It belongs to an account there already.\n\n" \
      "If you have forgotten your password, ask for a new one in your app, on the page where you log in.\n\n" \
      "If it was not you, there is nothing to do.\n", \
      "Jemand, wahrscheinlich du, wollte diese E-Mail-Adresse auf {1} verwenden. Sie gehört dort schon zu einem Konto.\n\n" \
      "Wenn du dein Passwort vergessen hast, lass dir in deiner App ein neues geben, dort, wo du dich anmeldest.\n\n" \
      "Wenn du es nicht warst, brauchst du nichts zu tun.\n") \
    T(mail_reset_subject, "A new password for {1}", "Ein neues Passwort für {1}") \
    T(mail_reset, "Somebody, probably you, wants a new password for the account on {1} that has this email address.\n\n" \
      "To allow that, open this page and go on there; then go back to your app:\n\n{2}\n\n" \
      "If it was not you, do not open the page: your password stays what it is.\n", \
      "Jemand, wahrscheinlich du, möchte ein neues Passwort für das Konto auf {1}, das diese E-Mail-Adresse hat.\n\n" \
      "Um das zu erlauben, öffne diese Seite und gehe dort weiter; kehre dann zu deiner App zurück:\n\n{2}\n\n" \
      "Wenn du es nicht warst, öffne die Seite nicht: Dein Passwort bleibt, wie es ist.\n") \
    T(mail_add_subject, "Confirm your email address for {1}", "Bestätige deine E-Mail-Adresse für {1}") \
    T(mail_add, "Somebody, probably you, is adding this email address to an account on {1}.\n\n" \
      "To confirm that the address is yours, open this page and go on there; then go back to your app:\n\n{2}\n\n" \
      "If it was not you, there is nothing to do.\n", \
      "Jemand, wahrscheinlich du, fügt diese E-Mail-Adresse zu einem Konto auf {1} hinzu.\n\n" \
      "Um zu bestätigen, dass die Adresse deine ist, öffne diese Seite und gehe dort weiter; kehre dann zu deiner App " \
      "zurück:\n\n{2}\n\n" \
      "Wenn du es nicht warst, brauchst du nichts zu tun.\n") \
    T(mail_renew_subject, "Your account on {1} is about to end", "Dein Konto auf {1} läuft bald ab") \
    T(mail_renew, "Your account on {1} is valid for a while only. To go on using it, open this page and go on there:\n\n{2}\n\n" \
      "Without that you can't use the account once its time is over; nothing of it is lost.\n", \
      "Dein Konto auf {1} gilt nur eine Zeit lang. Um es weiter zu nutzen, öffne diese Seite und gehe dort weiter:\n\n{2}\n\n" \
      "Sonst kannst du das Konto nach Ablauf der Zeit nicht mehr nutzen; verloren geht davon nichts.\n")

#define GR_PAGE_TEXTS(T) \
    GR_PAGE_TEXTS_COMMON(T) GR_PAGE_TEXTS_SSO(T) GR_PAGE_TEXTS_OAUTH(T) GR_PAGE_TEXTS_ACCOUNT(T) GR_PAGE_TEXTS_MAIL(T)

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
/* The best of ours by an Accept-Language header (RFC 9110, 12.5.4), or of that tag; English when none fits. */
gr_page_language gr_page_text_choose(gr_str accept_language);
