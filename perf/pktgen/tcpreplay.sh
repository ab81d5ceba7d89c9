#!/usr/bin/env bash
# Sends a capture by tcpreplay at a rate of packets a second, so many times, each time with other addresses.
#
# usage: tcpreplay.sh CAPTURE INTERFACE PACKETS_PER_SECOND [LOOPS]      (root)
set -euo pipefail
capture=$1 interface=$2 rate=$3 loops=${4:-1}
# --preload-pcap: from memory, not from the disk. --unique-ip: other addresses in each loop; it changes both ends, so that there are
# as many servers as loops.
arguments=(--intf1="$interface" --preload-pcap --pps="$rate" --loop="$loops")
if ((loops > 1)); then arguments+=(--unique-ip); fi
exec tcpreplay "${arguments[@]}" "$capture"
