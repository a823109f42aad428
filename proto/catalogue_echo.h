/* catalogue_echo.h - the messages of the actors echo/x: for tests, and for trying the bus by hand. See catalogue.h. */
#pragma once

#define GR_MESSAGES_ECHO(M) \
    M(7, echo, true, "Answered with the same text by the actor echo/x; for tests and for trying the bus by hand")

#define GR_FIELDS_echo(F, L) F(str, text, PLAIN, 1) F(u64, number, PLAIN, 1)
