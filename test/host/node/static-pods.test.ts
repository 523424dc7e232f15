import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Node } from '../../../src/model/node.ts';
import type { Event } from '../../../src/model/objects.ts';
import type { Pod } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { containerId, isReady } from '../../harness/pod-summary.ts';
import { pause, waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh, web } from './support/manifest.ts';
import { NodePods } from './support/node-pods.ts';

const NAME = 'deckhand-test-e2e-static';
const HASH = 'kubernetes.io/config.hash';
const MIRROR = 'kubernetes.io/config.mirror';
const FILE_CHECK_S = 3;

describe('static pods on a node', () => {
  let node: HarnessNode;
  let pods: NodePods;
  let folder: string;

  /** Written beside and moved into place. */
  const write = (file: string, pod: Pod | string): void => {
    const text = typeof pod === 'string' ? pod : JSON.stringify(pod);
    writeFileSync(join(folder, `.${file}`), text);
    renameSync(join(folder, `.${file}`), join(folder, file));
  };
  const remove = (file: string): void => rmSync(join(folder, file), { force: true });
  const ready = (name: string): Promise<Pod> =>
    pods.until(name, 'be ready', (pod) => (isReady(pod) ? pod : undefined), 30_000);
  /** The containers of a pod that have a process now. */
  const running = async (uid: string): Promise<string[]> => {
    const listed = await node.containerd.ctr('tasks', 'list');
    const ids = listed.split('\n').flatMap((line) => /^([0-9a-f]{64}) .*RUNNING/.exec(line)?.[1] ?? []);
    const mine: string[] = [];
    for (const id of ids) {
      // It may have gone since.
      const text = await node.containerd.ctr('containers', 'info', id).catch(() => '{"Labels":{}}');
      const info = JSON.parse(text) as { Labels: Record<string, string> };
      if (info.Labels['io.kubernetes.pod.uid'] === uid && info.Labels['io.cri-containerd.kind'] === 'container') {
        mine.push(id);
      }
    }
    return mine;
  };

  beforeAll(async () => {
    node = await startNode(NAME, {
      deckhand: {
        args: ['--pod-manifest-path', `/var/lib/${NAME}/manifests`, '--file-check-frequency', `${FILE_CHECK_S}s`],
      },
      beforeDeckhand: (run) => {
        folder = join(run.paths.libDir, 'manifests');
        mkdirSync(folder, { recursive: true });
        writeFileSync(join(folder, 'first.json'), JSON.stringify(podOf('first', web())));
        writeFileSync(
          join(folder, 'broken.yaml'),
          'apiVersion: v1\nkind: Pod\nmetadata:\n  name: broken\nspec:\n  containers: 7\n',
        );
        writeFileSync(join(folder, '.hidden.json'), JSON.stringify(podOf('hidden', web())));
      },
    });
    pods = new NodePods(node);
  });

  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  it('starts what is in the folder and shows it by a mirror pod', async () => {
    const pod = await ready('first-node-1');
    const { annotations = {}, ownerReferences, uid } = pod.metadata;
    expect(annotations[HASH]).toMatch(/^[0-9a-f]{32}$/);
    expect(annotations).toMatchObject({
      [MIRROR]: annotations[HASH],
      'kubernetes.io/config.source': 'file',
      'kubernetes.io/config.seen': expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    });
    const owner = await node.deckhand.api.get<Node>(resources.nodes, undefined, 'node-1');
    expect(ownerReferences).toEqual([
      { apiVersion: 'v1', kind: 'Node', name: 'node-1', uid: owner.metadata.uid, controller: true },
    ]);
    expect(uid).not.toBe(annotations[HASH]);
    expect(pod.spec.tolerations).toContainEqual({ operator: 'Exists', effect: 'NoExecute' });
    expect(pod.spec.serviceAccountName).toBeUndefined();
    expect(await running(annotations[HASH] ?? '')).toHaveLength(1);
    expect(await pods.find('hidden-node-1')).toBeUndefined();
    // kubectl describe looks for a mirror pod's events by the static pod's UID.
    const events = await node.deckhand.api.list<Event>(resources.events, 'default');
    const about = events.filter(({ involvedObject }) => involvedObject?.uid === annotations[HASH]);
    expect(about.map(({ reason }) => reason)).toContain('Started');
  });

  it('names file, line and field of a bad manifest, which harms no other', () => {
    const log = node.deckhand.logTail(2000);
    expect(log).toMatch(/broken\.yaml:6:3: spec\.containers: .*must be a list, not a number/);
  });

  it('makes a deleted mirror pod anew and leaves the static pod running', async () => {
    const before = await ready('first-node-1');
    const id = containerId(before, 'web');
    await pods.delete('first-node-1');
    const after = await pods.until('first-node-1', 'be made anew', (pod) =>
      pod.metadata.uid !== before.metadata.uid && pod.metadata.deletionTimestamp === undefined && isReady(pod)
        ? pod
        : undefined,
    );
    expect(containerId(after, 'web')).toBe(id);
    expect(after.status?.startTime).toBe(before.status?.startTime);
    await pods.delete('first-node-1', 0);
    await pods.until(
      'first-node-1',
      'be made anew',
      (pod) => pod.metadata.uid !== after.metadata.uid && isReady(pod) && containerId(pod, 'web') === id,
    );
  });

  it('ends the old version before it starts the new one', async () => {
    write(
      'turns.json',
      podOf('turns', sh("trap 'sleep 2; exit 0' TERM; while :; do sleep 1000 & wait $!; done"), {
        terminationGracePeriodSeconds: 10,
      }),
    );
    const old = await ready('turns-node-1');
    const oldUid = old.metadata.annotations?.[HASH] ?? '';
    write('turns.json', podOf('turns', sh(STAY), { terminationGracePeriodSeconds: 10 }));
    const both: string[] = [];
    const fresh = await pods.until('turns-node-1', 'be the new version', async (pod) => {
      const uid = pod.metadata.annotations?.[HASH] ?? '';
      if (uid === oldUid) return undefined;
      if (isReady(pod) && (await running(oldUid)).length > 0) both.push(uid);
      return isReady(pod) ? pod : undefined;
    });
    expect(both).toEqual([]);
    const started = fresh.status?.containerStatuses?.[0]?.state?.running?.startedAt ?? '';
    expect(Date.parse(started) - Date.parse(old.status?.startTime ?? '')).toBeGreaterThanOrEqual(2000);
    remove('turns.json');
    await waitFor('the mirror pod to go', async () => (await pods.find('turns-node-1')) === undefined);
    expect(await running(fresh.metadata.annotations?.[HASH] ?? '')).toEqual([]);
  });

  it('comes back under the same UID when its file does, even while it is being ended', async () => {
    const pod = podOf('again', sh("trap 'sleep 1; exit 0' TERM; while :; do sleep 1000 & wait $!; done"), {
      terminationGracePeriodSeconds: 10,
    });
    write('again.json', pod);
    const before = await ready('again-node-1');
    remove('again.json');
    await pause(600);
    write('again.json', pod);
    const after = await pods.until('again-node-1', 'run anew', (now) =>
      isReady(now) && containerId(now, 'main') !== containerId(before, 'main') ? now : undefined,
    );
    expect(after.metadata.annotations?.[HASH]).toBe(before.metadata.annotations?.[HASH]);
    remove('again.json');
    await waitFor('the mirror pod to go', async () => (await pods.find('again-node-1')) === undefined);
  });

  it('keeps the last good version of a file that turns bad until the next look at everything', async () => {
    write('turning.json', podOf('turning', sh(STAY)));
    const pod = await ready('turning-node-1');
    write('turning.json', '{"apiVersion": "v1", "kind": "Pod", "metadata": {');
    await pause(400);
    expect((await pods.get('turning-node-1')).metadata.uid).toBe(pod.metadata.uid);
    await waitFor('the pod to go', async () => (await pods.find('turning-node-1')) === undefined, {
      timeoutMs: FILE_CHECK_S * 1000 + 10_000,
    });
    remove('turning.json');
  });

  it('takes its pods over from a killed process, and does what changed meanwhile', async () => {
    write('stays.json', podOf('stays', web()));
    write('changes.json', podOf('changes', sh(STAY)));
    write('goes.json', podOf('goes', sh(STAY)));
    const [stays, changes, goes] = await Promise.all(
      ['stays', 'changes', 'goes'].map((name) => ready(`${name}-node-1`)),
    );
    await node.deckhand.kill();
    write('changes.json', podOf('changes', sh(`${STAY} # two`)));
    remove('goes.json');
    let flips = 0;
    await node.deckhand.restart();
    const until = Date.now() + 4000;
    while (Date.now() < until) {
      const now = await pods.get('stays-node-1');
      if (!isReady(now)) flips++;
      await pause(50);
    }
    expect(flips).toBe(0);
    const after = await pods.get('stays-node-1');
    expect(after.metadata.uid).toBe(stays?.metadata.uid);
    expect(containerId(after, 'web')).toBe(containerId(stays ?? after, 'web'));
    await pods.until(
      'changes-node-1',
      'be the new version',
      (pod) => isReady(pod) && pod.metadata.annotations?.[HASH] !== changes?.metadata.annotations?.[HASH],
    );
    await waitFor('the pod to go', async () => (await pods.find('goes-node-1')) === undefined);
    expect(await running(goes?.metadata.annotations?.[HASH] ?? '')).toEqual([]);
  });
});
