#!/bin/sh
# What udhcpc calls with each answer: the address, the way out and the name servers of $interface.
case "$1" in
deconfig)
    ip addr flush dev "$interface"
    ip link set "$interface" up
    ;;
bound | renew)
    ip addr add "$ip/${mask:-24}" dev "$interface"
    for gateway in $router; do
        ip route add default via "$gateway" dev "$interface" && break
    done
    {
        [ -n "$domain" ] && echo "search $domain"
        for server in $dns; do
            echo "nameserver $server"
        done
    } >/etc/resolv.conf
    echo "$interface has the address $ip"
    ;;
esac
