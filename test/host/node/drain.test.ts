import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Node } from '../../../src/model/node.ts';
import type { Pod } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import { deckhandBundle } from '../../harness/deckhand.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { inNetns } from '../../harness/netns.ts';
import { containerId } from '../../harness/pod-summary.ts';
import { tryCommand } from '../../harness/run-command.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh } from './support/manifest.ts';
import { NodePods } from './support/node-pods.ts';

const NAME = 'deckhand-test-e2e-drain';

describe('taking a node of its own out of service', () => {
  let node: HarnessNode;
  let pods: NodePods;

  /** `deckhand …` at a shell of the node. */
  const deckhand = async (...args: string[]): Promise<{ code: number; out: string[]; err: string }> => {
    const { code, stdout, stderr } = await tryCommand(
      inNetns(node.netns, [process.execPath, deckhandBundle(), ...args]),
    );
    return { code, out: stdout.trim().split('\n'), err: stderr };
  };
  const unschedulable = async (): Promise<boolean> =>
    (await node.deckhand.api.get<Node>(resources.nodes, undefined, 'node-1')).spec?.unschedulable === true;
  const tasks = (): Promise<string> => node.containerd.ctr('tasks', 'list', '--quiet');

  beforeAll(async () => {
    let manifests = '';
    let statics = '';
    node = await startNode(NAME, {
      beforeDeckhand: ({ paths }) => {
        [manifests, statics] = [join(paths.libDir, 'manifests'), join(paths.libDir, 'static')];
        for (const folder of [manifests, statics]) mkdirSync(folder, { recursive: true });
        writeFileSync(join(manifests, 'listed.json'), JSON.stringify(podOf('listed', sh(STAY))));
        writeFileSync(join(statics, 'static.json'), JSON.stringify(podOf('static', sh(STAY))));
      },
      deckhand: {
        manifests: `/var/lib/${NAME}/manifests`,
        args: ['--pod-manifest-path', `/var/lib/${NAME}/static`],
      },
    });
    pods = new NodePods(node);
  });

  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  let before: Record<string, string>;

  it('ending the daemon ends no pod', async () => {
    const volume = { volumes: [{ name: 'data', emptyDir: {} }] };
    await pods.create(podOf('alone', sh(STAY), volume));
    before = {};
    for (const name of ['alone', 'listed', 'static-node-1']) before[name] = containerId(await pods.ready(name), 'main');
    await node.deckhand.stop();
    for (const id of Object.values(before)) expect(await tasks()).toContain(id);
    await node.deckhand.restart();
    for (const name of Object.keys(before)) {
      expect(containerId(await pods.ready(name), 'main')).toBe(before[name]);
    }
  });

  it('drain refuses, as kubectl does, while it would lose something for good', async () => {
    const { code, out, err } = await deckhand('drain');
    expect(code).toBe(1);
    expect(out).toEqual(['node/node-1 cordoned']);
    expect(err).toContain(
      'cannot delete Pods with local storage (use --delete-emptydir-data to override): default/alone',
    );
    expect(await unschedulable()).toBe(true);
    for (const id of Object.values(before)) expect(await tasks()).toContain(id);
  });

  it('drain ends the pods that are not static, and lets none in', async () => {
    const { code, out, err } = await deckhand('drain', '--force', '--delete-emptydir-data', '--timeout', '2m');
    expect({ code, err }).toEqual({
      code: 0,
      err: 'Warning: deleting Pods that declare no controller: default/alone\n',
    });
    expect(out[0]).toBe('node/node-1 already cordoned');
    expect([...out].sort()).toEqual([
      'evicting pod default/alone',
      'evicting pod default/listed',
      'node/node-1 already cordoned',
      'node/node-1 drained',
      'pod/alone evicted',
      'pod/listed evicted',
    ]);
    expect(out.at(-1)).toBe('node/node-1 drained');
    const left = await tasks();
    expect(left).not.toContain(before['alone']);
    expect(left).not.toContain(before['listed']);
    expect(left).toContain(before['static-node-1']);
    expect(await pods.find('alone')).toBeUndefined();
    // What the folder of manifests wants waits for the node.
    const waiting = await waitFor(
      'the listed pod to be there again',
      async () => {
        const pod = await pods.find('listed');
        return pod?.metadata.deletionTimestamp === undefined ? pod : undefined;
      },
      { timeoutMs: 60_000 },
    );
    expect(waiting.spec.nodeName).toBeUndefined();
    const scheduled = waiting.status?.conditions?.find(({ type }) => type === 'PodScheduled');
    expect(scheduled?.message).toContain('unschedulable');
  });

  it('uncordon lets them in again', async () => {
    expect(await deckhand('uncordon')).toEqual({ code: 0, out: ['node/node-1 uncordoned'], err: '' });
    await pods.ready('listed');
    expect(containerId(await pods.get('static-node-1'), 'main')).toBe(before['static-node-1']);
  });

  it('names what is left when the time is over; a second drain may hurry it', async () => {
    await pods.create(
      podOf('slow', sh("trap '' TERM; while :; do sleep 1; done"), { terminationGracePeriodSeconds: 600 }),
    );
    const slow = await pods.ready('slow');
    const late = await deckhand('drain', '--force', '--timeout', '3s');
    expect(late.code).toBe(1);
    expect(late.err).toContain('global timeout reached: 3s');
    expect(late.err).toContain('pod/slow -n default');
    expect(((await pods.get('slow')) as Pod).metadata.deletionTimestamp).toBeDefined();
    expect(await tasks()).toContain(containerId(slow, 'main'));
    const hurried = await deckhand('drain', '--force', '--grace-period=1', '--timeout', '2m');
    expect(hurried).toMatchObject({ code: 0 });
    expect(await tasks()).not.toContain(containerId(slow, 'main'));
  });

  it('needs no daemon to be asked where it is told the API and the name', async () => {
    const nowhere = ['--metrics-address', '127.0.0.1:1'];
    const lost = await deckhand('cordon', ...nowhere);
    expect(lost.code).toBe(1);
    expect(lost.err).toContain('give --kubeconfig and --hostname-override');
    const own = ['--kubeconfig', `${node.deckhand.dataDir}/node.kubeconfig`, '--hostname-override', 'node-1'];
    expect(await deckhand('uncordon', ...own, ...nowhere)).toMatchObject({ code: 0, out: ['node/node-1 uncordoned'] });
    expect(await unschedulable()).toBe(false);
  });
});
