/* server.h - one node of Greenroom in the foreground, from its first listener to its orderly end. */
#pragma once
#include "edge/config.h"

/* Opens the store in dir, starts workers and listeners, serves until SIGTERM or SIGINT and stops within
 * 10 s.  Says on standard error what fails.  Gives the exit code of the process. */
int gr_server_run(const gr_config *, const char *dir);
