import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import type { Clock } from '../../../../src/kit/clock.ts';
import { silent } from '../../../../src/kit/log.ts';
import { WalStore } from '../../../../src/standalone/store/wal-store.ts';

const open: { store: WalStore; dir: string }[] = [];

afterEach(async () => {
  for (const { store, dir } of open.splice(0)) {
    await store.close();
    await rm(dir, { recursive: true, force: true });
  }
});

/** The real store in a folder of its own, closed and removed after the test. */
export async function temporaryStore(clock: Clock): Promise<WalStore> {
  const dir = await mkdtemp(join(tmpdir(), 'dhadm-'));
  const store = await WalStore.open({ path: join(dir, 'objects.wal') }, { clock, log: silent });
  open.push({ store, dir });
  return store;
}
