/* fault_env.h - a file system in memory below LevelDB that loses power, fails and fills up on purpose.
 *
 * Strict about what a power cut keeps: the bytes of a file up to its last sync, and the directory entries
 * (creates, renames, removals) up to the last sync of the directory; syncing a file does not keep its name.
 * Every changing operation (create, append, sync, rename, remove, directory sync) has a number, from 1.  For
 * tests; safe between threads.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

typedef struct gr_fault_env gr_fault_env;

gr_fault_env *gr_fault_env_new(void);
void gr_fault_env_free(gr_fault_env **);                  /* after every store on it was closed */
void *gr_fault_env_leveldb(gr_fault_env *);               /* for gr_store_options.env */
uint64_t gr_fault_env_operations(gr_fault_env *);         /* how many there were so far */

/* The power goes at operation n, before it takes effect: it and everything after it fails, until restart. 0:
 * never. */
void gr_fault_env_cut_at(gr_fault_env *, uint64_t n);
bool gr_fault_env_is_off(gr_fault_env *);

/* Power is back.  Seed 0 forgets all that was not synced; another seed lets a prefix of each file's unsynced
 * bytes and of the unsynced directory entries survive. */
void gr_fault_env_restart(gr_fault_env *, uint64_t seed);

/* operations n to n + count - 1 fail */
void gr_fault_env_fail_at(gr_fault_env *, uint64_t n, uint64_t count);
/* room for all files together; 0: no bound */
void gr_fault_env_space(gr_fault_env *, uint64_t bytes);

#ifdef __cplusplus
}
#endif
