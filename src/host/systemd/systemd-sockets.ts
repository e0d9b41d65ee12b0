import { readFileSync, readlinkSync } from 'node:fs';

/**
 * The file descriptors of the listening sockets that systemd, or systemd-socket-activate(1), hands over
 * (sd_listen_fds(3)). None where they are another process's.
 */
export function systemdSockets(environment: NodeJS.ProcessEnv = process.env): number[] {
  const { LISTEN_PID: pid, LISTEN_FDS: count } = environment;
  if (Number(pid) !== process.pid) return [];
  return Array.from({ length: Number(count) || 0 }, (_, number) => FIRST + number);
}

/** The path of a Unix socket of this process (proc_pid_net(5)), which Node does not tell; '' without one. */
export function unixPathOfSocket(fd: number): string {
  const [, inode] = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`)) ?? [];
  const sockets = readFileSync('/proc/self/net/unix', 'utf8').split('\n');
  const fields = /^\S+: \S+ \S+ \S+ \S+ \S+ +(?<inode>\d+) (?<path>.*)$/;
  const found = sockets.map((line) => fields.exec(line)?.groups);
  return found.find((each) => each?.['inode'] === inode)?.['path'] ?? '';
}

/** SD_LISTEN_FDS_START. */
const FIRST = 3;
