import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Pod } from '../../../src/model/pod.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { restartCount } from '../../harness/pod-summary.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, sh } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';
import { KUBECTL, Kubectl, type Started } from './support/kubectl.ts';

const NAME = 'deckhand-test-nodeapi-followers';
const missing = existsSync(KUBECTL) ? undefined : `${KUBECTL} is not installed`;
// Lines of 100 bytes, some 500 a second, until it is told to end; then one last word.
const TALK =
  'i=0; pad=$(printf \'%070d\' 0); while [ ! -e /tmp/over ]; do for k in 1 2 3 4 5 6 7 8 9 10; do echo "$i $pad"; i=$((i+1)); done; usleep 20000; done; echo farewell; exit 0';
vi.setConfig({ testTimeout: 120_000, hookTimeout: 180_000 });

describe.skipIf(missing !== undefined)(
  `logs that are followed${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    let node: HarnessNode;
    let pods: NodePods;
    let kubectl: Kubectl;

    beforeAll(async () => {
      const config = {
        containerLogMaxSize: '64Ki',
        // Enough for all of what is logged here: the files are what the followers are held against.
        containerLogMaxFiles: 60,
        containerLogMonitorInterval: '3s',
        crashLoopBackOff: { maxContainerRestartPeriod: '1s' },
      };
      node = await startNode(NAME, { deckhand: { config } });
      pods = new NodePods(node);
      kubectl = await Kubectl.open(node);
    });
    afterAll(async () => {
      kubectl?.close();
      await node?.close();
      expect(await leaksOf(NAME)).toEqual([]);
    });

    const filesOf = (pod: Pod): string[] => {
      const directory = dirname(pods.logFile(pod, 'main'));
      const rotated = readdirSync(directory).filter((name) => /^0\.log\.\d{8}-\d{6}(\.gz)?$/.test(name));
      return [...rotated.sort(), '0.log'].map((name) => `${directory}/${name}`);
    };

    /** What the runtime has written, over all files of the container. */
    const written = (pod: Pod): string =>
      filesOf(pod)
        .map((file) => (file.endsWith('.gz') ? gunzipSync(readFileSync(file)) : readFileSync(file)).toString())
        .join('')
        .replace(/^\S+ stdout F /gm, '');

    const beyond = (follower: Started, line: number): Promise<boolean> =>
      waitFor(`line ${line} at the follower`, () => follower.stdout().includes(`\n${line} `), { timeoutMs: 60_000 });

    it('lose and double nothing while the runtime is killed and started again and the log rotates', async () => {
      await pods.create(podOf('talker', sh(TALK), { restartPolicy: 'Never' }));
      const pod = await pods.ready('talker');
      const follower = kubectl.start(['logs', '-f', 'talker']);
      const last = (): number => Number(/\n(\d+) \d{70}\n$/.exec(follower.stdout())?.[1] ?? 0);
      await beyond(follower, 200);
      for (const round of [1, 2]) {
        const before = filesOf(pod).length;
        await node.containerd.kill();
        await node.containerd.restart();
        await beyond(follower, last() + 500);
        await waitFor(`rotation ${round}`, () => filesOf(pod).length > before, { timeoutMs: 60_000 });
        await beyond(follower, last() + 500);
      }
      await node.containerd.kill();
      await node.containerd.restart();
      const over = await kubectl.run(['exec', 'talker', '--', 'touch', '/tmp/over']);
      expect(over).toMatchObject({ code: 0, stderr: '' });
      const ended = await follower.done;
      expect(ended).toMatchObject({ code: 0, stderr: '' });
      const text = written(pod);
      expect(text).toMatch(/\nfarewell\n$/);
      // By lines: thousands that differ would say nothing.
      const [had, wanted] = [ended.stdout.split('\n'), text.split('\n')];
      const differs = wanted.findIndex((line, at) => line !== had[at]);
      expect([differs, had[differs], wanted[differs], had.length]).toEqual([-1, undefined, undefined, wanted.length]);
      expect(had.length).toBeGreaterThan(2000);
    });

    it('end with their container; whoever asks again has the next one, and the one before on demand', async () => {
      await pods.create(podOf('returning', sh('echo "run of $(cat /proc/uptime)"; sleep 4; echo end; exit 1')));
      await pods.until('returning', 'run', (seen) => seen.status?.phase === 'Running');
      const first = await kubectl.run(['logs', '-f', 'returning']);
      expect(first).toMatchObject({ code: 0, stderr: '' });
      expect(first.stdout).toMatch(/^run of [\d. ]+\nend\n$/);
      await pods.until('returning', 'run again', (seen) => restartCount(seen) === 1 && runs(seen));
      const second = kubectl.start(['logs', '-f', 'returning']);
      await waitFor('its first line', () => second.stdout().startsWith('run of '));
      expect(second.stdout()).not.toContain(first.stdout.split('\n')[0]);
      expect((await kubectl.run(['logs', '--previous', 'returning'])).stdout).toBe(first.stdout);
      expect(await second.done).toMatchObject({ code: 0, stderr: '' });
    });
  },
);

function runs(pod: Pod): boolean {
  return pod.status?.containerStatuses?.[0]?.state?.running !== undefined;
}
