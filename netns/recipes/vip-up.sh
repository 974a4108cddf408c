#!/bin/sh
# The recipe's script for the new master, run by ucarp (-u) or keepalived (notify_master): address, metalogger, mfsmaster.
# vip-up.sh INTERFACE ADDRESS DIRECTORY-OF-THE-CONFIGURATION
ip address add "$2/24" dev "$1" 2>/dev/null
mfsmetalogger -c "$3/mfsmetalogger.cfg" stop
mfsmaster -c "$3/mfsmaster.cfg" -a start
