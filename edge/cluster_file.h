/* cluster_file.h - the file that says which nodes are the cluster: the same bytes for every node.
 *
 *   generation: 1                  # raise it with every change
 *   nodes:
 *     - name: n1
 *       address: 127.0.0.1:18481   # where the other nodes connect
 *       public_key: <base64 of 32 bytes, as `greenroom init` prints it>
 *       shards: 0-85               # of 256; several parts with commas, or none
 *     - name: n2
 *       ...
 *       revoked: true              # stays in the list, runs nothing, is refused
 *
 * Shards that no node names are dealt to all nodes in equal parts.  Once a cluster has data, shards stay where they
 * are: a shard's data lies in the store of its node.
 */
#pragma once
#include "bus/cluster.h"
#include "edge/config.h"

/* Reads YAML.  What is wrong is added to mistakes with its line; false when anything was. */
bool gr_cluster_file_parse(gr_cluster *, gr_str yaml, const char *file, gr_config_mistakes *);
bool gr_cluster_file_read(gr_cluster *, const char *path, gr_config_mistakes *);
/* The same, but when all nodes say which shards they have, those that nobody names stay undealt: for a node to come. */
bool gr_cluster_file_read_open(gr_cluster *, const char *path, gr_config_mistakes *);
/* Writes the file with all shards named. */
void gr_cluster_file_print(gr_buf *, const gr_cluster *);
/* The lines of one node, as gr_cluster_file_print writes them. */
void gr_cluster_file_print_node(gr_buf *, const gr_cluster *, unsigned node);
/* Puts it in the place of the file that is there, whole or not at all. */
GR_MUST_USE gr_err gr_cluster_file_write(gr_arena *, const char *path, const gr_cluster *);
