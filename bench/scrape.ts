// npm run bench scrape [-- --pods 100 --rounds 20 --path /metrics/cadvisor]
// How long a scrape of each metrics endpoint of the node's API takes with so many pods, over one TLS connection, fresh
// measurements each time; what it costs in CPU; and how late a health check is answered meanwhile, which is how long the
// event loop stands still at most. The floor is /healthz over the same connection.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';
import type { Pod } from '../src/model/pod.ts';
import { resources } from '../src/model/resource.ts';
import { startNode } from '../test/harness/harness-node.ts';
import { BUSYBOX_IMAGE } from '../test/harness/images.ts';
import { isReady } from '../test/harness/pod-summary.ts';
import { parseMetrics } from '../test/harness/prometheus-text.ts';
import { percentile } from '../test/harness/request-stream.ts';
import { pause, waitFor } from '../test/harness/wait-for.ts';
import { Scraper } from './scrape/scraper.ts';

const NAME = 'deckhand-bench-scrape';
const COMMAND = ['sh', '-c', "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"];
/** Longer than what is kept fresh for /metrics/resource, and for the others. */
const PAUSES_MS = {
  '/healthz': 0,
  '/metrics/resource': 1050,
  '/metrics/cadvisor': 5050,
  '/stats/summary': 5050,
  '/metrics': 0,
};

const { values } = parseArgs({
  options: {
    pods: { type: 'string', default: '100' },
    rounds: { type: 'string', default: '20' },
    path: { type: 'string' },
  },
});
const [count, rounds] = [Number(values.pods), Number(values.rounds)];
if (![count, rounds].every((number) => Number.isInteger(number) && number > 0)) {
  console.error('bench scrape: --pods and --rounds must be whole numbers');
  process.exit(2);
}

const node = await startNode(NAME, {
  say: (text) => console.log(text),
  deckhand: { args: ['--max-pods', String(count + 10)], podCidr: '10.244.0.0/22' },
  containerd: { subnet: '10.244.0.0/22' },
});
try {
  const { api } = node.deckhand;
  for (let i = 0; i < count; i++) {
    await api.create(resources.pods, {
      metadata: { name: `pod-${i}`, namespace: 'default' },
      spec: { containers: [{ name: 'main', image: BUSYBOX_IMAGE, command: COMMAND }] },
    });
  }
  await waitFor(
    `${count} pods to be ready`,
    async () => (await api.list<Pod>(resources.pods, 'default')).filter((pod) => isReady(pod)).length === count,
    { timeoutMs: 600_000, intervalMs: 1000 },
  );
  const { users } = parse(readFileSync(node.deckhand.kubeconfig, 'utf8')) as {
    users: { user: Record<string, string> }[];
  };
  const pem = (key: string): Buffer => Buffer.from(users[0]?.user[key] ?? '', 'base64');
  const tls = { cert: pem('client-certificate-data'), key: pem('client-key-data'), rejectUnauthorized: false };
  const agent = node.local.agent('127.0.0.1', 10250, tls);
  for (const path of Object.keys(PAUSES_MS).filter((one) => one.startsWith('/metrics'))) {
    parseMetrics((await node.local.request(`https://127.0.0.1:10250${path}`, { agent })).body);
  }
  const scraper = new Scraper(node.netns, tls);
  const rss = node.deckhand.rssBytes();
  for (const [path, pauseMs] of Object.entries(PAUSES_MS)) {
    if (values.path !== undefined && path !== values.path) continue;
    const times: number[] = [];
    const stalls: number[] = [];
    let bytes = 0;
    let cpu = 0;
    for (let round = 0; round < rounds; round++) {
      await pause(pauseMs);
      const before = node.deckhand.cpuMs();
      const scrape = scraper.scrape(path);
      const health = node.local.request(node.deckhand.healthz);
      const done = await scrape;
      times.push(done.ms);
      stalls.push((await health).ms);
      cpu += node.deckhand.cpuMs() - before;
      bytes = done.bytes;
      if (done.status !== 200) throw new Error(`${path}: ${done.status}`);
    }
    const of = (numbers: number[], share: number): string => `${percentile(numbers, share).toFixed(1)} ms`.padStart(9);
    console.log(
      `${path.padEnd(18)} p50 ${of(times, 0.5)}  p90 ${of(times, 0.9)}  ${(bytes / 1024).toFixed(0).padStart(6)} KiB  CPU ${(cpu / rounds).toFixed(1).padStart(6)} ms  health meanwhile p50 ${of(stalls, 0.5)}  p90 ${of(stalls, 0.9)}`,
    );
  }
  await scraper.close();
  console.log(
    `memory ${(rss / 1048576).toFixed(1)} MiB before, ${(node.deckhand.rssBytes() / 1048576).toFixed(1)} MiB after`,
  );
} finally {
  await node.close();
}
