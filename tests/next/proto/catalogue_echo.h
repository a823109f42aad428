/* catalogue_echo.h of the next version, as the tests imagine it: a field more, a message more, and from level 2 on `number`
 * means thousandths. */
#pragma once

#define GR_MESSAGES_ECHO(M) \
    M(7, echo, true, "Answered with the same text by the actor echo/x; or posted on to the actor that the text names") \
    M(1023, echo_note, true, "What a later version sends in place of an echo")

#define GR_FIELDS_echo(F, L) F(str, text, PLAIN, 1) F(u64, number, PLAIN, 1) F(str, mark, PLAIN, 2)
#define GR_FIELDS_echo_note(F, L) F(str, text, PLAIN, 2) F(u64, number, PLAIN, 2)
