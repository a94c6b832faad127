#!/usr/bin/env python3
"""powerloss.py SIZE CUT COMMAND...   (as root, on Linux with loop devices and ext4; no network; several may run at once)

Runs COMMAND in a fresh ext4 of SIZE (such as 64M; {} in an argument stands for its path), pulls the plug, mounts again
and prints the mount's path. CUT says when: seconds ("0.25"), "line:N" (once N lines are on stdout and stderr together),
or "exit" (in the instant in which COMMAND ends). MOUNT.out holds what COMMAND had printed by then, and no later byte.
`powerloss.py --end MOUNT` unmounts and removes everything. Status 1 and one line on stderr when this fails; status 3
when COMMAND ended before its cut.
"""
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
WITHOUT_FLUSHING = 2  # not even the journal: nothing more reaches the disk


class EndedBefore(Exception):
    """The command was faster than the cut."""


def run(*command):
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip()}")


def umount(mount):
    for attempt in range(100):  # a killed process lets go of its files a moment later
        try:
            return os.path.ismount(mount) and run("umount", mount)
        except RuntimeError:
            if attempt == 99:
                raise
            time.sleep(0.05)


def end(mount):
    umount(mount)
    shutil.rmtree(os.path.dirname(mount))


def signal_group(group, number):
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass


def wait_for(cut, child, out):
    kind, _, lines = cut.partition(":")
    start = time.monotonic()
    while True:
        ended = child.poll() is not None
        if kind == "exit":
            reached = ended
        elif kind == "line":
            with open(out, "rb") as log:
                reached = log.read().count(b"\n") >= int(lines)
        else:
            reached = time.monotonic() - start >= float(cut)
        if reached:
            return
        if ended:
            raise EndedBefore(f"the command ended before the cut, with status {child.returncode}")
        time.sleep(0.0005)


def main(size, cut, *command):
    mount = os.path.join(tempfile.mkdtemp(prefix="powerloss."), "mount")
    disk, out, child, root = mount + ".disk", mount + ".out", None, None
    os.mkdir(mount)
    try:
        run("truncate", "-s", size, disk)
        run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", disk)
        run("mount", "-o", "loop", disk, mount)
        root = os.open(mount, os.O_RDONLY)
        with open(out, "ab") as log:
            words = [word.replace("{}", mount) for word in command]
            child = subprocess.Popen(words, cwd="/", stdout=log, stderr=log, start_new_session=True)
        wait_for(cut, child, out)
        signal_group(child.pid, signal.SIGSTOP)  # nobody may see, or report on, what the disk says after the cut
        time.sleep(0.01)
        fcntl.ioctl(root, SHUTDOWN, WITHOUT_FLUSHING.to_bytes(4, "little"))
        signal_group(child.pid, signal.SIGKILL)
        child.wait()
        os.close(root)
        root = None
        umount(mount)
        run("mount", "-o", "loop", disk, mount)  # replays the journal, as a boot does
        print(mount)
    except BaseException as error:
        if child:
            signal_group(child.pid, signal.SIGKILL)
            child.wait()
        if root is not None:
            os.close(root)
        end(mount)
        print(f"powerloss: {error or type(error).__name__}", file=sys.stderr)
        sys.exit(3 if isinstance(error, EndedBefore) else 1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    if len(sys.argv) == 3 and sys.argv[1] == "--end":
        end(sys.argv[2])
    elif len(sys.argv) > 3:
        main(*sys.argv[1:])
    else:
        sys.exit(__doc__)
