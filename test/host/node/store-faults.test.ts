import { appendFileSync, mkdirSync, readFileSync, rmSync, statfsSync, truncateSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ConfigMap } from '../../../src/model/objects.ts';
import { resources } from '../../../src/model/resource.ts';
import type { Service } from '../../../src/model/service.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { isReady } from '../../harness/pod-summary.ts';
import { RequestStream } from '../../harness/request-stream.ts';
import { runCommand } from '../../harness/run-command.ts';
import { pathsOf } from '../../harness/run-record.ts';
import { pause, waitFor } from '../../harness/wait-for.ts';
import { kernelRules, missingFrom, rulesLeadingTo } from './support/kernel-rules.ts';
import { podOf, STAY, sh, web } from './support/manifest.ts';
import { NodePods, refusal } from './support/node-pods.ts';
import { fingerprints } from './support/stable-pods.ts';

const NAME = 'deckhand-test-e2e-store';
const DATA = `${pathsOf(NAME).libDir}/data`;
const WAL = `${DATA}/store.wal`;
const FILLER = `${DATA}/filler`;
const STABLE = ['web-1', 'web-2'];

describe('a damaged store and a full disk', () => {
  let node: HarnessNode;
  let pods: NodePods;
  let before: string[];
  let rules: ReadonlySet<string>;
  let url: string;

  beforeAll(async () => {
    node = await startNode(NAME, {
      beforeDeckhand: async () => {
        mkdirSync(DATA, { recursive: true });
        await runCommand(['mount', '-t', 'tmpfs', '-o', 'size=3m,mode=700', 'small', DATA]);
      },
    });
    pods = new NodePods(node);
    await node.deckhand.api.create<Service>(resources.services, {
      metadata: { name: 'web', namespace: 'default' },
      spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
    });
    for (const name of STABLE) await pods.create(podOf(name, web(), {}, { labels: { app: 'web' } }));
    await Promise.all(STABLE.map((name) => pods.ready(name)));
    const { spec } = await node.deckhand.api.get<Service>(resources.services, 'default', 'web');
    url = `http://${spec?.clusterIP}/`;
    rules = await rulesLeadingTo(node, 'default/web', STABLE.length);
    await waitFor('the Service to answer', async () => (await node.local.request(url)).status === 200);
    before = await fingerprints(pods, STABLE);
  });

  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  const map = (name: string, text: string): Promise<ConfigMap> =>
    node.deckhand.api.create<ConfigMap>(resources.configmaps, {
      metadata: { name, namespace: 'default' },
      data: { text },
    });
  const findMap = (name: string) => node.deckhand.api.find<ConfigMap>(resources.configmaps, 'default', name);
  const untouched = async (): Promise<void> => {
    expect(await fingerprints(pods, STABLE)).toEqual(before);
    expect(missingFrom(await kernelRules(node), rules)).toEqual([]);
  };

  it.each([
    ['half a record', (): void => appendFileSync(WAL, readFileSync(WAL).subarray(-200, -20))],
    [
      'garbage',
      (): void => appendFileSync(WAL, Buffer.from(Array.from({ length: 5_000 }, (_, i) => (i * 7919) % 256))),
    ],
    ['zeros, as a file system leaves them', (): void => appendFileSync(WAL, Buffer.alloc(4_096))],
  ])('a tail of %s is cut off: what was acknowledged is there', { timeout: 60_000 }, async (what, damage) => {
    const name = `kept-${what.replaceAll(/\W+/g, '-')}`;
    await map(name, 'acknowledged');
    await node.deckhand.kill();
    damage();
    await node.deckhand.restart();
    expect((await findMap(name))?.data).toEqual({ text: 'acknowledged' });
    await untouched();
    await map(`${name}-after`, 'goes on');
    // And once more from what was written behind the cut.
    await node.deckhand.kill();
    await node.deckhand.restart();
    expect((await findMap(`${name}-after`))?.data).toEqual({ text: 'goes on' });
    await untouched();
  });

  it('a last record cut short does not stop the start', { timeout: 60_000 }, async () => {
    await map('cut', 'x'.repeat(500));
    await node.deckhand.kill();
    truncateSync(WAL, readFileSync(WAL).length - 100);
    await node.deckhand.restart();
    await untouched();
  });

  it('damage in the middle is refused in words, nothing on the node is touched, and the repaired file works', async () => {
    await map('middle', 'x'.repeat(2_000));
    await map('later', 'y');
    await node.deckhand.kill();
    const whole = readFileSync(WAL);
    const at = whole.indexOf('x'.repeat(2_000)) + 100;
    const damaged = Buffer.from(whole);
    damaged.write('Z', at);
    writeFileSync(WAL, damaged);
    // Twice: a service manager starts it again and again.
    for (let attempt = 0; attempt < 2; attempt++) {
      const failure = await node.deckhand.restart().then(
        () => '',
        (error: Error) => error.message,
      );
      expect(failure).toMatch(/damaged/);
      expect(failure).toContain('store.wal');
    }
    expect(missingFrom(await kernelRules(node), rules)).toEqual([]);
    expect((await node.local.request(url)).status).toBe(200);
    rmSync(`${WAL}.corrupt`, { force: true });
    writeFileSync(WAL, whole);
    await node.deckhand.restart();
    expect((await findMap('later'))?.data).toEqual({ text: 'y' });
    await untouched();
  });

  it('a full data directory: writers are told, pods go on, and it recovers', { timeout: 120_000 }, async () => {
    const stream = new RequestStream(node.local, url, 10, 2);
    await pods.create(podOf('crashes', sh(`echo up; ${STAY}`)));
    const crashes = await pods.ready('crashes');
    fill();
    // Small writes may still find room in the last page.
    let refused = await refusal(writeUntilFull());
    expect(refused.status).toBeGreaterThanOrEqual(500);
    expect(refused.message).toMatch(/no space|ENOSPC/i);
    refused = await refusal(map('refused', 'x'.repeat(10_000)));
    expect(refused.message).toMatch(/no space|ENOSPC/i);
    expect(await findMap('refused')).toBeUndefined();
    // Readers are served, and the node does its work: a container that dies comes back.
    process.kill(await pods.pid(crashes), 'SIGKILL');
    await waitFor('the container to run again', async () => {
      const tasks = await node.containerd.ctr('tasks', 'list');
      const pids = new Set(pods.processes(crashes));
      return (
        tasks.split('\n').filter((line) => / RUNNING/.test(line) && pids.has(Number(line.split(/\s+/)[1]))).length === 2
      );
    });
    await pause(3_000);
    expect(node.deckhand.alive).toBe(true);
    await untouched();

    rmSync(FILLER);
    const since = performance.now();
    await waitFor('a write to be taken', async () => (await map('taken', 'again')) !== undefined, {
      timeoutMs: 30_000,
    });
    await pods.until('crashes', 'show its restart', (pod) => {
      return isReady(pod) && pod.status?.containerStatuses?.[0]?.restartCount === 1;
    });
    console.log(`writes and status are back ${(performance.now() - since).toFixed(0)} ms after space was freed`);
    await pods.create(podOf('after', sh(STAY)));
    await pods.ready('after');
    await stream.stop();
    expect(stream.failures).toEqual([]);
  });

  it('killed while the disk is full: it starts, or says why not, and all is there afterwards', {
    timeout: 120_000,
  }, async () => {
    await map('before-full', 'kept');
    fill();
    await refusal(writeUntilFull());
    await node.deckhand.kill();
    const failure = await node.deckhand.restart().then(
      () => '',
      (error: Error) => error.message,
    );
    if (failure !== '') expect(failure).toMatch(/no space|ENOSPC/i);
    expect((await node.local.request(url)).status).toBe(200);
    rmSync(FILLER);
    if (!node.deckhand.alive) await node.deckhand.restart();
    expect((await findMap('before-full'))?.data).toEqual({ text: 'kept' });
    await map('after-full', 'new');
    await untouched();
  });

  function fill(): void {
    const { bavail, bsize } = statfsSync(DATA);
    writeFileSync(FILLER, Buffer.alloc(bavail * bsize));
  }

  async function writeUntilFull(): Promise<void> {
    for (let index = 0; index < 20; index++)
      await map(`fill-${performance.now()}`.replace('.', '-'), 'x'.repeat(4_000));
  }
});
