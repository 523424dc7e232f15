import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from '../../harness/run-command.ts';

const SUITE = 'trixie';
/** Where images are kept. */
export const CACHE = process.env['DECKHAND_VM_CACHE'] ?? '/var/cache/deckhand-vm';
const MIRROR = 'http://deb.debian.org/debian';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
/** What deckhand's package depends on and recommends, a machine around it, and kubectl to look at it. */
const PACKAGES = [
  ...['systemd', 'systemd-sysv', 'udev', 'dbus', 'kmod', 'linux-image-cloud-amd64', 'procps', 'ca-certificates'],
  ...['containerd', 'runc', 'containernetworking-plugins', 'nodejs', 'kubernetes-client', 'busybox-static'],
  ...[
    'iptables',
    'nftables',
    'ipset',
    'ipvsadm',
    'conntrack',
    'iproute2',
    'mount',
    'util-linux',
    'nfs-kernel-server',
    'nfs-common',
  ],
];

/** Where the archive of baseImage is, once it was made. */
export function imagePath(cacheDir: string): string {
  const key = createHash('sha256')
    .update([SUITE, ...PACKAGES].join(' '))
    .digest('hex')
    .slice(0, 12);
  return join(cacheDir, `root-${SUITE}-${key}.tar`);
}

/** The root file system of a Debian machine as a tar archive, made once for each list of packages. */
export async function baseImage(cacheDir: string, say: (text: string) => void): Promise<string> {
  const archive = imagePath(cacheDir);
  if (existsSync(archive)) {
    say(`${archive} is there`);
    return archive;
  }
  mkdirSync(cacheDir, { recursive: true });
  // Those of other lists of packages.
  for (const name of readdirSync(cacheDir)) if (name.startsWith('root-')) rmSync(join(cacheDir, name));
  say(`mmdebstrap makes ${archive} (${PACKAGES.length} packages of Debian ${SUITE})`);
  const unfinished = `${archive}.new`;
  const source = `deb [signed-by=${KEYRING}] ${MIRROR} ${SUITE} main`;
  await runCommand(
    [
      'mmdebstrap',
      '--quiet',
      '--variant=minbase',
      '--format=tar',
      `--include=${PACKAGES.join(',')}`,
      SUITE,
      unfinished,
      source,
    ],
    { timeoutMs: 1_200_000 },
  );
  renameSync(unfinished, archive);
  return archive;
}
