"""Swift's own log of requests, one line each, into a file; named by `log_custom_handlers` in proxy-server.conf."""
import logging

# The fields of a line, which Swift percent-encodes; `-` is nothing. A source names the middleware that made a request
# of its own, such as those for an SLO's segments.
TEMPLATE = '{method} {path} {status_int} {bytes_recvd} {bytes_sent} {source} {user_agent} {transaction_id}'


def to_file(conf, *_):
    logger = logging.getLogger('proxy-access')
    if 'requests_file' in conf and not any(isinstance(known, logging.FileHandler) for known in logger.handlers):
        handler = logging.FileHandler(conf['requests_file'])
        handler.setFormatter(logging.Formatter('%(message)s'))
        logger.addHandler(handler)
