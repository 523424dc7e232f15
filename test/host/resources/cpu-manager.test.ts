import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Pod, ResourceRequirements } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';

const NAME = 'deckhand-test-cpus';
const own: ResourceRequirements = { requests: { cpu: '1', memory: '32Mi' }, limits: { cpu: '1', memory: '32Mi' } };

describe.runIf(readFileSync('/sys/devices/system/cpu/online', 'utf8').trim() === '0-1')(
  'a real node of two CPUs that gives one away',
  () => {
    let node: HarnessNode;
    let pods: NodePods;
    const cpusOf = async (pod: Pod): Promise<string> => {
      const status = readFileSync(`/proc/${await pods.pid(pod)}/status`, 'utf8');
      return /^Cpus_allowed_list:\s*(.*)$/m.exec(status)?.[1] ?? '';
    };

    beforeAll(async () => {
      node = await startNode(NAME, {
        deckhand: { args: ['--cpu-manager-policy=static', '--reserved-cpus=0', '--cpu-manager-reconcile-period=1s'] },
      });
      pods = new NodePods(node);
    }, 120_000);

    afterAll(async () => {
      await node?.close();
      expect(await leaksOf(NAME)).toEqual([]);
    });

    it('to a Guaranteed container, moves others off it, keeps that over a crash, and takes it back', async () => {
      await pods.create(podOf('shares', sh(STAY)));
      const shares = await pods.ready('shares');
      expect(await cpusOf(shares)).toBe('0-1');
      await pods.create(podOf('owns', sh(STAY, { resources: own })));
      const owns = await pods.ready('owns');
      expect(await cpusOf(owns)).toBe('1');
      expect(pods.podCgroup(owns, 'cpu.cfs_quota_us')).toBe('-1');
      await waitFor('the other to be moved', async () => (await cpusOf(shares)) === '0');
      const state = join(node.run.paths.libDir, 'kubelet', 'cpu_manager_state');
      expect(JSON.parse(readFileSync(state, 'utf8'))).toMatchObject({
        policyName: 'static',
        defaultCpuSet: '0',
        entries: { [owns.metadata.uid ?? '']: { main: '1' } },
      });
      await pods.create(podOf('late', sh(STAY, { resources: own }), { nodeName: node.deckhand.nodeName }));
      const late = await pods.phase('late', 'Failed');
      expect(late.status?.reason).toMatch(/^(UnexpectedAdmissionError|OutOfcpu)$/);
      await pods.delete('late');
      await node.deckhand.kill();
      await node.deckhand.restart();
      await pods.create(podOf('next', sh(STAY)));
      expect(await cpusOf(await pods.ready('next'))).toBe('0');
      expect(await cpusOf(owns)).toBe('1');
      const resized = await node.deckhand.api.patchSubresource<Pod>(
        resources.pods,
        { namespace: 'default', name: 'owns', subresource: 'resize' },
        { spec: { containers: [{ name: 'main', resources: { requests: { cpu: '500m' }, limits: { cpu: '500m' } } }] } },
      );
      expect(resized.metadata.generation).toBe(2);
      const refused = await pods.untilEvent('owns', 'ResizeInfeasible');
      expect(refused.message).toContain('Resize is infeasible for Guaranteed Pods alongside CPU Manager policy');
      await pods.delete('owns');
      await pods.gone('owns');
      await waitFor('the CPU to be shared again', async () => (await cpusOf(shares)) === '0-1');
      await Promise.all(['shares', 'next'].map((name) => pods.delete(name)));
    });
  },
);
