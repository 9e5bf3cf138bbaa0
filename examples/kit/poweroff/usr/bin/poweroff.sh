#!/bin/sh
# poweroff.sh [SECONDS] [-f]: shuts the machine down after a while; -f at once, without the containers of onshutdown.
sleep "${1:-30}"
if [ "$2" = -f ]; then
    sync
    poweroff -f
else
    kill -USR2 1 # what busybox init takes for `poweroff`
fi
