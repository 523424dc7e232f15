import { readFileSync, statSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { connect as tlsConnect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { NetnsDialer } from '../../harness/netns-dialer.ts';
import { type ParsedMetrics, parseMetrics } from '../../harness/prometheus-text.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh, web } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';
import { Kubectl } from './support/kubectl.ts';

const NAME = 'deckhand-test-nodeapi-endpoints';
const SECURE = 'https://127.0.0.1:10250';
const OPEN = 'http://127.0.0.1:10255';
vi.setConfig({ testTimeout: 120_000, hookTimeout: 180_000 });

interface Kubeconfig {
  users: { user: Record<string, string> }[];
}

describe("what the node's API tells", () => {
  let node: HarnessNode;
  let pods: NodePods;
  let admin: ConnectionOptions;

  beforeAll(async () => {
    node = await startNode(NAME, { deckhand: { args: ['--read-only-port=10255'] } });
    pods = new NodePods(node);
    const [user] = (parse(readFileSync(node.deckhand.kubeconfig, 'utf8')) as Kubeconfig).users;
    const pem = (key: string): Buffer => Buffer.from(user?.user[key] ?? '', 'base64');
    admin = { cert: pem('client-certificate-data'), key: pem('client-key-data'), rejectUnauthorized: false };
    await pods.create(
      podOf(
        'busy',
        sh(`dd if=/dev/zero of=/dev/null bs=1M count=4096; ${STAY}`, {
          resources: { limits: { memory: '64Mi', cpu: '500m' } },
        }),
      ),
    );
    await pods.create(podOf('web', web()));
    await pods.ready('busy');
    await pods.ready('web');
  });
  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  const ask = (path: string, method = 'GET', tls = admin) => node.local.request(`${SECURE}${path}`, { method, tls });
  const get = async (path: string): Promise<string> => {
    const { status, body } = await ask(path);
    expect([path, status, status === 200 ? '' : body]).toEqual([path, 200, '']);
    return body;
  };
  const metrics = async (path: string): Promise<ParsedMetrics> => parseMetrics(await get(path));
  const value = ({ samples }: ParsedMetrics, name: string, labels: Record<string, string> = {}): number | undefined =>
    samples.find((one) => one.name === name && Object.entries(labels).every(([key, text]) => one.labels[key] === text))
      ?.value;

  it('has a root directory with the folders that kubelet makes', () => {
    const root = `${node.run.paths.libDir}/kubelet`;
    const modes = Object.fromEntries(
      ['pods', 'plugins', 'plugins_registry', 'pod-resources', 'device-plugins', 'checkpoints'].map((name) => [
        name,
        (statSync(`${root}/${name}`).mode & 0o777).toString(8),
      ]),
    );
    expect(modes).toEqual({
      pods: '750',
      plugins: '750',
      plugins_registry: '750',
      'pod-resources': '750',
      'device-plugins': '750',
      checkpoints: '700',
    });
    expect(statSync(root).mode & 0o777).toBe(0o750);
  });

  it('lets nobody in who is not known', async () => {
    const nobody = { rejectUnauthorized: false };
    expect(await ask('/pods', 'GET', nobody)).toMatchObject({ status: 401, body: 'Unauthorized' });
    expect(await ask('/nothing', 'GET', nobody)).toMatchObject({ status: 401 });
    // The node's own identity may not look at nodes' insides.
    const kubeconfig = `${node.deckhand.dataDir}/node.kubeconfig`;
    const [user] = (parse(readFileSync(kubeconfig, 'utf8')) as Kubeconfig).users;
    const headers = { authorization: `Bearer ${user?.user['token']}` };
    const answer = await node.local.request(`${SECURE}/metrics`, { tls: nobody, headers });
    expect(answer).toMatchObject({
      status: 403,
      body: 'Forbidden (user=system:node:node-1, verb=get, resource=nodes, subresource(s)=[metrics])\n',
    });
  });

  it('lists pods, running pods, and the configuration', async () => {
    const listed = JSON.parse(await get('/pods'));
    expect(listed.kind).toBe('PodList');
    expect(listed.items.map((pod: { status: { phase: string } }) => pod.status.phase)).toEqual(['Running', 'Running']);
    const running = JSON.parse(await get('/runningpods/'));
    expect(running.items.map((pod: { metadata: { name: string } }) => pod.metadata.name).sort()).toEqual([
      'busy',
      'web',
    ]);
    expect(JSON.parse(await get('/configz')).kubeletconfig).toMatchObject({ readOnlyPort: 10255, healthzPort: 10248 });
    expect(await get('/statusz')).toMatch(/kubelet statusz[\s\S]*Up: [\s\S]*Paths: .*\/pods/);
    expect(await get('/flagz')).toMatch(/read-only-port=10255/);
    expect(await get('/healthz')).toBe('ok');
    for (const name of ['ping', 'log', 'syncloop']) expect(await get(`/healthz/${name}`)).toBe('ok');
    expect(await ask('/healthz/none')).toMatchObject({ status: 404 });
    expect(await ask('/pods', 'POST')).toMatchObject({ status: 405 });
  });

  it('runs a command, and says what a checkpoint needs', async () => {
    expect(await ask('/run/default/web/web?cmd=echo%20hello', 'POST')).toMatchObject({ status: 200, body: 'hello\n' });
    expect(await ask('/run/default/web/web?cmd=false', 'POST')).toMatchObject({ status: 500 });
    expect(await ask('/run/default/none/web?cmd=true', 'POST')).toMatchObject({
      status: 404,
      body: 'pod does not exist',
    });
    expect(await ask('/checkpoint/default/web/none', 'POST')).toMatchObject({ status: 404 });
    // containerd 1.6 and 1.7 cannot.
    const checkpoint = await ask('/checkpoint/default/web/web?timeout=5', 'POST');
    if (checkpoint.status !== 200) expect(checkpoint.body).toMatch(/^checkpointing of default\/web\/web failed \(/);
    expect(await ask('/exec/default/web/web?command=true&output=1', 'POST')).toMatchObject({
      status: 500,
      body: 'Upgrade request required',
    });
  });

  it('measures the node, its pods and containers', async () => {
    const resource = await waitFor('the pod to have used CPU', async () => {
      const parsed = await metrics('/metrics/resource');
      return (value(parsed, 'container_cpu_usage_seconds_total', { pod: 'busy' }) ?? 0) > 0.02 ? parsed : undefined;
    });
    expect(value(resource, 'resource_scrape_error')).toBe(0);
    const memory = value(resource, 'container_memory_working_set_bytes', { pod: 'busy', container: 'main' }) ?? 0;
    expect(memory).toBeGreaterThan(10_000);
    expect(memory).toBeLessThan(64 * 1_048_576);
    expect(value(resource, 'pod_memory_working_set_bytes', { pod: 'busy' })).toBeGreaterThanOrEqual(memory / 2);
    expect(value(resource, 'node_memory_working_set_bytes')).toBeGreaterThan(memory);
    expect(
      Math.abs((value(resource, 'container_start_time_seconds', { pod: 'web' }) ?? 0) - Date.now() / 1000),
    ).toBeLessThan(300);
    await node.local.request(
      (await pods.get('web')).status?.podIP ? `http://${(await pods.get('web')).status?.podIP}:8080/` : OPEN,
    );
    const summary = await waitFor(
      'rates and file systems',
      async () => {
        const found = JSON.parse(await get('/stats/summary'));
        const busy = found.pods.find((pod: { podRef: { name: string } }) => pod.podRef.name === 'busy');
        return busy?.cpu.usageNanoCores !== undefined && busy.containers[0].rootfs !== undefined
          ? { ...found, busy }
          : undefined;
      },
      { timeoutMs: 60_000 },
    );
    expect(summary.node).toMatchObject({
      nodeName: 'node-1',
      fs: { capacityBytes: expect.any(Number) },
      rlimit: { maxpid: expect.any(Number) },
    });
    // containerd looks at its layers every ten seconds.
    expect(summary.node.runtime.imageFs).toMatchObject({
      usedBytes: expect.any(Number),
      capacityBytes: expect.any(Number),
    });
    expect(summary.busy).toMatchObject({
      podRef: { namespace: 'default' },
      network: { name: 'eth0', interfaces: [{ name: 'eth0', rxBytes: expect.any(Number) }] },
      process_stats: { process_count: expect.any(Number) },
      'ephemeral-storage': { usedBytes: expect.any(Number) },
      containers: [
        { name: 'main', memory: { availableBytes: expect.any(Number) }, logs: { usedBytes: expect.any(Number) } },
      ],
    });
    const brief = JSON.parse(await get('/stats/summary?only_cpu_and_memory=true'));
    expect(brief.pods.length).toBe(2);
    expect([brief.node.fs, brief.pods[0].network]).toEqual([undefined, undefined]);
  });

  it('gives metrics that Prometheus can read, with the names of kubelet and cAdvisor', async () => {
    const cadvisor = await metrics('/metrics/cadvisor');
    const main = { namespace: 'default', pod: 'busy', container: 'main' };
    expect(value(cadvisor, 'container_cpu_usage_seconds_total', { ...main, cpu: 'total' })).toBeGreaterThan(0);
    expect(value(cadvisor, 'container_spec_memory_limit_bytes', main)).toBe(64 * 1_048_576);
    expect(value(cadvisor, 'container_spec_cpu_quota', main)).toBe(50_000);
    expect(value(cadvisor, 'container_cpu_cfs_periods_total', main)).toBeGreaterThan(0);
    expect(value(cadvisor, 'container_network_receive_bytes_total', { pod: 'web', interface: 'eth0' })).toBeGreaterThan(
      0,
    );
    expect(value(cadvisor, 'machine_cpu_cores')).toBeGreaterThan(0);
    const probes = await metrics('/metrics/probes');
    expect(value(probes, 'prober_probe_total', { pod: 'web', result: 'successful' })).toBeGreaterThan(0);
    expect(value(probes, 'process_start_time_seconds')).toBeGreaterThan(0);
    await get('/healthz');
    const slis = await metrics('/metrics/slis');
    expect(value(slis, 'kubernetes_healthcheck', { name: 'syncloop', type: 'healthz' })).toBe(1);
    expect(value(slis, 'kubernetes_healthchecks_total', { name: 'ping', status: 'success' })).toBeGreaterThan(0);
    const own = await metrics('/metrics');
    expect(value(own, 'kubelet_http_requests_total', { path: 'metrics/cadvisor' })).toBe(1);
    expect(value(own, 'kubelet_running_pods')).toBe(2);
  });

  it('shows what anybody may see on the read-only port, and no more', async () => {
    for (const path of [
      '/healthz',
      '/pods',
      '/stats/summary',
      '/metrics',
      '/metrics/cadvisor',
      '/metrics/resource',
      '/metrics/probes',
    ]) {
      expect([path, (await node.local.request(`${OPEN}${path}`)).status]).toEqual([path, 200]);
    }
    for (const path of ['/configz', '/logs/', '/containerLogs/default/web/web', '/runningpods/', '/statusz']) {
      expect([path, (await node.local.request(`${OPEN}${path}`)).status]).toEqual([path, 404]);
    }
    expect((await node.local.request(`${OPEN}/run/default/web/web?cmd=id`, { method: 'POST' })).status).toBe(404);
  });

  it('shows the logs of the machine, and nothing outside of them', async () => {
    const [file, out] = [`/var/log/${NAME}.log`, `/var/log/${NAME}.out`];
    writeFileSync(file, 'a line\n');
    symlinkSync('/etc/passwd', out);
    try {
      expect(await get('/logs/')).toContain(`${NAME}.log</a>`);
      expect(await get(`/logs/${NAME}.log`)).toBe('a line\n');
      expect(await ask(`/logs/${NAME}.out`)).toMatchObject({ status: 403 });
      expect(await ask('/logs/none')).toMatchObject({ status: 404 });
      for (const trick of [
        '/logs/../../etc/passwd',
        '/logs/%2e%2e/%2e%2e/etc/passwd',
        '/logs/..%2f..%2fetc/passwd',
        '/logs//etc/passwd',
      ]) {
        const { status, body } = await ask(trick);
        expect([trick, [301, 404].includes(status), body.includes('root:')]).toEqual([trick, true, false]);
      }
    } finally {
      unlinkSync(file);
      unlinkSync(out);
    }
  });

  it('is what kubectl top shows', async () => {
    const kubectl = await Kubectl.open(node);
    try {
      const top = await kubectl.run(['top', 'pods', '--containers']);
      expect(top.stderr).toBe('');
      expect(top.stdout).toMatch(
        /POD +NAME +CPU\(cores\) +MEMORY\(bytes\)[\s\S]*busy +main +\d+m +\d+Mi *\nweb +web +\d+m +\d+Mi/,
      );
      expect((await kubectl.run(['top', 'nodes'])).stdout).toMatch(/node-1 +\d+m +\d+% +\d+Mi +\d+%/);
    } finally {
      kubectl.close();
    }
  });

  it('stays well under 10,000 idle connections, slow heads and long ones', async () => {
    const rss = node.deckhand.rssBytes();
    const sockets: (Socket | undefined)[] = [];
    // A dialer needs two files for each: three of them, so that none runs out and the one that asks is free.
    for (let crowd = 0; crowd < 3; crowd++) {
      const dialer = await NetnsDialer.start(node.run, node.netns, `crowd${crowd}`);
      for (let i = 0; i < 3400; i += 200) {
        const connect = () => dialer.connect('127.0.0.1', 10250).catch(() => undefined);
        sockets.push(...(await Promise.all(Array.from({ length: 200 }, connect))));
      }
    }
    expect(sockets.filter((socket) => socket !== undefined).length).toBeGreaterThanOrEqual(10_000);
    for (const socket of sockets) socket?.on('error', () => {});
    expect(await get('/healthz')).toBe('ok');
    for (const socket of sockets) socket?.destroy();
    expect(await get('/healthz')).toBe('ok');
    // One never ends its head, one its body, one does not even shake hands.
    const slow = async (start: string): Promise<Socket> => {
      const socket = tlsConnect({ ...admin, socket: await node.local.connect('127.0.0.1', 10250) });
      socket.on('error', () => {}).resume();
      socket.write(start);
      return socket;
    };
    const silent = (await node.local.connect('127.0.0.1', 10250)).on('error', () => {}).resume();
    const clients = [
      silent,
      await slow('GET /healthz HTTP/1.1\r\nHost: a\r\n'),
      await slow('POST /stats/summary HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n'),
    ];
    const drip = setInterval(() => {
      for (const client of clients.slice(1)) client.write('x: y\r\n');
    }, 1000);
    try {
      const cut = () => clients.every((client) => client.destroyed || client.readableEnded);
      await waitFor('slow clients to be cut off', cut, { timeoutMs: 60_000 });
    } finally {
      clearInterval(drip);
      for (const client of clients) client.destroy();
    }
    const headers = { long: 'x'.repeat(70_000) };
    // The answer may be lost: the server does not read on for it.
    const long = await node.local.request(`${SECURE}/healthz`, { tls: admin, headers }).catch(() => undefined);
    if (long !== undefined) expect(long.status).toBe(431);
    expect(await get('/healthz')).toBe('ok');
    expect(node.deckhand.rssBytes() - rss).toBeLessThan(150 * 1_048_576);
  });
});
