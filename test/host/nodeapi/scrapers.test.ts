import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { resources } from '../../../src/model/resource.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { projectRoot } from '../../harness/project-root.ts';
import { type ParsedMetrics, parseMetrics } from '../../harness/prometheus-text.ts';
import { promtool } from '../../harness/promtool.ts';
import { tryCommand } from '../../harness/run-command.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh, web } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';
import { PANELS } from './support/panels.ts';

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
/** Names that begin so were given by others: kubelet, kube-proxy, cAdvisor, prom-client. */
const GIVEN = /^(kubelet|kubeproxy|container|cadvisor|nodejs)_/;
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
        sh(
          `dd if=/dev/zero of=/dev/null bs=1M count=4096; dd if=/dev/zero of=/scratch/x bs=1M count=2 conv=fsync; ${STAY}`,
          {
            resources: { limits: { memory: '64Mi', cpu: '500m' } },
            volumeMounts: [{ name: 'scratch', mountPath: '/scratch' }],
          },
        ),
        { volumes: [{ name: 'scratch', emptyDir: {} }] },
      ),
    );
    await pods.create(podOf('web', web(), {}, { labels: { app: 'web' } }));
    for (const name of ['busy', 'web']) await pods.ready(name);
    await node.deckhand.api.create(resources.services, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace: 'default' },
      spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
    });
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
      expect([url, unusual.filter((name) => !GIVEN.test(name))]).toEqual([url, []]);
    }
  });

  it('is all that the panels of kubelet’s dashboards ask for', async () => {
    const scraped = new Map<string, ParsedMetrics>();
    const read = async (endpoint: string): Promise<ParsedMetrics> => {
      const url = endpoint.startsWith('/') ? `${SECURE}${endpoint}` : `http://127.0.0.1:${endpoint}`;
      const found = scraped.get(endpoint) ?? parseMetrics(await scrape(url));
      scraped.set(endpoint, found);
      return found;
    };
    await waitFor('the Service to be programmed', async () =>
      /kubeproxy_network_programming_duration_seconds_count\{.*\} [1-9]/.test(
        await scrape('http://127.0.0.1:10249/metrics'),
      ),
    );
    const busy = await pods.get('busy');
    const disks = ['io.stat', 'blkio.throttle.io_serviced_recursive'].map((file) => pods.podCgroup(busy, file));
    const countsDisks = disks.some((text) => /^\d+:\d+ /m.test(text ?? ''));
    const empty: string[] = [];
    for (const { panel, endpoint, metric, labels = {}, mayBeEmpty, ofDisks } of PANELS) {
      if (ofDisks === true && !countsDisks) continue;
      const { types, samples } = await read(endpoint);
      const family = types.has(metric) ? metric : metric.replace(/_(bucket|sum|count)$/, '');
      const matches = samples.some(
        (sample) =>
          sample.name === metric &&
          Object.entries(labels).every(
            ([name, value]) => name in sample.labels && value.test(sample.labels[name] ?? ''),
          ),
      );
      if (!types.has(family) || !(matches || mayBeEmpty === true)) empty.push(`${panel}: ${endpoint} ${metric}`);
    }
    expect(empty).toEqual([]);
  });

  it('is all that our own dashboard asks for', async () => {
    const { types } = parseMetrics(await scrape(`${SECURE}/metrics`));
    const dashboard = JSON.parse(readFileSync(join(projectRoot(), 'docs/grafana-dashboard.json'), 'utf8')) as {
      panels: { title: string; targets: { expr: string }[] }[];
    };
    const asked = dashboard.panels.flatMap(({ title, targets }) =>
      targets.flatMap(({ expr }) => [...expr.matchAll(/([a-z0-9_]+)\{/g)].map(([, name = '']) => ({ title, name }))),
    );
    expect(asked.length).toBeGreaterThanOrEqual(dashboard.panels.length);
    const family = (name: string): string => (types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, ''));
    expect(asked.filter(({ name }) => !types.has(family(name)))).toEqual([]);
  });
});
