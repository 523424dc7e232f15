import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HarnessRun } from '../../harness/harness-run.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { connectNetns, inNetns } from '../../harness/netns.ts';
import { projectRoot } from '../../harness/project-root.ts';
import { runCommand, tryCommand } from '../../harness/run-command.ts';
import { waitFor } from '../../harness/wait-for.ts';

const NAME = 'deckhand-test-lab';
const TOKEN = 'abcdef.0123456789abcdef';
const lab = join(projectRoot(), 'lab');

// Two machines and a pod on each. RFC 5737 between the machines; no uplink.
const WORKERS = [
  { part: 'worker-1', ip: '192.0.2.11', cidr: '10.244.1.0/24', gateway: '10.244.1.1', pod: '10.244.1.5' },
  { part: 'worker-2', ip: '192.0.2.12', cidr: '10.244.2.0/24', gateway: '10.244.2.1', pod: '10.244.2.5' },
] as const;
const [FIRST, SECOND] = WORKERS;
/** Answers each connection with the address that it comes from. */
const ECHO = `require('node:net').createServer((socket) => { socket.on('error', () => {}); socket.end(socket.remoteAddress.replace('::ffff:', '')); }).listen(8080)`;
const ASK = `require('node:net').connect(8080, process.argv[1]).on('data', (data) => process.stdout.write(data)).on('error', (error) => { console.error(error.message); process.exit(1); })`;

