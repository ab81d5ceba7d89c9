"""A capture as a stateless profile of TRex, as it is: send it once, or its connections look like their own retransmissions.

t-rex-64 -i                                                                  (the server, in one terminal)
trex-console: start -f perf/pktgen/trex.py -p 0 -t --capture /path/t1.pcap --ipg_usec 1.0

Not run by us: see README.md.
"""

import argparse

from trex_stl_lib.api import STLProfile


class Capture:
    """What TRex asks for streams."""

    def get_streams(self, direction=0, tunables=(), **_):
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--capture", default="t1.pcap")
        parser.add_argument("--ipg_usec", type=float, default=1.0, help="microseconds from one packet to the next")
        options = parser.parse_args(tunables)
        return STLProfile.load_pcap(options.capture, ipg_usec=options.ipg_usec, loop_count=1).get_streams()


def register():
    return Capture()
