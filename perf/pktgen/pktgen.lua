-- Sends a capture by DPDK Pktgen at rising rates, ten seconds each, and prints how many packets went out.
--
-- pktgen -l 0-2 -n 4 -- -P -m "1.0" -s 0:t1.pcap -f perf/pktgen/pktgen.lua
--
-- -s loads the capture into memory for port 0; Pktgen sends it over and over, as it is. Not run by us: see README.md.
package.path = package.path .. ";?.lua;test/?.lua;app/?.lua;"
require "Pktgen"

local port = "0"
local seconds = 10

pktgen.pcap(port, "on")
for _, percent in ipairs({ 1, 2, 5, 10, 20, 50, 100 }) do
    pktgen.set(port, "rate", percent)
    pktgen.clr()
    pktgen.start(port)
    pktgen.delay(seconds * 1000)
    pktgen.stop(port)
    pktgen.delay(500)
    local sent = pktgen.portStats(port, "port")[tonumber(port)].opackets
    printf("%3d %% of the line: %d packets, %d a second\n", percent, sent, sent / seconds)
end
pktgen.quit()
