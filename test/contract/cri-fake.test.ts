import { FakeCri } from '../../src/host/cri/fake.ts';
import { ManualClock } from '../../src/kit/manual-clock.ts';
import { type CriUnderTest, criRuntimeContract } from './cri-runtime.contract.ts';

criRuntimeContract('FakeCri', async (): Promise<CriUnderTest> => {
  const clock = new ManualClock();
  const cri = new FakeCri({}, { clock });
  cri.addImage('deckhand.local/busybox:1');
  cri.program('obedient', { stopExitCode: 3 });
  cri.program('stubborn', { ignoresTerm: true });
  cri.program('failing', { exitAfterMs: 200, exitCode: 7 });
  cri.program('done', { exitAfterMs: 200 });
  cri.program('eater', { exitAfterMs: 200, oomKilled: true });
  cri.program('missing', { startError: 'exec: "/no/such/command": no such file or directory' });
  cri.setExec(({ command }) =>
    command[0] === 'forever' ? { hang: true } : { stdout: 'out', stderr: 'err', exitCode: 4 },
  );
  const none: readonly string[] = [];
  return {
    cri,
    image: 'deckhand.local/busybox:1',
    commands: { obedient: none, stubborn: none, failing: none, done: none, eater: none, missing: none },
    execCommand: ['speak'],
    execForever: ['forever'],
    cgroupParent: '/fake',
    logDirectory: (podName) => `/var/log/pods/${podName}`,
    obeys: async () => {},
    settle: async (promise) => {
      let settled = false;
      const watched = promise.finally(() => {
        settled = true;
      });
      watched.catch(() => undefined);
      for (let tries = 0; tries < 1000 && !settled; tries++) await clock.advance(tries === 0 ? 0 : 100);
      return watched;
    },
    pass: () => clock.advance(50),
    stopRuntime: async () => cri.stopRuntime(),
    startRuntime: async () => cri.startRuntime(),
    close: async () => cri.close(),
  };
});
