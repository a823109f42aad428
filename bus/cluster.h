/* cluster.h - the map of a cluster: its nodes, their addresses and keys, and which of them runs which shard.
 *
 * Plain data, the same on every node; whoever reads the cluster file fills it in (edge) and checks it once.
 * Nodes are known by their index in the list. Two nodes whose maps have different hashes exchange nothing, and
 * say what differs. A revoked node stays in the list, runs no shard, and its key is refused.
 */
#pragma once
#include "proto/address.h"
#include "proto/err.h"

enum {
    GR_CLUSTER_NODES_MAX = 64,
    GR_CLUSTER_NAME_MAX = 32,
    GR_CLUSTER_ADDRESS_MAX = 128,
    GR_CLUSTER_KEY_SIZE = 32,
    GR_CLUSTER_KEY_TEXT = 41,       /* Z85 and a NUL */
    GR_CLUSTER_HASH_SIZE = 32,
    GR_CLUSTER_NOBODY = 255         /* owner of a shard that was not dealt */
};

typedef struct {
    char name[GR_CLUSTER_NAME_MAX + 1];         /* letters, digits, - and _ */
    char address[GR_CLUSTER_ADDRESS_MAX + 1];   /* host:port */
    uint8_t public_key[GR_CLUSTER_KEY_SIZE];    /* CURVE */
    bool is_revoked;
} gr_cluster_node;

typedef struct gr_cluster {
    uint64_t generation;                        /* rises with every change of the file */
    unsigned node_count;
    gr_cluster_node nodes[GR_CLUSTER_NODES_MAX];
    uint8_t owner[GR_SHARDS];                   /* index of the node */
} gr_cluster;

/* No nodes, no shard dealt. */
void gr_cluster_init(gr_cluster *, uint64_t generation);
/* Appends a node. key: Z85 (40 characters) or base64 of 32 bytes. GR_INVALID_PARAM says what is wrong. */
GR_MUST_USE gr_err gr_cluster_add(gr_cluster *, gr_arena *, gr_str name, gr_str address, gr_str key,
                                  bool is_revoked);
/* Gives the shards first..last to a node; each may be dealt once. */
GR_MUST_USE gr_err gr_cluster_deal(gr_cluster *, gr_arena *, gr_str name, unsigned first, unsigned last);
/* Deals what was not dealt, in equal ranges, to the nodes that are not revoked, in the order of the list. */
void gr_cluster_deal_evenly(gr_cluster *);
/* Every shard has an owner that is not revoked; names, addresses and keys are there once. */
GR_MUST_USE gr_err gr_cluster_check(const gr_cluster *, gr_arena *);

/* Index of the node, or -1. */
int gr_cluster_find(const gr_cluster *, gr_str name);
int gr_cluster_find_key(const gr_cluster *, const uint8_t key[GR_CLUSTER_KEY_SIZE]);
/* How many shards the node runs. */
unsigned gr_cluster_shards(const gr_cluster *, unsigned node);

void gr_cluster_hash(const gr_cluster *, uint8_t out[GR_CLUSTER_HASH_SIZE]);
/* What differs first, for people: "the address of node n2: here a:1, there b:2"; empty when nothing does. */
gr_str gr_cluster_difference(gr_arena *, const gr_cluster *here, const gr_cluster *there);
/* The bytes that nodes exchange when their hashes differ. GR_BAD_JSON when they are no map. */
void gr_cluster_encode(gr_buf *, const gr_cluster *);
GR_MUST_USE gr_err gr_cluster_decode(gr_str bytes, gr_cluster *);

/* Keys of nodes. The public key that belongs to a secret one; and both forms of text. */
void gr_cluster_public_key(const uint8_t secret[GR_CLUSTER_KEY_SIZE], uint8_t out[GR_CLUSTER_KEY_SIZE]);
bool gr_cluster_key_parse(gr_str text, uint8_t out[GR_CLUSTER_KEY_SIZE]);
void gr_cluster_key_print(const uint8_t key[GR_CLUSTER_KEY_SIZE], char out[GR_CLUSTER_KEY_TEXT]);
