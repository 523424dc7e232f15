import { mkdirSync } from 'node:fs';
import { test } from 'vitest';
import { RealCri } from '../../src/host/cri/real.ts';
import { Containerd } from '../harness/containerd.ts';
import { HarnessRun } from '../harness/harness-run.ts';
import { BUSYBOX_IMAGE } from '../harness/images.ts';
import { pause, waitFor } from '../harness/wait-for.ts';
import { type CriUnderTest, criRuntimeContract } from './cri-runtime.contract.ts';

const shell = (script: string): readonly string[] => ['sh', '-c', script];

async function open(): Promise<CriUnderTest> {
  const run = await HarnessRun.open('deckhand-test-cri');
  try {
    const containerd = await Containerd.start(run, await run.netns());
    const cri = new RealCri({ endpoint: containerd.endpoint });
    await cri.checkApi();
    return {
      cri,
      image: BUSYBOX_IMAGE,
      commands: {
        obedient: shell('trap "exit 3" TERM; while :; do sleep 1000 & wait $!; done'),
        stubborn: shell('trap "" TERM; while :; do sleep 1000; done'),
        failing: shell('sleep 0.2; exit 7'),
        done: shell('sleep 0.2'),
        eater: shell('x=$(head -c 200m /dev/zero | tr "\\0" x); sleep 1000'),
        missing: ['/no/such/command'],
      },
      execCommand: shell('printf out; printf err >&2; exit 4'),
      execForever: ['sleep', '1000'],
      cgroupParent: `/${run.name}`,
      logDirectory: (podName) => {
        const directory = `${run.paths.runDir}/logs/${podName}`;
        mkdirSync(directory, { recursive: true });
        return directory;
      },
      obeys: async (id) => {
        // Bit 14 of the signals that the first process catches (proc_pid_status(5)).
        const caught = shell("grep -Eq 'SigCgt:.*[4-7c-f][0-9a-f]{3}$' /proc/1/status");
        await waitFor('the trap', async () => (await cri.execSync(id, caught, 10)).exitCode === 0 || undefined, {
          intervalMs: 20,
        });
      },
      settle: (promise) => promise,
      pass: () => pause(25),
      stopRuntime: () => containerd.kill(),
      startRuntime: () => containerd.restart(),
      close: async () => {
        cri.close();
        await run.close();
      },
    };
  } catch (error) {
    await run.close();
    throw error;
  }
}

if (process.getuid?.() === 0) criRuntimeContract('containerd', open);
else test.skip('containerd as a CRI runtime: needs root', () => undefined);
