import Long from 'long';
import { describe, expect, it } from 'vitest';
import { ContainerdEvents } from '../../../../src/host/cri/containerd-events.ts';
import type { CriRuntime, RuntimeEvent } from '../../../../src/host/cri/port.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';

const text = (field: number, value: string): number[] => [(field << 3) | 2, value.length, ...Buffer.from(value)];
const exitOf = (id: string): number[] => [...text(1, id), ...text(2, id), (4 << 3) | 0, 137, 1];

/** A CRI plugin that notes an exit and its reason some time after containerd's events have told of them. */
function world(notes: { exitAfterMs: number; reasonAfterMs?: number }) {
  const clock = new ManualClock();
  const events: RuntimeEvent[] = [];
  let exitedAt = Number.POSITIVE_INFINITY;
  let oomAt = Number.POSITIVE_INFINITY;
  const statusOf = () => {
    const now = clock.monotonic();
    if (now < exitedAt + notes.exitAfterMs) return { state: 'RUNNING', reason: '' };
    return { state: 'EXITED', reason: now >= oomAt + (notes.reasonAfterMs ?? 0) ? 'OOMKilled' : 'Error' };
  };
  /** The reason that a reader would find, for each "stopped". */
  const reasons: string[] = [];
  const subject = new ContainerdEvents(
    {
      cri: {
        containerStatus: async () => statusOf() as Awaited<ReturnType<CriRuntime['containerStatus']>>,
        podSandboxStatus: () => Promise.reject(new Error('it is no sandbox')),
      },
      clock,
    },
    (event) => {
      events.push(event);
      if (event.type === 'stopped') reasons.push(statusOf().reason);
    },
    new AbortController().signal,
  );
  const receive = (topic: string, value: number[]): void =>
    subject.receive({
      timestamp: { seconds: Long.fromNumber(1), nanos: 0 } as never,
      namespace: 'k8s.io',
      topic,
      event: { type_url: '', value: Uint8Array.from(value) },
    });
  return {
    clock,
    reasons,
    types: () => events.map(({ type }) => type),
    exit: () => {
      exitedAt = clock.monotonic();
      receive('/tasks/exit', exitOf('c1'));
    },
    oom: () => {
      oomAt = clock.monotonic();
      receive('/tasks/oom', text(1, 'c1'));
    },
  };
}

describe('containerd tells of a container that the kernel killed for want of memory', () => {
  it('before the exit: "stopped" comes when the reason is noted', async () => {
    const { clock, oom, exit, reasons, types } = world({ exitAfterMs: 35, reasonAfterMs: 120 });
    oom();
    await clock.advance(2);
    exit();
    expect(types()).toEqual(['exited']);
    await clock.advance(1_000);
    expect(types()).toEqual(['exited', 'stopped']);
    expect(reasons).toEqual(['OOMKilled']);
  });

  it('while its stop is looked at: the same', async () => {
    const { clock, oom, exit, reasons } = world({ exitAfterMs: 35, reasonAfterMs: 60 });
    exit();
    await clock.advance(10);
    oom();
    await clock.advance(1_000);
    expect(reasons).toEqual(['OOMKilled']);
  });

  it('after the stop was told: it is told again, with the reason', async () => {
    const { clock, oom, exit, reasons } = world({ exitAfterMs: 35, reasonAfterMs: 30 });
    exit();
    await clock.advance(500);
    expect(reasons).toEqual(['Error']);
    oom();
    await clock.advance(1_000);
    expect(reasons).toEqual(['Error', 'OOMKilled']);
  });

  it('of a child that died in a living container: nothing, until that ends', async () => {
    const { clock, oom, exit, reasons, types } = world({ exitAfterMs: 35 });
    oom();
    await clock.advance(5_000);
    expect(types()).toEqual([]);
    exit();
    await clock.advance(1_000);
    expect(reasons).toEqual(['OOMKilled']);
  });

  it('and no reason ever comes: "stopped" is told all the same', async () => {
    const { clock, oom, exit, reasons } = world({ exitAfterMs: 35, reasonAfterMs: 60_000 });
    oom();
    exit();
    await clock.advance(2_000);
    expect(reasons).toEqual(['Error']);
  });
});