describe('the scripts of the lab, without Vagrant', () => {
  let run: HarnessRun;
  let folder: string;
  const netns: Record<string, string> = {};

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'deckhand-lab-'));
    run = await HarnessRun.open(NAME);
    for (const { part } of WORKERS) {
      netns[part] = await run.netns(part);
      netns[`pod-${part}`] = await run.netns(`pod-${part}`);
    }
    const end = (part: string, device: string, address: string) => ({
      netns: netns[part] ?? '',
      device,
      address: `${address}/24`,
    });
    await connectNetns(end(FIRST.part, 'lab', FIRST.ip), end(SECOND.part, 'lab', SECOND.ip));
    for (const { part, gateway, pod } of WORKERS) {
      await connectNetns(end(part, 'cni0', gateway), end(`pod-${part}`, 'eth0', pod));
      await runCommand(['ip', '-n', netns[`pod-${part}`] ?? '', 'route', 'add', 'default', 'via', gateway]);
    }
  });

  afterAll(async () => {
    await run?.close();
    rmSync(folder, { recursive: true, force: true });
    expect(await leaksOf(NAME)).toEqual([]);
  });

  const network = (worker: (typeof WORKERS)[number], peers: string) =>
    tryCommand(inNetns(netns[worker.part] ?? '', ['sh', join(lab, 'pod-network.sh')]), {
      env: { ...process.env, POD_CIDR: worker.cidr, CLUSTER_POD_CIDR: '10.244.0.0/16', PEERS: peers },
    });
  const ours = async (part: string): Promise<string[]> =>
    (await runCommand(['ip', '-n', netns[part] ?? '', 'route', 'show', 'proto', '77']))
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
  const ask = (from: string, to: string) =>
    tryCommand(inNetns(netns[from] ?? '', [process.execPath, '-e', ASK, to]), { timeoutMs: 10_000 });

  it('pod-network.sh leads from pod to pod, which see each other’s addresses', async () => {
    for (const [own, other] of [
      [FIRST, SECOND],
      [SECOND, FIRST],
    ] as const) {
      expect(await network(own, `${other.cidr}=${other.ip}`)).toEqual({ code: 0, stdout: '', stderr: '' });
    }
    run.spawn('echo-pod', [process.execPath, '-e', ECHO], { netns: netns[`pod-${SECOND.part}`] ?? '' });
    run.spawn('echo-node', [process.execPath, '-e', ECHO], { netns: netns[SECOND.part] ?? '' });
    const seen = await waitFor('the other pod to answer', async () => {
      const { code, stdout } = await ask(`pod-${FIRST.part}`, SECOND.pod);
      return code === 0 && stdout;
    });
    expect(seen).toBe(FIRST.pod);
  });

  it('towards the world pods have the address of their machine', async () => {
    const seen = await waitFor('the other machine to answer', async () => {
      const { code, stdout } = await ask(`pod-${FIRST.part}`, SECOND.ip);
      return code === 0 && stdout;
    });
    expect(seen).toBe(FIRST.ip);
  });

  it('may run again: nothing doubles, and what is no longer wanted goes', async () => {
    await network(FIRST, `${SECOND.cidr}=${SECOND.ip} 10.244.7.0/24=${SECOND.ip}`);
    expect(await ours(FIRST.part)).toHaveLength(2);
    await network(FIRST, `${SECOND.cidr}=${SECOND.ip}`);
    expect(await ours(FIRST.part)).toEqual([`${SECOND.cidr} via ${SECOND.ip} dev lab`]);
    const rules = await runCommand(inNetns(netns[FIRST.part] ?? '', ['nft', 'list', 'table', 'ip', 'deckhand-lab']));
    expect(rules.match(/masquerade/g)).toHaveLength(1);
    const wrong = await network(FIRST, '10.244.2.0/24');
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining('expected RANGE=ADDRESS') });
  });

  it('worker.sh makes a node that is configured to join, and may run again', { timeout: 300_000 }, async () => {
    await runCommand(['node', 'scripts/package.mjs', '--output', folder, '--version', '0.1.0'], { cwd: projectRoot() });
    writeFileSync(join(folder, 'ca.crt'), 'the CA\n');
    // This host, but what is written goes to memory and away; units are written down instead of started.
    const root = join(folder, 'root');
    mkdirSync(root);
    mkdirSync(join(folder, 'out'));
    writeFileSync(
      join(folder, 'host.sh'),
      `set -eu
mount -t tmpfs tmpfs ${root}
mkdir ${root}/upper ${root}/work ${root}/merged
mount -t overlay overlay -o lowerdir=/,upperdir=${root}/upper,workdir=${root}/work ${root}/merged
cd ${root}/merged
mount -t proc proc proc
mount --bind ${folder}/out mnt
rm -f usr/bin/systemctl
printf '#!/bin/sh\\necho "$*" >>/mnt/systemctl.log\\n' >usr/bin/systemctl
chmod 755 usr/bin/systemctl
rm -rf etc/containerd/config.toml etc/cni etc/default/deckhand etc/deckhand etc/kubernetes
mkdir -p lab-test
cp -r ${lab} lab-test/lab
cp ${folder}/ca.crt ${folder}/deckhand_0.1.0_all.deb lab-test/
for round in 1 2; do
  chroot . sh /lab-test/lab/worker.sh
  echo "round $round" >>mnt/systemctl.log
done
cp etc/cni/net.d/10-deckhand.conflist etc/deckhand-lab/pod-network.env mnt/
stat -c %a etc/kubernetes/bootstrap-kubelet.conf >mnt/mode
chroot . sh -c 'deckhand config check $(sed -n "s/^DECKHAND_ARGS=//p" /etc/default/deckhand)' >mnt/effective.yaml
`,
    );
    await runCommand(inNetns(netns[FIRST.part] ?? '', ['unshare', '--mount', 'sh', join(folder, 'host.sh')]), {
      env: {
        ...process.env,
        NODE_NAME: 'worker-1',
        NODE_IP: FIRST.ip,
        POD_CIDR: FIRST.cidr,
        CLUSTER_POD_CIDR: '10.244.0.0/16',
        PEERS: `${SECOND.cidr}=${SECOND.ip}`,
        API_SERVER: 'https://192.0.2.10:6443',
        TOKEN,
        CA_FILE: '/lab-test/ca.crt',
        DEB: '/lab-test/deckhand_0.1.0_all.deb',
      },
      timeoutMs: 240_000,
    });
    const out = (file: string): string => readFileSync(join(folder, 'out', file), 'utf8');
    const [first = '', second = ''] = out('systemctl.log').split(/round \d\n/);
    expect(first.split('\n')).toEqual(
      expect.arrayContaining(['restart containerd', 'enable deckhand', 'restart --no-block deckhand']),
    );
    expect(second).not.toContain('restart containerd');
    expect(second).toContain('restart --no-block deckhand');
    expect(out('mode').trim()).toBe('600');
    expect(out('pod-network.env')).toContain(`PEERS="${SECOND.cidr}=${SECOND.ip}"`);
    expect(JSON.parse(out('10-deckhand.conflist'))).toMatchObject({
      plugins: [{ ipMasq: false, ipam: { ranges: [[{ subnet: FIRST.cidr }]] } }, { type: 'portmap' }],
    });
    // deckhand reads it as it is meant.
    const effective = out('effective.yaml');
    for (const line of [
      'hostnameOverride: worker-1',
      'clusterCIDR: 10.244.0.0/16',
      'rotateCertificates: true',
      'clientCAFile: /etc/kubernetes/pki/ca.crt',
      'mode: Webhook',
    ]) {
      expect(effective).toContain(line);
    }
    expect(existsSync('/etc/deckhand-lab')).toBe(false);
  });
});
