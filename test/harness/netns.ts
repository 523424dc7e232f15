import { existsSync, statSync } from 'node:fs';
import { runCommand } from './run-command.ts';

/** argv that runs a program in a named network namespace and leaves the cgroup mounts visible (unlike ip netns exec). */
export function inNetns(name: string, argv: readonly string[]): string[] {
  return ['nsenter', `--net=/run/netns/${name}`, '--', ...argv];
}

/** A network namespace of its own: loopback up, forwarding on, no uplink. */
export async function createNetns(name: string): Promise<void> {
  await runCommand(['ip', 'netns', 'add', name]);
  await runCommand(['ip', '-n', name, 'link', 'set', 'lo', 'up']);
  // The busybox and procps sysctl differ; a shell redirection is the same everywhere. /proc/sys/net is the caller's.
  await runCommand(inNetns(name, ['sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']));
}

export async function deleteNetns(name: string): Promise<void> {
  if (existsSync(`/run/netns/${name}`)) await runCommand(['ip', 'netns', 'del', name]);
}

export interface VethEnd {
  readonly netns: string;
  readonly device: string;
  /** With prefix length, such as 192.0.2.1/24. */
  readonly address: string;
}

/** Joins two namespaces with a cable. */
export async function connectNetns(a: VethEnd, b: VethEnd): Promise<void> {
  await runCommand(
    ['ip', '-n', a.netns, 'link', 'add', a.device, 'type', 'veth', 'peer', 'name', b.device, 'netns', b.netns], //
  );
  for (const end of [a, b]) {
    await runCommand(['ip', '-n', end.netns, 'addr', 'add', end.address, 'dev', end.device]);
    await runCommand(['ip', '-n', end.netns, 'link', 'set', end.device, 'up']);
  }
}

/** The inode that identifies a namespace behind a path (a bind mount of nsfs), or undefined. */
export function inodeOf(path: string): number | undefined {
  try {
    return statSync(path).ino;
  } catch {
    return undefined;
  }
}
