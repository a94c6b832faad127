"""swiftserver.py KIND CONF [REQUESTS]: one of Swift's servers, as its own program starts it, but

- nothing is forced to the disk: no lab outlives its machine, and a disk with other work takes long over it;
- the proxy writes a line for each request to the file REQUESTS."""
import importlib
import logging
import os
import sys

# The fields of a line, which Swift percent-encodes; `-` is nothing. A source names the middleware that made a request
# of its own, such as those for an SLO's segments.
TEMPLATE = '{method} {path} {status_int} {bytes_recvd} {bytes_sent} {source} {user_agent} {start_time} {end_time}'


def main(kind, conf, requests=None):
    os.fsync = os.fdatasync = lambda fd: None
    if requests:
        handler = logging.FileHandler(requests)
        handler.setFormatter(logging.Formatter('%(message)s'))
        logging.getLogger('proxy-access').addHandler(handler)
    sys.argv = ['swift-%s-server' % kind, conf, '-v']
    importlib.import_module('swift.%s.server' % ('obj' if kind == 'object' else kind)).main()


if __name__ == '__main__':
    main(*sys.argv[1:])
