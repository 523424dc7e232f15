import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Pod } from '../../../src/model/pod.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { containerId, restartCount } from '../../harness/pod-summary.ts';
import { pause, waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';

const NAME = 'deckhand-test-housekeeping-logs';
const SIZE = 64 * 1024;
// Numbered lines of 100 bytes, about 2,000 a second: a log of 64 KiB fills between two looks.
const TALK =
  "i=0; pad=$(printf '%070d' 0); while :; do for k in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do echo $i $pad; i=$((i+1)); done; usleep 10000; done";
vi.setConfig({ testTimeout: 60_000, maxConcurrency: 10 });

describe('container logs on real containerd', () => {
  let node: HarnessNode;
  let pods: NodePods;
  let links: string;

  beforeAll(async () => {
    const config = {
      containerLogMaxSize: '64Ki',
      containerLogMaxFiles: 3,
      containerLogMonitorInterval: '3s',
      crashLoopBackOff: { maxContainerRestartPeriod: '1s' },
    };
    node = await startNode(NAME, { deckhand: { config } });
    pods = new NodePods(node);
    links = `${node.run.paths.libDir}/container-logs`;
  });

  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  const rotated = (pod: Pod): string[] =>
    readdirSync(dirname(pods.logFile(pod, 'main')))
      .filter((name) => name.startsWith('0.log.'))
      .sort();

  const numbers = (text: string): number[] =>
    text
      .split('\n')
      .slice(0, -1)
      .map((line) => Number(line.split(' ')[3]));

  it.concurrent('rotates a log while its container writes on, losing no line', async () => {
    await pods.create(podOf('talker', sh(TALK)));
    const pod = await pods.ready('talker');
    const directory = dirname(pods.logFile(pod, 'main'));
    // While one is being compressed there may be one less, or one of another name.
    const settled = (): string[] | undefined => {
      const names = rotated(pod);
      return names.length === 2 && names[0]?.endsWith('.gz') ? names : undefined;
    };
    const [older = '', newest = ''] = await waitFor('two rotated logs, the older compressed', settled);
    expect(older).toMatch(/^0\.log\.\d{8}-\d{6}\.gz$/);
    expect(newest).toMatch(/^0\.log\.\d{8}-\d{6}$/);
    expect(lstatSync(`${directory}/${newest}`).size).toBeGreaterThanOrEqual(SIZE);
    const texts = [
      gunzipSync(readFileSync(`${directory}/${older}`)).toString(),
      readFileSync(`${directory}/${newest}`, 'utf8'),
      readFileSync(`${directory}/0.log`, 'utf8'),
    ];
    const seen = texts.flatMap(numbers);
    expect(seen.length).toBeGreaterThan(1000);
    expect(seen).toEqual(seen.map((_, index) => (seen[0] ?? 0) + index));
    // Still two of them after many more rounds; kubelet's third is the live one.
    await waitFor('another rotation', () => rotated(pod).every((name) => !name.startsWith(older)));
    await waitFor('no more than two of them', settled);
    await pods.delete('talker');
    await pods.gone('talker');
    await waitFor('its logs to be gone', () => !existsSync(dirname(directory)));
  });

  it.concurrent('links to a log under /var/log/containers until the container is removed', async () => {
    await pods.create(podOf('linked', sh(`echo hello; ${STAY}`)));
    const pod = await pods.ready('linked');
    const link = `${links}/linked_default_main-${containerId(pod, 'main')}.log`;
    expect(readlinkSync(link)).toBe(pods.logFile(pod, 'main'));
    await pods.untilLog(pod, 'hello');
    expect(readFileSync(link, 'utf8')).toContain('stdout F hello');
    await pods.delete('linked');
    await pods.gone('linked');
    await waitFor('the link to be gone', () => readdirSync(links).every((name) => !name.startsWith('linked_')));
  });

  it.concurrent('removes with a dead container all that it has logged', async () => {
    await pods.create(podOf('crasher', sh(`echo ${'x'.repeat(90_000)}; sleep 7; exit 1`)));
    const pod = await pods.until('crasher', 'run', (seen) => seen.status?.phase === 'Running' && seen);
    await waitFor('the log of the first run to be rotated', () => rotated(pod).length > 0);
    // The third run's predecessor is kept for `logs --previous`, the first one is not.
    await pods.until('crasher', 'be in its third run', (seen) => restartCount(seen) >= 2);
    await waitFor('the first log to be gone', () => {
      const names = readdirSync(dirname(pods.logFile(pod, 'main')));
      return names.every((name) => !name.startsWith('0.log')) && names.includes('1.log') && names.includes('2.log');
    });
    const ours = readdirSync(links).filter((name) => name.startsWith('crasher_'));
    expect(ours.length).toBeLessThanOrEqual(2);
    await pods.delete('crasher');
    await pods.gone('crasher');
  });

  it.concurrent('has a log that somebody removed made anew, and follows no link in its place', async () => {
    await pods.create(podOf('robbed', sh('while :; do echo again; sleep 1; done')));
    const pod = await pods.ready('robbed');
    await pods.untilLog(pod, 'again');
    rmSync(pods.logFile(pod, 'main'));
    await pods.untilLog(pod, 'again');
    const victim = `${node.run.paths.runDir}/victim`;
    writeFileSync(victim, 'v'.repeat(2 * SIZE));
    rmSync(pods.logFile(pod, 'main'));
    symlinkSync(victim, pods.logFile(pod, 'main'));
    // Two looks of the rotator later.
    await pause(6500);
    expect(readFileSync(victim, 'utf8')).toBe('v'.repeat(2 * SIZE));
    expect(rotated(pod)).toEqual([]);
    await pods.delete('robbed');
    await pods.gone('robbed');
  });

  it('removes links that lead nowhere', async () => {
    // The sweep of links runs at the start and then every minute: a restart has one at once.
    symlinkSync('/nowhere/0.log', `${links}/old_default_main-${'0'.repeat(64)}.log`);
    await node.deckhand.restart();
    await waitFor('the dangling link to be gone', () => readdirSync(links).every((name) => !name.startsWith('old_')));
  });
});
