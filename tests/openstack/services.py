"""Processes of one lab: started in sessions of their own, known by pid and start time, ended with all their children."""
import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

# One block a lab, outside of what the kernel gives to outgoing connections.
FIRST_PORT, PORTS_A_BLOCK, BLOCKS = 20000, 16, 500


class Failed(Exception):
    """What did not work, told to people."""


def _is_free(port):
    with socket.socket() as asked:
        try:
            asked.bind(('127.0.0.1', port))
        except OSError:
            return False
    return True


def free_ports():
    """A block of ports that nothing listens on, and a socket to hold until all services do.

    A lab that is starting is known by its socket's name, one that runs by its ports."""
    for block in random.sample(range(BLOCKS), BLOCKS):
        held = socket.socket(socket.AF_UNIX)
        try:
            held.bind('\0backhaul-openstack-%d' % block)
        except OSError:
            held.close()
            continue
        ports = [FIRST_PORT + block * PORTS_A_BLOCK + at for at in range(PORTS_A_BLOCK)]
        if all(_is_free(port) for port in ports):
            return ports, held
        held.close()
    raise Failed('there are no free ports between %d and %d' % (FIRST_PORT, FIRST_PORT + BLOCKS * PORTS_A_BLOCK))


class Services:
    """Those of one folder."""

    def __init__(self, folder):
        self.run, self.log = os.path.join(folder, 'run'), os.path.join(folder, 'log')

    def _pid_file(self, name):
        return os.path.join(self.run, name + '.pid')

    def start(self, name, command, environment=None, folder=None):
        with open(os.path.join(self.log, name + '.log'), 'ab') as log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                                     env=dict(os.environ, **(environment or {})), start_new_session=True)
        with open(self._pid_file(name) + '.new', 'w') as kept:
            kept.write('%d %s\n' % (child.pid, _started(child.pid)))
        os.rename(self._pid_file(name) + '.new', self._pid_file(name))

    def names(self):
        return sorted(name[:-4] for name in os.listdir(self.run) if name.endswith('.pid'))

    def pid(self, name):
        """None unless it is the very process that was started, and lives."""
        try:
            with open(self._pid_file(name)) as kept:
                pid, started = kept.read().split()
        except FileNotFoundError:
            return None
        return int(pid) if _started(int(pid)) == started else None

    def end(self, names):
        """Kills: what they were doing is not to be finished."""
        for name in names:
            pid = self.pid(name)
            if pid:
                os.killpg(pid, signal.SIGKILL)
        for name in names:
            while self.pid(name):
                time.sleep(0.01)
            if os.path.exists(self._pid_file(name)):
                os.remove(self._pid_file(name))

    def wait(self, name, is_ready, seconds=120):
        """Until it is ready; fails at once when it has ended."""
        last = time.monotonic() + seconds
        while not is_ready():
            if not self.pid(name):
                raise Failed('%s has ended: %s' % (name, self.tail(name)))
            if time.monotonic() > last:
                raise Failed('%s is not ready after %d s: %s' % (name, seconds, self.tail(name)))
            time.sleep(0.05)

    def wait_for_end(self, name):
        while self.pid(name):
            time.sleep(0.05)

    def tail(self, name):
        with open(os.path.join(self.log, name + '.log'), errors='replace') as log:
            return ''.join(log.readlines()[-15:])


def _started(pid):
    """None for a process that has ended, also when nobody has waited for it."""
    try:
        with open('/proc/%d/stat' % pid) as stat:
            fields = stat.read().rpartition(')')[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == 'Z' else fields[19]


def listens(port):
    def asked():
        with socket.socket() as connection:
            return connection.connect_ex(('127.0.0.1', port)) == 0
    return asked


def answers(url):
    def asked():
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status < 400
        except urllib.error.HTTPError as error:
            return error.code < 500
        except OSError:
            return False
    return asked
