import { describe, expect, it } from 'vitest';
import { type Logger, silent } from '../../../src/kit/log.ts';
import { OomWatcher } from '../../../src/node/oom-watcher.ts';

async function told(messages: readonly string[], failure?: Error): Promise<{ events: string[]; warnings: string[] }> {
  const events: string[] = [];
  const warnings: string[] = [];
  const log: Logger = { ...silent, warn: (_fields, message) => void warnings.push(message), child: () => log };
  const kmsg = {
    async *messages() {
      yield* messages;
      if (failure !== undefined) throw failure;
    },
  };
  const watcher = new OomWatcher({ kmsg, event: ({ reason, message }) => events.push(`${reason}: ${message}`), log });
  await watcher.run(new AbortController().signal);
  return { events, warnings };
}

// As Linux 6.1 writes them.
const GLOBAL = [
  'stress invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj=0',
  'Call Trace:',
  'Mem-Info:',
  'Tasks state (memory values in pages):',
  '[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name',
  'oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/kubepods/besteffort/pod1/c,task=stress,pid=4242,uid=0',
  'Out of memory: Killed process 4242 (stress) total-vm:8392456kB, anon-rss:7912348kB, file-rss:0kB',
];
const OF_CGROUP = [
  'python invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=999',
  'oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=c,mems_allowed=0,oom_memcg=/kubepods/pod1/c,task_memcg=/kubepods/pod1/c,task=python,pid=77,uid=0',
  'Memory cgroup out of memory: Killed process 77 (python) total-vm:1kB',
];
const OLD = [
  'java invoked oom-killer: gfp_mask=0x6000c0(GFP_KERNEL), nodemask=(null), order=0',
  'Task in /kubepods/pod2/x killed as a result of limit of /kubepods/pod2',
  'Killed process 88 (java) total-vm:1kB',
];

describe('OomWatcher', () => {
  it('tells of a machine out of memory, with the victim', async () => {
    const { events } = await told(['eth0: link up', ...GLOBAL, 'eth0: link down', ...GLOBAL]);
    const event = 'SystemOOM: System OOM encountered, victim process: stress, pid: 4242';
    expect(events).toEqual([event, event]);
  });

  it('not of a cgroup that is, in either of the kernel’s wordings', async () => {
    expect((await told([...OF_CGROUP, ...OLD])).events).toEqual([]);
    expect((await told([...OF_CGROUP, ...GLOBAL, ...OLD])).events).toHaveLength(1);
  });

  it('takes no line of a kill for one that nobody began', async () => {
    expect((await told(GLOBAL.slice(1))).events).toEqual([]);
  });

  it('warns once when the log cannot be read', async () => {
    const { events, warnings } = await told([], new Error('open /dev/kmsg: EPERM'));
    expect(events).toEqual([]);
    expect(warnings).toEqual(['the kernel log cannot be read; the node has no SystemOOM events']);
  });
});
