import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Pod } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import type { Service } from '../../../src/model/service.ts';
import { JoinedNode } from '../../harness/joined-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { isReady } from '../../harness/pod-summary.ts';
import { RequestStream } from '../../harness/request-stream.ts';
import { pause, waitFor } from '../../harness/wait-for.ts';
import { podOf, web } from '../node/support/manifest.ts';

const NAME = 'deckhand-test-e2e-rolling';
/** For the record: ROLLING_DELETES=1000 (7 minutes). */
const DELETES = Number(process.env['ROLLING_DELETES'] ?? 24);
const LANES = 3;
/** As servers do: when told to end, it takes no more connections and finishes those that it has. */
const GRACEFUL = `echo "$POD_NAME" > /www/index.html; echo ok > /www/readyz
httpd -f -p 8080 -h /www & listener=$!
trap 'kill $listener; while pidof httpd > /dev/null; do sleep 0.02; done; exit 0' TERM
wait`;
vi.setConfig({ testTimeout: 120_000 + DELETES * 2_000, hookTimeout: 180_000 });

/** Pods without a preStop hook are replaced one after the other while a client on their node asks their Service. */
describe.each(['iptables', 'nftables'])('rolling deletes behind a Service, %s', (mode) => {
  let node: JoinedNode;

  beforeAll(async () => {
    node = await JoinedNode.open(NAME, { apiPort: 16_445, args: ['--proxy-mode', mode] });
    node.start();
  });
  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  /** As a controller does: again and again, while the API is away. */
  const insist = <T>(what: string, call: () => Promise<T>): Promise<T> =>
    waitFor(what, () => call().catch(() => undefined), { timeoutMs: 60_000, giveUp: node.giveUp });
  const at = (name: string) => ({ namespace: 'default', name });

  async function replace(lane: number, turn: number): Promise<void> {
    const name = `web-${lane}-${turn}`;
    const pod = podOf(
      name,
      web({ command: ['sh', '-c', GRACEFUL] }),
      { automountServiceAccountToken: false },
      { labels: { app: 'web' } },
    );
    await insist(`pod ${name} to be created`, async () => {
      const there = await node.admin.get<Pod>(resources.pods, at(name)).catch(() => undefined);
      return there ?? (await node.admin.create<Pod>(resources.pods, { namespace: 'default' }, pod));
    });
    await waitFor(
      `pod ${name} to be ready`,
      async () => {
        const found = await node.admin.get<Pod>(resources.pods, at(name)).catch(() => undefined);
        return found !== undefined && isReady(found);
      },
      { timeoutMs: 60_000, intervalMs: 50, giveUp: node.giveUp },
    );
    if (turn === 0) return;
    const old = `web-${lane}-${turn - 1}`;
    await insist(`pod ${old} to be deleted`, async () => {
      await node.admin.delete(resources.pods, at(old));
      return true;
    });
  }

  async function lanes(turns: number, from: number): Promise<void> {
    await Promise.all(
      Array.from({ length: LANES }, async (_, lane) => {
        for (let turn = from; turn < from + turns; turn++) await replace(lane, turn);
      }),
    );
  }

  it('costs no request, also while the API is away in the middle', async () => {
    const wanted: Service = {
      metadata: { name: 'web', namespace: 'default' },
      spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
    };
    const service = await node.admin.create<Service>(resources.services, { namespace: 'default' }, wanted);
    await lanes(1, 0);
    const url = `http://${service.spec.clusterIP}:80/`;
    await waitFor('the Service to answer', async () => (await node.local.request(url)).status === 200 || undefined, {
      giveUp: node.giveUp,
    });
    const stream = new RequestStream(node.local, url, 2, 3);
    const turns = Math.ceil(DELETES / LANES / 2);
    await lanes(turns, 1);
    const rolling = lanes(turns, turns + 1);
    // While some start, some are ready and some are on their way out.
    await pause(700);
    const away = node.api.faults.add({ fault: { kind: 'reset' } });
    node.api.faults.add({ fault: { kind: 'watch', how: 'drop' } });
    await pause(4000);
    node.api.faults.clear();
    expect(away.hits).toBeGreaterThan(0);
    await rolling;
    const samples = await stream.stop();
    console.log(`${mode}: ${turns * 2 * LANES} deletes, ${samples.length} requests, ${stream.failures.length} failed`);
    expect(stream.failures).toEqual([]);
    expect(new Set(samples.map(({ answer }) => answer)).size).toBeGreaterThan(turns * LANES);
  });
});
