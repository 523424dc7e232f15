import { cpSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { buildImages } from '../../harness/images.ts';
import { projectRoot } from '../../harness/project-root.ts';
import { runCommand } from '../../harness/run-command.ts';

export interface Disk {
  readonly image: string;
  readonly kernel: string;
  readonly initrd: string;
}

const CONTAINERD = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "deckhand.local/pause:1"
  enable_unprivileged_ports = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
`;
const CNI = {
  cniVersion: '0.4.0',
  name: 'deckhand',
  plugins: [
    {
      type: 'bridge',
      bridge: 'cni0',
      isGateway: true,
      hairpinMode: true,
      ipam: { type: 'host-local', ranges: [[{ subnet: '10.244.1.0/24' }]], routes: [{ dst: '0.0.0.0/0' }] },
    },
    { type: 'portmap', capabilities: { portMappings: true } },
  ],
};
// The machine has no network card: a device that leads nowhere gives it an address and a default route, so that Service
// addresses are routed.
const NETWORK = `[Unit]
Description=an address and a route, without any network
Before=network-online.target network.target containerd.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'ip link add uplink type dummy && ip address add 192.0.2.1/24 dev uplink && ip link set uplink up && ip route add default via 192.0.2.2'
[Install]
WantedBy=multi-user.target
`;
// The two machines of a cable, worker-1 and worker-2, with addresses of the lab's.
const CABLE = `[Unit]
Description=a cable to the other machine
Before=network-online.target network.target containerd.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh /vmtest/cable.sh
[Install]
WantedBy=multi-user.target
`;
const CABLE_SCRIPT = `set -eu
until [ -e /sys/class/net/eth0 ]; do sleep 1; done
name=$(cat /proc/sys/kernel/hostname)
ip address add "192.168.56.1\${name#worker-}/24" dev eth0
ip link set eth0 up
ip route add default via 192.168.56.1
`;
const CHECKS = `[Unit]
Description=the checks of deckhand's test suite
After=multi-user.target containerd.service vmnet.service
[Service]
ExecStart=/usr/bin/node /vmtest/vm-guest.mjs
StandardOutput=journal+console
[Install]
WantedBy=multi-user.target
`;
// Emulated, a start takes many seconds; the watchdog must not take slowness for a hang, and yet be seen to bite.
const SLOW = `[Service]
WatchdogSec=40
`;

/**
 * Of the checks in the guest: of Service rules by themselves, of the package as it is installed, of pods and their cgroups,
 * of two machines of one cluster, and a few for every run; and measurements of what does not run elsewhere.
 */
export const checkGroups = ['services', 'package', 'pods', 'two-nodes', 'short', 'bench'] as const;

/** The same, to be written to by another machine. */
export async function copyOf(disk: Disk, path: string): Promise<Disk> {
  await runCommand(['cp', '--sparse=always', disk.image, path], { timeoutMs: 300_000 });
  return { ...disk, image: path };
}

/** A disk with the machine, the package under test, a newer build of it, images, examples and the checks. */
export async function makeDisk(directory: string, archive: string, guestBundle: string, groups: string): Promise<Disk> {
  const tree = join(directory, 'tree');
  const withPackage = !/^(services|bench)/.test(groups);
  const isPair = groups.startsWith('two-nodes');
  mkdirSync(tree, { recursive: true });
  try {
    await runCommand(['tar', '-xf', archive, '-C', tree]);
    const put = (path: string, text: string): void => {
      mkdirSync(dirname(join(tree, path)), { recursive: true });
      writeFileSync(join(tree, path), text);
    };
    put('etc/hostname', 'vm\n');
    put('etc/fstab', '/dev/vda / ext4 rw,noatime 0 1\n');
    if (!isPair) {
      put('etc/containerd/config.toml', CONTAINERD);
      put('etc/cni/net.d/10-deckhand.conflist', JSON.stringify(CNI));
      put(
        'etc/default/deckhand',
        'DECKHAND_ARGS=--config /etc/deckhand/config.yaml --manifests /etc/deckhand/manifests --node-ip 192.0.2.1 --pod-cidr 10.244.1.0/24\n',
      );
    }
    put('etc/systemd/system/vmnet.service', isPair ? CABLE : NETWORK);
    put('vmtest/cable.sh', CABLE_SCRIPT);
    put('etc/systemd/system/vmtest.service', CHECKS);
    put('etc/systemd/system/deckhand.service.d/slow.conf', SLOW);
    for (const unit of ['vmnet', 'vmtest', 'containerd']) {
      await runCommand(['systemctl', `--root=${tree}`, 'enable', `${unit}.service`]);
    }
    const vmtest = join(tree, 'vmtest');
    mkdirSync(vmtest, { recursive: true });
    cpSync(guestBundle, join(vmtest, 'vm-guest.mjs'));
    put('vmtest/groups', groups);
    // What the checks start by its path in the project.
    put('vmtest/package.json', '{}');
    for (const script of ['test/host/services/table-agent.mjs']) {
      cpSync(join(projectRoot(), script), join(vmtest, script));
    }
    if (groups.startsWith('bench')) {
      for (const file of ['dist/bench-services.mjs', 'systemd/deckhand.service']) {
        cpSync(join(projectRoot(), file), join(vmtest, file));
      }
    }
    cpSync(join(projectRoot(), 'examples'), join(vmtest, 'examples'), { recursive: true });
    cpSync(join(projectRoot(), 'lab'), join(vmtest, 'lab'), { recursive: true });
    mkdirSync(join(vmtest, 'images'));
    for (const { path } of withPackage ? buildImages() : []) cpSync(path, join(vmtest, 'images', basename(path)));
    const build = (folder: string, version: string): Promise<string> =>
      runCommand([
        'node',
        join(projectRoot(), 'scripts/package.mjs'),
        '--output',
        join(vmtest, folder),
        '--version',
        version,
      ]);
    if (withPackage) {
      await build('package', '0.1.0~vm1');
      if (groups.includes('package')) await build('upgrade', '0.1.0~vm2');
    }
    const boot = readdirSync(join(tree, 'boot'));
    const take = (prefix: string): string => {
      const name = boot.find((file) => file.startsWith(prefix));
      if (name === undefined) throw new Error(`the image has no /boot/${prefix}*`);
      cpSync(join(tree, 'boot', name), join(directory, prefix));
      return join(directory, prefix);
    };
    const image = join(directory, 'disk.img');
    await runCommand(['mke2fs', '-q', '-t', 'ext4', '-d', tree, image, '4G'], { timeoutMs: 300_000 });
    return { image, kernel: take('vmlinuz'), initrd: take('initrd.img') };
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}
