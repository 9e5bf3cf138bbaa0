#!/bin/sh
# The shell of someone who need not log in.
echo
echo "This is the getty container. \`host COMMAND\` runs a command of the system, such as \`host crun list\`."
cd /root && HOME=/root exec sh -l
