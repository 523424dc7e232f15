import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { parseMetrics } from '../../harness/prometheus-text.ts';
import { promtool } from '../../harness/promtool.ts';
import { tryCommand } from '../../harness/run-command.ts';
import { podOf, STAY, sh, web } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';

const NAME = 'deckhand-test-nodeapi-scrapers';
const SECURE = 'https://127.0.0.1:10250';
const ENDPOINTS = [
  `${SECURE}/metrics`,
  `${SECURE}/metrics/cadvisor`,
  `${SECURE}/metrics/resource`,
  `${SECURE}/metrics/probes`,
  `${SECURE}/metrics/slis`,
  'http://127.0.0.1:10248/metrics',
  'http://127.0.0.1:10249/metrics',
];
/** Others gave these names or labels: kubelet, cAdvisor, kube-proxy, prom-client. */
const GIVEN = [
  'cadvisor_version_info',
  'container_fs_inodes_total',
  'container_memory_failcnt',
  'kubelet_evented_pleg_connection_error_count',
  'kubelet_evented_pleg_connection_success_count',
  'kubelet_pleg_discard_events',
  'kubeproxy_sync_proxy_rules_iptables_total',
  'kubeproxy_sync_proxy_rules_no_local_endpoints_total',
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];
vi.setConfig({ testTimeout: 120_000, hookTimeout: 180_000 });
const tool = await promtool();
const missing = 'missing' in tool ? tool.missing : undefined;

describe(`what Prometheus scrapes${missing === undefined ? '' : ` (promtool skipped: ${missing})`}`, () => {
  let node: HarnessNode;
  let pods: NodePods;
  let admin: ConnectionOptions;

  beforeAll(async () => {
    node = await startNode(NAME);
    pods = new NodePods(node);
    const { users } = parse(readFileSync(node.deckhand.kubeconfig, 'utf8')) as {
      users: { user: Record<string, string> }[];
    };
    const pem = (key: string): Buffer => Buffer.from(users[0]?.user[key] ?? '', 'base64');
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
    for (const name of ['busy', 'web']) await pods.ready(name);
  });
  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  const scrape = async (url: string): Promise<string> => {
    const { status, body } = await node.local.request(url, { tls: admin });
    expect([url, status]).toEqual([url, 200]);
    return body;
  };

  it.skipIf(missing !== undefined)('is what promtool accepts', async () => {
    const path = 'path' in tool ? tool.path : '';
    expect((await tryCommand([path, 'check', 'metrics'], { input: 'no exposition' })).code).toBe(1);
    await scrape(`${SECURE}/healthz`);
    for (const url of ENDPOINTS) {
      const text = await scrape(url);
      expect([url, parseMetrics(text).samples.length > 0]).toEqual([url, true]);
      const { code, stdout, stderr } = await tryCommand([path, 'check', 'metrics'], { input: text });
      // 3: it can be read, and there are names that are not as Prometheus would have them.
      expect([url, [0, 3].includes(code) ? '' : stdout + stderr]).toEqual([url, '']);
      const unusual = [...`${stdout}${stderr}`.matchAll(/^(\S+) \S/gm)].map(([, name]) => name ?? '');
      expect([url, unusual.filter((name) => !GIVEN.includes(name))]).toEqual([url, []]);
    }
  });
});
