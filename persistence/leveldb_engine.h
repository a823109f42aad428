/* leveldb_engine.h - the embedded engine: every group that waits becomes one synced LevelDB write.
 *
 * After a failed write nothing is assumed: what is outstanding is answered UNKNOWN, all shards are closed,
 * the database is closed, opened again and checked, and it takes no batch until a probe write has succeeded.
 * It keeps no journal tail.
 */
#pragma once
#include "persistence/store.h"

/* Opens the database of the options; texts of errors lie in the arena. */
gr_err gr_leveldb_engine_open(const gr_store_options *, gr_arena *, gr_engine **) GR_MUST_USE;
