/* catalogue_misc.h - messages to names, directories, media and createRoom flows (500-599). See catalogue.h. */
#pragma once

#define GR_RECORDS_MISC(R)

#define GR_MESSAGES_MISC(M)
