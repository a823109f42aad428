/* main.c - the program greenroom: its commands in the order in which help lists them. */
#include "edge/cli.h"

static const gr_cli_command *const commands[] = {
    &gr_cmd_init, &gr_cmd_run, &gr_cmd_check_config,
    &gr_cmd_user_add, &gr_cmd_user_show, &gr_cmd_user_import, &gr_cmd_user_valid, &gr_cmd_registration_token,
    &gr_cmd_top, &gr_cmd_trace, &gr_cmd_actors, &gr_cmd_inspect, &gr_cmd_send, &gr_cmd_dead,
    &gr_cmd_destinations, &gr_cmd_purge,
    &gr_cmd_cluster_init, &gr_cmd_cluster_key, &gr_cmd_cluster_status, &gr_cmd_upgrade_finish,
    &gr_cmd_backup, &gr_cmd_restore, &gr_cmd_fsck, &gr_cmd_schema, &gr_cmd_updates,
    &gr_cmd_catalogue, &gr_cmd_config_docs, &gr_cmd_version, NULL};

int main(int argc, char **argv) { return gr_cli_main(commands, argc, argv); }
