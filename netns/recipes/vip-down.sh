#!/bin/sh
# The recipe's script for a former master: address away, mfsmaster ended, back to being a metalogger.
# vip-down.sh INTERFACE ADDRESS DIRECTORY-OF-THE-CONFIGURATION
ip address del "$2/24" dev "$1" 2>/dev/null
mfsmaster -c "$3/mfsmaster.cfg" stop
mfsmetalogger -c "$3/mfsmetalogger.cfg" start
