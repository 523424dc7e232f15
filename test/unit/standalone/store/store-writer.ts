import { SystemClock } from '../../../../src/kit/clock.ts';
import { silent } from '../../../../src/kit/log.ts';
import { resources } from '../../../../src/model/resource.ts';
import { WalStore } from '../../../../src/standalone/store/wal-store.ts';

// The child of the kill -9 test: writes for ever and says on stdout what was acknowledged, until it is killed.
const [path = '', round = '0'] = process.argv.slice(2);
const store = await WalStore.open({ path, compactAtBytes: 20_000 }, { clock: new SystemClock(), log: silent });
process.stdout.write(`opened ${store.resourceVersion}\n`);
for (let i = 0; ; i++) {
  const name = `r${round}-${i % 20}`;
  const writes = [0, 1, 2].map(async (lane) => {
    const metadata = { name: `${name}-${lane}`, namespace: 'default' };
    const data = { value: `${round}/${i}`, filler: 'x'.repeat(200) };
    const known = store.get(resources.configmaps, 'default', metadata.name);
    const object = { metadata, data };
    const written =
      known === undefined
        ? await store.create(resources.configmaps, object)
        : await store.update(resources.configmaps, object);
    process.stdout.write(`ack ${metadata.name} ${round}/${i} ${written.metadata.resourceVersion}\n`);
  });
  await Promise.all(writes);
}
