#!/bin/sh
# The server as a user of its own; arguments are options of redis-server. Data is kept in /data.
mkdir -p /data
chown store:store /data
exec su -s /bin/sh store -c "exec redis-server --dir /data $*"
